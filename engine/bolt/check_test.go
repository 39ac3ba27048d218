package bolt

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
)

// reportOf opens and closes a file and returns the OpenReport.
func reportOf(t testing.TB, path string, o config) engine.OpenReport {
	t.Helper()
	e, err := openWith(path, o)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	rep := e.OpenReport()
	assert.NotZero(t, rep.Time)
	assert.NotZero(t, rep.Check.Time)
	assert.Positive(t, rep.Check.Bytes)
	assert.False(t, rep.MetaHealed && o.readOnly)
	return rep
}

func TestCheck_OpenReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	rep := reportOf(t, path, config{})
	assert.True(t, rep.Created)
	assert.True(t, rep.Clean)
	assert.True(t, rep.Check.Whole)
	rep = reportOf(t, path, config{})
	assert.False(t, rep.Created)
	assert.True(t, rep.Clean)
	assert.NoError(t, rep.ReadOnly)
	assert.Zero(t, rep.Replay)
	assert.False(t, rep.MetaDamaged || rep.CountersRebuilt || rep.JournalReset)
	rep = reportOf(t, path, config{readOnly: true, seams: seams{syncFile: func(*os.File) error {
		return errors.New("nothing is healed")
	}}})
	require.ErrorIs(t, rep.ReadOnly, engine.ErrReadOnly)

	path, _ = killedFile(t, journalConfigs["Small"], 20) // 7 of the groups are checkpointed
	rep = reportOf(t, path, config{readOnly: true})
	assert.False(t, rep.Clean)
	assert.True(t, rep.Replay.InMemory)
	assert.EqualValues(t, 13, rep.Replay.Groups)
	assert.EqualValues(t, 26, rep.Replay.Records)
	assert.Positive(t, rep.Replay.Bytes)
	var log bytes.Buffer
	stored := reportOf(t, path, config{logger: slog.New(slog.NewTextHandler(&log, nil))})
	assert.False(t, stored.Clean)
	rep.Replay.InMemory, rep.Replay.Time, stored.Replay.Time = false, 0, 0
	assert.Equal(t, rep.Replay, stored.Replay)
	assert.Contains(t, log.String(), "report.replay.records=26")
	rep = reportOf(t, path, config{})
	assert.True(t, rep.Clean)
	assert.Zero(t, rep.Replay)

	path = sampleFile(t)
	change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketCounters).Delete(countersLast) })
	assert.True(t, reportOf(t, path, config{}).CountersRebuilt)
	assert.False(t, reportOf(t, path, config{}).CountersRebuilt)
}

// TestCheck_MetaBytes changes each byte of both meta pages: the newest state
// is served, or the report says that the last commit may be missing.
func TestCheck_MetaBytes(t *testing.T) {
	path := sampleFile(t)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	metas := pagecheck.ReadMetas(bytes.NewReader(raw))
	bad := filepath.Join(t.TempDir(), "bad.db")
	for page := range 2 {
		for at := range 80 {
			b := bytes.Clone(raw)
			b[page*4096+at] ^= 0x41
			require.NoError(t, os.WriteFile(bad, b, 0o600))
			e, err := openWith(bad, config{readOnly: true})
			require.NoError(t, err, "page %d byte %d", page, at)
			var id uint64
			require.NoError(t, e.view(func(tx *txn) error { id = tx.id(); return nil }))
			require.NoError(t, e.Close())
			if id != metas.Newest().Tx {
				require.True(t, e.report.MetaDamaged, "page %d byte %d: silent", page, at)
			}
			require.Equal(t, at >= 16, e.report.MetaDamaged, "page %d byte %d: bbolt does not read its header", page, at)
		}
	}
	// Opened for writing, it is whole again.
	b := bytes.Clone(raw)
	b[metas.Newest().At+40]++
	require.NoError(t, os.WriteFile(bad, b, 0o600))
	var log bytes.Buffer
	assert.True(t, reportOf(t, bad, config{logger: slog.New(slog.NewTextHandler(&log, nil))}).MetaDamaged)
	assert.Contains(t, log.String(), "the last commit may be missing")
	assert.False(t, reportOf(t, bad, config{}).MetaDamaged)
}

// TestCheck_BeforeBolt: a damaged file is not written and is unlocked again. Whether
// a large file is checked as a whole depends on whether it was closed.
func TestCheck_BeforeBolt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{noCompression: true})
	require.NoError(t, err)
	for i := range uint64(60) {
		require.NoError(t, commitSteps(e, stepOf(writeOf("a", i*20, 20))))
	}
	died := copyFile(t, e)
	require.NoError(t, e.Close())
	damage := func(path string) []byte { // the root of the events
		var root uint64
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
		require.NoError(t, err)
		require.NoError(t, db.View(func(tx *bbolt.Tx) error {
			root = uint64(tx.Bucket(bucketEvents).Root())
			return nil
		}))
		require.NoError(t, db.Close())
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		clear(raw[root*4096+16:][:16])
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		return raw
	}
	clean, unclean := damage(path), damage(died)
	for _, readOnly := range []bool{true, false} {
		for at, raw := range map[string][]byte{path: clean, died: unclean} {
			_, err := openWith(at, config{readOnly: readOnly})
			require.ErrorIs(t, err, engine.ErrCorrupt)
			require.ErrorIs(t, err, pagecheck.ErrDamaged, "found before bbolt has the file")
			require.ErrorContains(t, err, at)
			require.ErrorContains(t, err, "bucket \"events\"")
			require.ErrorContains(t, err, "restore a backup")
			have, err := os.ReadFile(at)
			require.NoError(t, err)
			require.True(t, bytes.Equal(raw, have), "nothing is written")
		}
	}
	_, err = openWith(died, config{wholeCheck: 1})
	require.ErrorIs(t, err, pagecheck.ErrDamaged, "one that was not closed is always checked whole")
	e, err = openWith(path, config{wholeCheck: 1, readOnly: true})
	require.NoError(t, err)
	defer e.Close()
	assert.False(t, e.report.Check.Whole)
	assert.Less(t, e.report.Check.Pages, int64(10))
	_, err = readAll(e, "a")
	require.Error(t, err, "the guard has it, or the value's checksum")
}

// TestCheck_Heads: a head under another machine's key is reported.
func TestCheck_Heads(t *testing.T) {
	path := sampleFile(t)
	change(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMachines)
		v := bytes.Clone(b.Get([]byte("a")))
		if err := b.Delete([]byte("a")); err != nil {
			return err
		}
		return b.Put([]byte("c"), v)
	})
	var log bytes.Buffer
	rep := reportOf(t, path, config{logger: slog.New(slog.NewTextHandler(&log, nil))})
	assert.Equal(t, 1, rep.DamagedHeads)
	assert.Contains(t, log.String(), "machine=c")
}

// TestCheck_ReplacedMeanwhile moves the file away while it is being checked.
func TestCheck_ReplacedMeanwhile(t *testing.T) {
	path, other := sampleFile(t), sampleFile(t)
	once := true
	e := openAt(t, path, config{seams: seams{syncFile: func(f *os.File) error {
		if once {
			once = false
			require.NoError(t, os.Rename(path, path+".away"))
			require.NoError(t, os.Rename(other, path))
		}
		return f.Sync()
	}}})
	same, err := stillAt(path, e.file)
	require.NoError(t, err)
	assert.True(t, same)
}

// TestCheck_HealedWhereItWas: in copies made by bbolt the meta pages differ only in
// the transaction, and either may be the newest.
func TestCheck_HealedWhereItWas(t *testing.T) {
	for range 2 {
		path := sampleFile(t)
		for range 2 {
			copied := filepath.Join(t.TempDir(), "copy.db")
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(copied, 0o600) }))
			require.NoError(t, db.Update(func(*bbolt.Tx) error { return nil }))
			require.NoError(t, db.Close())
			raw, err := os.ReadFile(copied)
			require.NoError(t, err)
			f, err := os.OpenFile(copied, os.O_RDWR, 0)
			require.NoError(t, err)
			o := config{}.withDefaults()
			require.NoError(t, checkFile(f, &o, new(fileState), new(engine.OpenReport)))
			require.NoError(t, f.Close())
			have, err := os.ReadFile(copied)
			require.NoError(t, err)
			require.True(t, bytes.Equal(raw, have), "healing writes what is there")
		}
	}
}

// TestCheck_HealedWhereTheDiskDiffers: the meta page is written only if the disk
// holds other bytes, or cannot be read; the file is always synced.
func TestCheck_HealedWhereTheDiskDiffers(t *testing.T) {
	path := sampleFile(t)
	for name, heals := range map[string]bool{"same": false, "other": true, "silent": true} {
		t.Run(name, func(t *testing.T) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			defer f.Close()
			o := config{}.withDefaults()
			synced := 0
			o.seams.syncFile = func(*os.File) error { synced++; return nil }
			o.seams.readDisk = func(f *os.File, at int64, b []byte) error {
				if name == "silent" {
					return errors.ErrUnsupported
				}
				_, err := f.ReadAt(b, at)
				if name == "other" {
					b[len(b)/2] ^= 1
				}
				return err
			}
			var rep engine.OpenReport
			require.NoError(t, checkFile(f, &o, new(fileState), &rep))
			require.Equal(t, heals, rep.MetaHealed)
			require.Equal(t, 1, synced)
		})
	}
}

// TestCheck_NewFileHasBuckets: whichever meta page of a new file is lost,
// the other one leads to all buckets.
func TestCheck_NewFileHasBuckets(t *testing.T) {
	for page := range int64(2) {
		path := filepath.Join(t.TempDir(), "test.db")
		o := config{}.withDefaults()
		made, err := create(path, &o)
		require.NoError(t, err)
		require.True(t, made)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 512), page*int64(os.Getpagesize()))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		e := openAt(t, path, config{})
		require.True(t, e.OpenReport().MetaDamaged)
		require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 1))))
	}
}

// TestJournal_LostState: without the journal's state it is not known which of its
// records are checkpointed. After a clean close all are, and the journal is reset.
func TestJournal_LostState(t *testing.T) {
	lose := func(tx *bbolt.Tx) error {
		v := bytes.Clone(tx.Bucket(bucketCounters).Get(countersJournal))
		v[len(v)-1]++
		return tx.Bucket(bucketCounters).Put(countersJournal, v)
	}
	o := journalConfigs["Small"]
	died, _ := killedFile(t, o, 12)
	change(t, died, lose)
	for _, readOnly := range []bool{true, false} {
		_, err := openWith(died, config{journalBytes: o.journalBytes, readOnly: readOnly})
		require.ErrorIs(t, err, engine.ErrCorrupt)
		require.ErrorContains(t, err, "cannot be told from older ones")
	}
	for name, damage := range map[string]func(t *testing.T, path string){
		"state": func(t *testing.T, path string) { change(t, path, lose) },
		"no state": func(t *testing.T, path string) {
			change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketCounters).Delete(countersJournal) })
		},
		"head": func(t *testing.T, path string) {
			place := journalIn(t, path).place
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("xx"), place.Offset+12)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, want := killedFile(t, o, 12)
			e, err := openWith(path, o)
			require.NoError(t, err)
			require.NoError(t, e.Close())
			damage(t, path)
			r, err := openWith(path, config{readOnly: true})
			require.NoError(t, err)
			require.True(t, r.report.JournalReset)
			require.Equal(t, want, holds(t, r))
			require.NoError(t, r.Close())
			e, err = openWith(path, o)
			require.NoError(t, err)
			require.True(t, e.report.JournalReset)
			require.Equal(t, want, holds(t, e))
			for i := range uint64(30) {
				require.NoError(t, commitSteps(e, stepOf(writeOf("new", i, 1))))
			}
			want = holds(t, e)
			killed := openAt(t, copyFile(t, e), o)
			require.NoError(t, e.Close())
			require.False(t, killed.report.JournalReset)
			require.Equal(t, want, holds(t, killed))
		})
	}
}
