package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

var errJournalDisk = errors.New("the disk does not respond")

// faultyJournal counts the writes and syncs of the journal, and fails some of them.
type faultyJournal struct {
	journalFile
	fail  func(op int64) bool
	after bool // the operation is done, and fails then
	ops   *atomic.Int64
}

func (f *faultyJournal) WriteAt(b []byte, off int64) (int, error) {
	bad := f.fail(f.ops.Add(1))
	if bad && !f.after {
		return 0, errJournalDisk
	}
	n, err := f.journalFile.WriteAt(b, off)
	if bad {
		return n, errJournalDisk
	}
	return n, err
}

func (f *faultyJournal) Sync() error {
	if f.fail(f.ops.Add(1)) {
		return errJournalDisk
	}
	return f.journalFile.Sync()
}

// faultyBolt opens a file with a journal. The journal's nth operation fails, or the
// nth commit of bbolt after opening, as the two functions say.
func faultyBolt(t *testing.T, o config, journal, commit func(n int64) bool, after bool) *Engine {
	var ops, commits atomic.Int64
	commits.Store(-2) // the replay, and the commit that makes the journal
	o.seams.journalFile = func(path string, same os.FileInfo) (journalFile, error) {
		f, err := openJournalFile(path, same)
		return &faultyJournal{journalFile: f, fail: journal, after: after, ops: &ops}, err
	}
	path := filepath.Join(t.TempDir(), "test.db")
	first, err := openWith(path, config{}) // it is made without faults
	require.NoError(t, err)
	require.NoError(t, first.Close())
	o.seams.commit = func(tx *txn) error {
		if n := commits.Add(1); n > 0 && commit(n) {
			return failing(errJournalDisk, after)(tx)
		}
		return tx.commit()
	}
	e, err := openWith(path, o)
	require.NoError(t, err)
	return e
}

// TestJournal_Faults: each write and sync of the journal and each commit of a
// checkpoint fails, once or from then on, after it is done or before (R6).
//  1. No commit is acknowledged after one that failed.
//  2. After a restart everything acknowledged is there, and what was in doubt
//     is whole or absent.
//  3. The restarted file accepts writes.
func TestJournal_Faults(t *testing.T) {
	t.Parallel()
	never := func(int64) bool { return false }
	runs, hit := 0, 0
	for _, where := range []string{"journal", "checkpoint", "growth"} {
		for _, once := range []bool{true, false} {
			for _, after := range []bool{true, false} {
				for n := int64(1); n <= 24; n += 1 + n/8 {
					bad := func(op int64) bool { return op == n || !once && op > n }
					journal, commit := bad, never
					o := journalConfigs["TwoTiny"]
					if where != "journal" {
						journal, commit = never, bad
					}
					if where == "growth" {
						o = config{journalBytes: 4 << 10, journalMaxBytes: 32 << 10, journalSegment: 4 << 10}
					}
					e := faultyBolt(t, o, journal, commit, after)
					runs++
					acked, issued := map[string]uint64{}, map[string]uint64{}
					failed := false
					for i := range 120 {
						m := fmt.Sprint("m", i%5)
						err := commitSteps(e, stepOf(writeOf(m, acked[m], 2), shadowOf(m, acked[m])))
						if err == nil {
							require.False(t, failed, "rule 1: %s %d once=%t after=%t", where, n, once, after)
							acked[m] += 2
							continue
						}
						if !failed {
							issued[m] = acked[m] + 2
						}
						failed = true
					}
					if failed {
						hit++
						require.Error(t, commitSteps(e, stepOf(writeOf("z", 0, 1))))
						require.Error(t, e.SetNote(context.Background(), "n", []byte("x")))
					}
					for m, seq := range acked { // reading still works
						h, err := e.Load(context.Background(), m, everything, func(it engine.Item) error { return it.Err })
						require.NoError(t, err)
						require.GreaterOrEqual(t, h.Seq, seq)
					}
					path := e.path
					if n%2 == 0 {
						path = copyFile(t, e)
						killBolt(e)
					} else {
						_ = e.Close()
					}
					e, err := openWith(path, journalConfigs["Tiny"])
					require.NoError(t, err)
					for m, seq := range acked {
						h, err := e.Load(context.Background(), m, everything, func(it engine.Item) error { return it.Err })
						require.NoError(t, err)
						require.True(t, h.Seq == seq || h.Seq == issued[m], "rule 2: %s is at %d, acknowledged %d, in doubt %d", m, h.Seq, seq, issued[m])
						require.NoError(t, commitSteps(e, stepOf(writeOf(m, h.Seq, 1))), "rule 3")
					}
					require.NoError(t, e.Close())
					checkBolt(t, path)
				}
			}
		}
	}
	require.Greater(t, hit, runs/2, "the faults were met")
	t.Logf("%d runs, %d met their fault", runs, hit)
}

// shadowOf returns a write to a second machine, in the same step.
func shadowOf(machine string, expect uint64) engine.Write {
	return writeOf(machine+"'", expect, 2)
}

// TestJournal_CheckpointStopsAppend: a checkpoint that fails while a group is being
// written puts that group in doubt (R6).
func TestJournal_CheckpointStopsAppend(t *testing.T) {
	var stop atomic.Pointer[Engine]
	o := journalConfigs["Small"]
	o.seams.journalFile = func(path string, same os.FileInfo) (journalFile, error) {
		f, err := openJournalFile(path, same)
		return &hookedJournal{f, func() {
			if e := stop.Load(); e != nil {
				e.halt(errJournalDisk) // as a failed checkpoint does
			}
		}}, err
	}
	e, err := openWith(filepath.Join(t.TempDir(), "test.db"), o)
	require.NoError(t, err)
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 1))))
	stop.Store(e)
	require.ErrorIs(t, commitSteps(e, stepOf(writeOf("a", 1, 1))), engine.ErrInDoubt)
	require.ErrorIs(t, commitSteps(e, stepOf(writeOf("a", 1, 1))), engine.ErrStopped)
	require.ErrorIs(t, makeCheckpoint(e, nil), engine.ErrNothingStored)
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, 2, "what is in doubt is not shown")
	require.NoError(t, e.Close())
	e = openAt(t, e.path, config{})
	items, err = readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, 3)
}

type hookedJournal struct {
	journalFile
	hook func()
}

func (h *hookedJournal) WriteAt(b []byte, off int64) (int, error) {
	defer h.hook()
	return h.journalFile.WriteAt(b, off)
}

// TestJournal_DiskFullAtCheckpoint: on a full disk groups are accepted until the journal
// is full. Then nothing is stored, until the disk has space again (R4).
func TestJournal_DiskFullAtCheckpoint(t *testing.T) {
	var full atomic.Bool
	o := journalConfigs["Tiny"]
	o.seams.commit = func(tx *txn) error {
		if full.Load() {
			return diskFull(tx)
		}
		return tx.commit()
	}
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
	acked := uint64(0)
	for range 3 {
		full.Store(true)
		taken := 0
		for {
			err := commitSteps(e, stepOf(writeOf("a", acked, 1)))
			if err == nil {
				acked++
				taken++
				continue
			}
			require.ErrorIs(t, err, engine.ErrDiskFull)
			require.ErrorIs(t, err, engine.ErrNothingStored)
			break
		}
		require.LessOrEqual(t, taken, 4)
		items, err := readAll(e, "a")
		require.NoError(t, err)
		require.Len(t, items, int(acked)+1)
		full.Store(false)
		require.NoError(t, commitSteps(e, stepOf(writeOf("a", acked, 1))))
		acked++
	}
}

// TestJournal_DiskFullAtOpen: what cannot be stored at open is served from memory,
// and no step is accepted (R1).
func TestJournal_DiskFullAtOpen(t *testing.T) {
	for _, again := range []config{{}, journalConfigs["Small"]} {
		e, err := openWith(filepath.Join(t.TempDir(), "test.db"), journalConfigs["Small"])
		require.NoError(t, err)
		for i := range uint64(5) {
			require.NoError(t, commitSteps(e, stepOf(writeOf("a", i, 1))))
		}
		killBolt(e)
		want, err := os.ReadFile(e.path)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "copy.db")
		require.NoError(t, os.WriteFile(path, want, 0o600))
		full := again
		full.seams.commit = diskFull
		r, err := openWith(path, full)
		require.NoError(t, err)
		items, err := readAll(r, "a")
		require.NoError(t, err)
		require.Len(t, items, 6)
		err = commitSteps(r, stepOf(writeOf("a", 5, 1)))
		require.ErrorIs(t, err, engine.ErrDiskFull)
		require.ErrorIs(t, err, engine.ErrNothingStored)
		require.ErrorIs(t, r.SetNote(context.Background(), "n", nil), engine.ErrDiskFull)
		require.NoError(t, r.Close())
		have, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, have, "nothing was changed")
		e = openAt(t, path, again)
		items, err = readAll(e, "a")
		require.NoError(t, err)
		require.Len(t, items, 6)
		require.NoError(t, commitSteps(e, stepOf(writeOf("a", 5, 1))))
	}
}

// TestJournal_NotesDuringCheckpoints: notes and checkpoints do not block each other, and
// each note is stored.
func TestJournal_NotesDuringCheckpoints(t *testing.T) {
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), journalConfigs["TwoTiny"])
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for i := range uint64(200) {
			if commitSteps(e, stepOf(writeOf("a", i, 1))) != nil {
				t.Error("commit")
			}
			if e.SetNote(context.Background(), "n", fmt.Append(nil, i)) != nil {
				t.Error("note")
			}
		}
	})
	wg.Go(func() {
		for range 100 {
			if makeCheckpoint(e, nil) != nil {
				t.Error("checkpoint")
			}
		}
	})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Fatal("deadlock")
	}
	b, err := e.Note(context.Background(), "n")
	require.NoError(t, err)
	require.Equal(t, "199", string(b))
}

// TestJournal_Panic: after a panic of bbolt in a checkpoint, or in a commit that
// bypasses the journal, no step is accepted, Close does not wait for the dead handle,
// the engine keeps nothing of the caller or of the transaction, and the next opening
// finds everything that was acknowledged.
func TestJournal_Panic(t *testing.T) {
	purge := stepOf(engine.Write{Machine: "b", Expect: 1, Purge: true})
	for name, write := range map[string]func(e *Engine) error{
		"checkpoint": func(e *Engine) error { return makeCheckpoint(e, nil) },
		"bypass":     func(e *Engine) error { return commitSteps(e, purge) },
	} {
		for _, where := range []string{"start", "commit"} {
			t.Run(name+" "+where, func(t *testing.T) {
				bad := ""
				boom := func(here string) {
					if here == bad {
						panic("page 7 already freed")
					}
				}
				o := journalConfigs["Small"]
				o.seams = seams{write: func() { boom("start") }, commit: func(tx *txn) error { boom("commit"); return tx.commit() }}
				e, err := openWith(filepath.Join(t.TempDir(), "test.db"), o)
				require.NoError(t, err)
				require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 3, 2)), stepOf(writeOf("b", 0, 1))))
				bad = where
				require.ErrorIs(t, write(e), engine.ErrCorrupt)
				bad = ""
				require.Nil(t, e.batch.ledger.tx)
				require.Nil(t, e.batch.buckets.tx)
				require.Empty(t, e.batch.ledger.machines)
				require.Empty(t, e.batch.changes.events)
				require.Empty(t, e.batch.changes.snapshots)
				done := make(chan struct{})
				go func() {
					defer close(done)
					err := commitSteps(e, stepOf(writeOf("a", 3, 1)))
					assert.ErrorIs(t, err, engine.ErrCorrupt)
					assert.ErrorIs(t, err, engine.ErrNothingStored)
					assert.ErrorIs(t, makeCheckpoint(e, nil), engine.ErrCorrupt)
					assert.NoError(t, e.Close())
				}()
				select {
				case <-done:
				case <-time.After(20 * time.Second):
					t.Fatal("a dead handle hangs")
				}
				<-e.journal.checkpointer.ended
				e = openAt(t, e.path, journalConfigs["Small"])
				require.Equal(t, int64(4), e.report.Replay.Records)
				items, err := readAll(e, "a")
				require.NoError(t, err)
				require.Len(t, items, 5)
			})
		}
	}
}
