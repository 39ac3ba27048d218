package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
)

// killedFile makes a file that was killed with groups in its journal: of machines m0
// to m4, some of them checkpointed before. It also returns what the file held.
func killedFile(t testing.TB, o config, groups int) (path, holds string) {
	t.Helper()
	e, err := openWith(filepath.Join(t.TempDir(), "test.db"), o)
	require.NoError(t, err)
	for i := range groups {
		m := fmt.Sprint("m", i%5)
		require.NoError(t, commitSteps(e, stepOf(writeOf(m, uint64(i/5*2), 2, uint64(i/5)))))
		if i == groups/3 {
			require.NoError(t, makeCheckpoint(e, nil))
		}
	}
	holds = dump(t, e, []engine.LoadRange{everything}, true)
	path = copyFile(t, e)
	killBolt(e)
	return path, holds
}

func holds(t testing.TB, e *Engine) string { return dump(t, e, []engine.LoadRange{everything}, true) }

// journalIn returns where the journal of a file is, and its checkpointed LSN.
func journalIn(t testing.TB, path string) *journalState {
	t.Helper()
	e, err := openWith(path, config{readOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	var found fileState
	require.NoError(t, checkFile(e.file, &e.opt, &found, new(engine.OpenReport)))
	require.NoError(t, e.view(func(tx *txn) error { return found.read(tx) }))
	if found.journal.there {
		require.NoError(t, found.journal.locate(e))
	}
	return &found.journal
}

// TestJournal_Open: what a killed process left in the journal is stored in the
// buckets before anything is read, under a new salt (R1), in every mode. A reader
// serves it and changes nothing.
func TestJournal_Open(t *testing.T) {
	for name, o := range map[string]config{"journal": {journalBytes: 256 << 10}, "direct": {}, "smaller": {journalBytes: 16 << 10}, "larger": {journalBytes: 4 << 20}} {
		t.Run(name, func(t *testing.T) {
			path, want := killedFile(t, journalConfigs["Small"], 20)
			before := journalIn(t, path)
			require.Positive(t, before.checkpointed)
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			r, err := openWith(path, config{readOnly: true})
			require.NoError(t, err)
			require.Equal(t, want, holds(t, r))
			require.NoError(t, r.Close())
			have, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, raw, have)

			e := openAt(t, path, o)
			require.False(t, e.report.Clean)
			require.Equal(t, want, holds(t, e))
			copied := copyFile(t, e)
			after := journalIn(t, copied)
			require.Equal(t, uint64(20), after.checkpointed, "R1: checkpointed = the largest LSN found")
			require.NotEqual(t, before.salt, after.salt, "R1: a new salt")
			var all fileState
			require.NoError(t, e.view(func(tx *txn) error { return all.read(tx) }))
			require.Equal(t, e.counters, all.counters, "R1: the buckets hold everything")
			require.NoError(t, commitSteps(e, stepOf(writeOf("m0", 8, 1))))
			want = holds(t, e)
			require.NoError(t, e.Close())
			e = openAt(t, path, config{journalBytes: 256 << 10})
			require.True(t, e.report.Clean)
			require.Equal(t, want, holds(t, e))
		})
	}
}

// TestJournal_OpenAgainAndAgain: after a process that dies right after the replay
// nothing is missing, and nothing is stored twice (R1).
func TestJournal_OpenAgainAndAgain(t *testing.T) {
	path, want := killedFile(t, journalConfigs["Small"], 17)
	for range 4 {
		e, err := openWith(path, journalConfigs["Small"])
		require.NoError(t, err)
		require.Equal(t, want, holds(t, e))
		path = copyFile(t, e)
		killBolt(e)
	}
}

// TestJournal_Compacted: bbolt's own compaction into pages of other sizes keeps the
// journal, which is read at the place that its head says (R2) and then made again.
func TestJournal_Compacted(t *testing.T) {
	t.Parallel()
	for _, page := range []int{1024, 2048, 4096, 8192, 16384, 65536} {
		t.Run(fmt.Sprint(page), func(t *testing.T) {
			path, want := killedFile(t, journalConfigs["Small"], 20)
			to := filepath.Join(t.TempDir(), "compacted.db")
			src, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
			require.NoError(t, err)
			dst, err := bbolt.Open(to, 0o600, &bbolt.Options{PageSize: page})
			require.NoError(t, err)
			require.NoError(t, bbolt.Compact(dst, src, 0))
			require.NoError(t, src.Close())
			require.NoError(t, dst.Close())
			e := openAt(t, to, journalConfigs["Small"])
			require.Equal(t, want, holds(t, e))
			require.Equal(t, page >= journal.Align, e.journal != nil)
			for i := range uint64(60) {
				require.NoError(t, commitSteps(e, stepOf(writeOf("new", i, 1))))
			}
			want = holds(t, e)
			again := copyFile(t, e)
			killed := openAt(t, again, journalConfigs["Small"])
			require.Equal(t, want, holds(t, killed))
		})
	}
}

// TestJournal_Moved: a put into the journal's bucket makes bbolt move the journal.
// The next transaction notices it, nothing is written, and all writing ends (R5).
func TestJournal_Moved(t *testing.T) {
	e, err := openWith(filepath.Join(t.TempDir(), "test.db"), journalConfigs["Small"])
	require.NoError(t, err)
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 2))))
	require.NoError(t, e.handle.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.Bucket(bucketJournal).NextSequence()
		return err
	}))
	txid := func() (id int) {
		require.NoError(t, e.handle.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }))
		return id
	}
	before := txid()
	require.ErrorIs(t, makeCheckpoint(e, nil), engine.ErrCorrupt, "R5")
	require.Equal(t, before, txid(), "nothing was written")
	require.ErrorIs(t, commitSteps(e, stepOf(writeOf("a", 2, 1))), engine.ErrStopped)
	require.Error(t, e.SetNote(context.Background(), "n", []byte("x")))
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, 3)
	require.NoError(t, e.Close())
}

// TestJournal_StrangersInBucket: another key in the journal's bucket is noticed (R3).
func TestJournal_StrangersInBucket(t *testing.T) {
	path, _ := killedFile(t, journalConfigs["Small"], 6)
	change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketJournal).Put([]byte("s"), make([]byte, 100)) })
	_, err := openWith(path, journalConfigs["Small"])
	require.ErrorIs(t, err, engine.ErrCorrupt)
	path, _ = killedFile(t, journalConfigs["Small"], 6)
	change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketCounters).Delete(countersJournal) })
	_, err = openWith(path, config{})
	require.ErrorIs(t, err, engine.ErrCorrupt, "without its salt a journal cannot be read")
}

// TestJournal_Forged: events that contain copies of the journal's own records, at
// offsets where records start, are not taken for records (R8).
func TestJournal_Forged(t *testing.T) {
	t.Parallel()
	e, err := openWith(filepath.Join(t.TempDir(), "test.db"), config{journalBytes: 1 << 20, noCompression: true})
	require.NoError(t, err)
	for i := range uint64(3) {
		require.NoError(t, commitSteps(e, stepOf(writeOf("a", i, 1))))
	}
	found := journalIn(t, copyFile(t, e))
	raw, err := os.ReadFile(e.path)
	require.NoError(t, err)
	records := raw[found.place.Offset+found.head.Start:]
	var forged []byte
	for i := range 3 { // each record, at every offset in a block that could be that of a record
		forged = append(forged, records[i*journal.Align:(i+1)*journal.Align]...)
	}
	seq := uint64(3)
	for shift := range 200 {
		w := writeOf("a", seq, 1)
		w.Events[0].Bytes = append(make([]byte, shift), bytes.Repeat(forged, 2)...)
		require.NoError(t, commitSteps(e, stepOf(w)))
		seq++
		if shift%40 == 0 {
			want := holds(t, e)
			killed := openAt(t, copyFile(t, e), config{journalBytes: 1 << 20})
			require.Equal(t, want, holds(t, killed), "R8")
		}
	}
	require.NoError(t, e.Close())
}

// TestJournal_Stale: records of an earlier process with higher LSNs that are written
// into the journal again are ignored: they have another salt (R1, R8).
func TestJournal_Stale(t *testing.T) {
	path, want := killedFile(t, journalConfigs["Small"], 12)
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	e, err := openWith(path, journalConfigs["Small"])
	require.NoError(t, err)
	require.NoError(t, e.Close())
	found := journalIn(t, path)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	area := found.place.Offset + found.head.Start
	copy(raw[area:area+found.head.Segment*found.head.Segments], old[area:])
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	e = openAt(t, path, journalConfigs["Small"])
	require.Equal(t, want, holds(t, e))
}

// TestJournal_Damaged: a damaged record that is followed by good ones is not the end
// of the journal: the file is refused and nothing is written (R9). A damaged last
// record is the end.
func TestJournal_Damaged(t *testing.T) {
	path, want := killedFile(t, journalConfigs["Small"], 12)
	found := journalIn(t, path)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	s, err := journal.Scan(bytes.NewReader(raw), found.place, found.id, found.salt, found.checkpointed)
	require.NoError(t, err)
	var places []journal.Place
	for _, r := range s.Records() {
		places = append(places, r.Place)
	}
	require.Greater(t, len(places), 3)
	for i, p := range places {
		bad := bytes.Clone(raw)
		bad[p.Offset+30]++
		at := filepath.Join(t.TempDir(), "bad.db")
		require.NoError(t, os.WriteFile(at, bad, 0o600))
		for _, o := range []config{journalConfigs["Small"], {}, {readOnly: true}} {
			if i == len(places)-1 {
				break
			}
			_, err := openWith(at, o)
			require.ErrorIs(t, err, engine.ErrCorrupt, "R9")
			have, err := os.ReadFile(at)
			require.NoError(t, err)
			require.True(t, bytes.Equal(bad, have), "R9: nothing is written")
		}
		if i == len(places)-1 {
			e := openAt(t, at, journalConfigs["Small"])
			require.NotEqual(t, want, holds(t, e))
		}
	}
}

// TestJournal_DamagedHead: a file can be opened with a damaged head of a machine
// whose newest writes are in the journal: the journal has the head.
func TestJournal_DamagedHead(t *testing.T) {
	path, want := killedFile(t, journalConfigs["Small"], 20)
	change(t, path, func(tx *bbolt.Tx) error {
		v := bytes.Clone(tx.Bucket(bucketMachines).Get([]byte("m1")))
		v[len(v)-1] ^= 1
		return tx.Bucket(bucketMachines).Put([]byte("m1"), v)
	})
	e := openAt(t, path, journalConfigs["Small"])
	require.Equal(t, want, holds(t, e))
}

// TestJournal_DamagedLeafNumbers: whatever a number in the header or the element of the
// journal's leaf page is, a file either opens with all that it held or is refused
// as corrupt. No other error is returned, for example of a value that is too short
// for the journal's head.
func TestJournal_DamagedLeafNumbers(t *testing.T) {
	path, want := killedFile(t, journalConfigs["Small"], 6)
	page := int(journalIn(t, path).root) * 4096
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	const pageHeader, element, number = 16, 16, 4
	for at := 0; at < pageHeader+element; at += number {
		was := binary.LittleEndian.Uint32(raw[page+at:])
		for _, value := range []uint32{0, 1, 7, 9, 63, 64, 4095, was - 1, was + 1, was ^ 1<<15, was | 1<<31, math.MaxUint32} {
			bad := bytes.Clone(raw)
			binary.LittleEndian.PutUint32(bad[page+at:], value)
			changed := filepath.Join(t.TempDir(), "changed.db")
			require.NoError(t, os.WriteFile(changed, bad, 0o600))
			e, err := openWith(changed, journalConfigs["Small"])
			if err != nil {
				require.ErrorIs(t, err, engine.ErrCorrupt, "number at %d = %d", at, value)
				continue
			}
			require.Equal(t, want, holds(t, e), "number at %d = %d", at, value)
			require.NoError(t, e.Close())
		}
	}
}

// TestJournal_LostMachine: a file is refused if the journal has writes of a machine
// that the file has lost: they are neither stored as a new machine nor left out.
func TestJournal_LostMachine(t *testing.T) {
	path, _ := killedFile(t, journalConfigs["Small"], 20)
	change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMachines).Delete([]byte("m1")) })
	_, err := openWith(path, journalConfigs["Small"])
	require.ErrorIs(t, err, engine.ErrCorrupt)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "does not follow")
}

// TestJournal_LostCounters: lost counters are taken from the journal, which has them in each group.
func TestJournal_LostCounters(t *testing.T) {
	path, want := killedFile(t, journalConfigs["Small"], 20)
	change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketCounters).Delete(countersLast) })
	e := openAt(t, path, journalConfigs["Small"])
	require.Equal(t, want, holds(t, e))
}

// TestLoad_CheckpointBetween: a checkpoint between the moment when a reader copies its
// refs and its transaction makes it read nothing twice and miss nothing (R10).
func TestLoad_CheckpointBetween(t *testing.T) {
	o := journalConfigs["Small"]
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
	seq := uint64(0)
	for range 10 {
		require.NoError(t, commitSteps(e, stepOf(writeOf("a", seq, 3, seq))))
		seq += 3
		want, err := readAll(e, "a")
		require.NoError(t, err)
		l := &loader{e: e, key: "a", want: everything}
		l.journal.take(e.memtable, "a")
		require.NoError(t, makeCheckpoint(e, nil))
		require.NoError(t, e.view(l.first))
		require.False(t, l.journal.any(), "R10: what the transaction has is left out")
		require.Equal(t, seq, l.head.seq)
		have, err := readAll(e, "a")
		require.NoError(t, err)
		require.Equal(t, want, have)
	}
}

// TestJournal_DamagedLeaf: each number of the leaf page that holds the journal is
// checked before it is used (R3).
func TestJournal_DamagedLeaf(t *testing.T) {
	path, _ := killedFile(t, journalConfigs["Small"], 6)
	found := journalIn(t, path)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	page := int64(found.root) * 4096
	for name, change := range map[string]struct {
		at   int64
		with byte
	}{
		"page id": {0, 0xff}, "flags": {8, 1}, "count 0": {10, 0}, "count 2": {10, 2}, "overflow": {12, 0}, "far overflow": {15, 0x7f},
		"a bucket": {16, 1}, "where the key is": {20, 17}, "key length": {24, 3}, "value length": {31, 0x7f}, "the key": {32, 'x'}, "the head": {40, 'x'},
	} {
		bad := bytes.Clone(raw)
		bad[page+change.at] = change.with
		_, err := findJournal(bytes.NewReader(bad), int64(len(bad)), found.root, 4096)
		if name == "the head" {
			require.NoError(t, err)
			_, err = journal.ReadHead(bytes.NewReader(bad), found.place)
			require.ErrorIs(t, err, journal.ErrCorrupt)
			continue
		}
		require.ErrorIs(t, err, engine.ErrCorrupt, name)
	}
	for _, root := range []uint64{0, 1, 1 << 40, ^uint64(0)} {
		_, err := findJournal(bytes.NewReader(raw), int64(len(raw)), root, 4096)
		require.ErrorIs(t, err, engine.ErrCorrupt)
	}
}
