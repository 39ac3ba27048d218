package bolt

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// busy writes n groups to a machine and returns its seq.
func busy(t *testing.T, e *Engine, seq uint64, n int) uint64 {
	t.Helper()
	for range n {
		require.NoError(t, commitSteps(e, stepOf(writeOf("a", seq, 1))))
		seq++
	}
	return seq
}

func journalSize(e *Engine) int64 {
	e.writing.Lock()
	defer e.writing.Unlock()
	return e.journal.place.size()
}

// TestJournal_Sizes: any size in the options becomes one that bbolt accepts as a value.
func TestJournal_Sizes(t *testing.T) {
	o := config{}
	for _, size := range []int64{1, 4096, 1 << 20, 1 << 30, 1 << 31, 1 << 40, 1<<63 - 1} {
		segment, segments := o.segmentSize(size)
		require.Zero(t, segment%4096)
		require.GreaterOrEqual(t, segments, int64(2))
		require.LessOrEqual(t, segment*segments, int64(1<<30), size)
	}
}

// TestJournal_CheckpointsAreLarge: groups that come during a checkpoint wake the
// checkpointer, which waits all the same until the journal is nearly full again.
func TestJournal_CheckpointsAreLarge(t *testing.T) {
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), config{journalBytes: 256 << 10})
	busy(t, e, 0, 1)
	for range 3 { // the third is received when the first has been handled
		e.journal.checkpointer.woken <- struct{}{}
	}
	require.NotEmpty(t, e.memtable.keys("", ""))
	seq := uint64(1)
	for e.journal.journal.Load().State().Checkpointed == 0 {
		require.Less(t, seq, uint64(1000), "there is no checkpoint")
		seq = busy(t, e, seq, 1)
	}
	require.NoError(t, e.Close())
}

// TestJournal_Grows: a journal that is filled again and again becomes larger, up to
// its largest size.
//  1. Nothing is lost by that, not even by a kill.
//  2. It has that size at the next opening, also if the options start larger or smaller.
//  3. A journal that is filled slowly keeps its size.
func TestJournal_Grows(t *testing.T) {
	o := journalConfigs["Growing"]
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
	require.Equal(t, o.journalBytes, journalSize(e))
	seq := uint64(0)
	for journalSize(e) < o.journalMaxBytes {
		require.Less(t, seq, uint64(1000), "it does not grow")
		seq = busy(t, e, seq, 1)
	}
	busy(t, e, seq, 5)
	require.NotEmpty(t, e.memtable.keys("", ""), "the larger journal is used")
	path, want := copyFile(t, e), holds(t, e)
	killBolt(e)

	for _, next := range []config{o, {journalBytes: 4 << 10, journalMaxBytes: 1 << 20}} {
		e = openAt(t, path, next)
		require.Equal(t, want, holds(t, e), "rule 1")
		require.Equal(t, o.journalMaxBytes, journalSize(e), "rule 2")
		require.NoError(t, e.Close())
	}
	e = openAt(t, path, config{journalBytes: 16 << 10})
	require.EqualValues(t, 16<<10, journalSize(e), "a size of its own")
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
	require.Equal(t, o.journalBytes, journalSize(e), "rule 3")
}

// TestJournal_GrowsForGroups: a group that is too large for a segment makes the
// journal larger.
func TestJournal_GrowsForGroups(t *testing.T) {
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), journalConfigs["Growing"])
	w := writeOf("a", 0, 1)
	w.Events[0].Bytes = make([]byte, 10<<10)
	require.NoError(t, commitSteps(e, stepOf(w)))
	require.EqualValues(t, 32<<10, journalSize(e))
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, 2)
}

// TestJournal_NoSpaceToGrow: if the disk has no space for a larger journal the
// present one stays in use, and nothing is refused.
func TestJournal_NoSpaceToGrow(t *testing.T) {
	var size atomic.Int64
	o := journalConfigs["Growing"]
	o.seams.commit = func(tx *txn) error {
		root, _ := tx.journalRoot()
		if size.Load() > 0 && root == 0 { // the bucket is made but not committed yet
			size.Add(1)
			return diskFull(tx)
		}
		return tx.commit()
	}
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
	size.Store(1)
	busy(t, e, 0, 100)
	require.EqualValues(t, 2, size.Load(), "it was tried once")
	require.Equal(t, o.journalBytes, journalSize(e))
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, 101)

	// It is no reason to refuse a file either.
	full := config{journalBytes: 64 << 10}
	full.seams.commit = func(tx *txn) error {
		if root, _ := tx.journalRoot(); root == 0 {
			return diskFull(tx)
		}
		return tx.commit()
	}
	require.NoError(t, e.Close())
	e = openAt(t, e.path, full)
	require.Equal(t, o.journalBytes, journalSize(e), "the old one is kept")
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

// TestJournal_GrowthFails: a commit that fails while it makes the journal larger
// puts its group in doubt and ends all writing (R6).
func TestJournal_GrowthFails(t *testing.T) {
	for _, after := range []bool{false, true} {
		var grows atomic.Bool
		o := journalConfigs["Growing"]
		o.seams.commit = func(tx *txn) error {
			if root, _ := tx.journalRoot(); grows.Load() && root == 0 {
				return failing(errJournalDisk, after)(tx)
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
		e = openAt(t, path, journalConfigs["Growing"])
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
