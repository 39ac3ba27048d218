package bolt

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// busy writes n groups to a machine and gives its seq.
func busy(t *testing.T, e *Engine, seq uint64, n int) uint64 {
	t.Helper()
	for range n {
		require.NoError(t, commitSteps(e, stepOf(writeOf("a", seq, 1))))
		seq++
	}
	return seq
}

func ringSize(e *Engine) int64 {
	e.writing.Lock()
	defer e.writing.Unlock()
	return e.journal.place.size()
}

// TestBoltRing_Sizes: any size asked for becomes one that bbolt takes as a value.
func TestBoltRing_Sizes(t *testing.T) {
	o := config{}
	for _, size := range []int64{1, 4096, 1 << 20, 1 << 30, 1 << 31, 1 << 40, 1<<63 - 1} {
		segment, segments := o.segmentSize(size)
		require.Zero(t, segment%4096)
		require.GreaterOrEqual(t, segments, int64(2))
		require.LessOrEqual(t, segment*segments, int64(1<<30), size)
	}
}

// TestBoltRing_FoldsAreLarge: what comes while a fold runs asks for the next one,
// which waits until the ring is nearly full again.
func TestBoltRing_FoldsAreLarge(t *testing.T) {
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), config{journalBytes: 256 << 10})
	busy(t, e, 0, 1)
	for range 3 { // the third is taken when the first is dealt with
		e.journal.checkpointer.woken <- struct{}{}
	}
	require.NotEmpty(t, e.memtable.keys("", ""))
	seq := uint64(1)
	for e.journal.journal.Load().State().Checkpointed == 0 {
		require.Less(t, seq, uint64(1000), "it never folds")
		seq = busy(t, e, seq, 1)
	}
	require.NoError(t, e.Close())
}

// TestBoltRing_Grows: a ring that is filled again and again becomes larger, up
// to its last size.
//  1. Nothing is lost over it, by a kill neither.
//  2. It is as large at the next open, also where it began larger or smaller.
//  3. One that has time to be folded stays as it is.
func TestBoltRing_Grows(t *testing.T) {
	o := ringOptions["Growing"]
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
	require.Equal(t, o.journalBytes, ringSize(e))
	seq := uint64(0)
	for ringSize(e) < o.journalMaxBytes {
		require.Less(t, seq, uint64(1000), "it does not grow")
		seq = busy(t, e, seq, 1)
	}
	busy(t, e, seq, 5)
	require.NotEmpty(t, e.memtable.keys("", ""), "the larger ring is used")
	path, want := copyFile(t, e), holds(t, e)
	killBolt(e)

	for _, next := range []config{o, {journalBytes: 4 << 10, journalMaxBytes: 1 << 20}} {
		e = openAt(t, path, next)
		require.Equal(t, want, holds(t, e), "rule 1")
		require.Equal(t, o.journalMaxBytes, ringSize(e), "rule 2")
		require.NoError(t, e.Close())
	}
	e = openAt(t, path, config{journalBytes: 16 << 10})
	require.EqualValues(t, 16<<10, ringSize(e), "a size of its own")
	require.Equal(t, want, holds(t, e))
	require.NoError(t, e.Close())

	e = openAt(t, filepath.Join(t.TempDir(), "idle.db"), o)
	for seq := range uint64(40) {
		busy(t, e, seq, 1)
		e.journal.checkpointing.Lock()
		e.journal.lastCheckpoint = e.journal.lastCheckpoint.Add(-2 * checkpointsApart)
		e.journal.checkpointing.Unlock()
		require.NoError(t, makeCheckpoint(e, nil))
	}
	require.Equal(t, o.journalBytes, ringSize(e), "rule 3")
}

// TestBoltRing_GrowsForGroups: a group that is too large for a segment makes the
// ring larger.
func TestBoltRing_GrowsForGroups(t *testing.T) {
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), ringOptions["Growing"])
	w := writeOf("a", 0, 1)
	w.Events[0].Bytes = make([]byte, 10<<10)
	require.NoError(t, commitSteps(e, stepOf(w)))
	require.EqualValues(t, 32<<10, ringSize(e))
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, 2)
}

// TestBoltRing_NoRoomToGrow: where the disk has no room for a larger ring the
// one there is goes on, and nothing is refused.
func TestBoltRing_NoRoomToGrow(t *testing.T) {
	var size atomic.Int64
	o := ringOptions["Growing"]
	o.seams.commit = func(tx *txn) error {
		root, _ := tx.journalRoot()
		if size.Load() > 0 && root == 0 { // a bucket that is not written yet
			size.Add(1)
			return diskFull(tx)
		}
		return tx.commit()
	}
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
	size.Store(1)
	busy(t, e, 0, 100)
	require.EqualValues(t, 2, size.Load(), "it was tried once")
	require.Equal(t, o.journalBytes, ringSize(e))
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, 101)

	// Nor is a file refused for it.
	full := config{journalBytes: 64 << 10}
	full.seams.commit = func(tx *txn) error {
		if root, _ := tx.journalRoot(); root == 0 {
			return diskFull(tx)
		}
		return tx.commit()
	}
	require.NoError(t, e.Close())
	e = openAt(t, e.path, full)
	require.Equal(t, o.journalBytes, ringSize(e), "the old one is kept")
	require.NoError(t, e.Close())
	path := filepath.Join(t.TempDir(), "direct.db")
	require.NoError(t, openAt(t, path, config{}).Close())
	full.seams.commit = func(tx *txn) error {
		if root, there := tx.journalRoot(); there && root == 0 {
			return diskFull(tx)
		}
		return tx.commit()
	}
	e = openAt(t, path, full)
	require.Nil(t, e.journal)
	busy(t, e, 0, 3)
}

// TestBoltRing_GrowthFails: a commit that fails with a larger ring in it puts
// its group in doubt and ends all writing (R6).
func TestBoltRing_GrowthFails(t *testing.T) {
	for _, after := range []bool{false, true} {
		var grows atomic.Bool
		o := ringOptions["Growing"]
		o.seams.commit = func(tx *txn) error {
			if root, _ := tx.journalRoot(); grows.Load() && root == 0 {
				return failing(errRingDisk, after)(tx)
			}
			return tx.commit()
		}
		e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
		grows.Store(true)
		var err error
		acked := uint64(0)
		for ; err == nil; acked++ {
			require.Less(t, acked, uint64(1000), "it does not grow")
			err = commitSteps(e, stepOf(writeOf("a", acked, 1)))
		}
		acked--
		require.ErrorIs(t, err, engine.ErrInDoubt)
		require.ErrorIs(t, commitSteps(e, stepOf(writeOf("b", 0, 1))), engine.ErrStopped)
		path := copyFile(t, e)
		killBolt(e)
		e = openAt(t, path, ringOptions["Growing"])
		items, err := readAll(e, "a")
		require.NoError(t, err)
		want := int(acked) + 1
		if after {
			want++
		}
		require.Len(t, items, want)
		busy(t, e, uint64(want)-1, 30)
	}
}
