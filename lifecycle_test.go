package savepoint_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestStore_DeletePurgeFork forks, deletes and purges a machine, and starts it again after both.
// row A11, B9
func TestStore_DeletePurgeFork(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		begin(t, s, "g-1", 4)
		h, err := s.Fork(ctx, "g-1", savepoint.AtSeq(3), "g-2")
		require.NoError(t, err)
		assert.EqualValues(t, 4, h.Seq)
		at3, err := s.At(ctx, "g-1", savepoint.AtSeq(3))
		require.NoError(t, err)
		assert.Equal(t, at3.Value, load(t, s, "g-2").Value)
		fork3, err := s.At(ctx, "g-2", savepoint.AtSeq(3))
		require.NoError(t, err)
		assert.Equal(t, at3.Value, fork3.Value)
		_, err = s.At(ctx, "g-2", savepoint.AtSeq(2))
		require.ErrorIs(t, err, savepoint.ErrCompacted)

		_, err = s.Delete(ctx, "g-1")
		require.NoError(t, err)
		_, err = s.Load(ctx, "g-1")
		require.ErrorIs(t, err, savepoint.ErrDeleted)
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		_, err = s.Delete(ctx, "g-1")
		require.ErrorIs(t, err, savepoint.ErrDeleted)
		_, err = s.At(ctx, "g-1", savepoint.AtSeq(5))
		require.NoError(t, err)
		h, err = s.Append(ctx, "g-1", deal(), savepoint.IfSeq(0))
		require.NoError(t, err)
		assert.EqualValues(t, 8, h.Seq, "the records are deleted 6, created 7 and dealt 8")
		assert.Empty(t, load(t, s, "g-1").Value.Played)

		require.NoError(t, s.Purge(ctx, "g-1"))
		_, err = s.Load(ctx, "g-1")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		require.ErrorIs(t, s.Purge(ctx, "g-1"), savepoint.ErrNotFound)
		assert.EqualValues(t, 1, begin(t, s, "g-1", 0).Seq)
	})
}

// TestStore_Purge_CallerStopsWaiting cancels the ctx of a Purge that is queued: the caller gets ErrInDoubt, the machine is
// purged all the same, and a Load that comes meanwhile waits for it.
func TestStore_Purge_CallerStopsWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		gate := make(chan struct{})
		f.set(func() { f.gate = gate })
		short, cancel := context.WithCancel(ctx)
		purged := make(chan error, 1)
		go func() { purged <- s.Purge(short, "g") }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-purged, savepoint.ErrInDoubt)
		loaded := make(chan error, 1)
		go func() {
			_, err := s.Load(ctx, "g")
			loaded <- err
		}()
		synctest.Wait()
		close(gate)
		require.ErrorIs(t, <-loaded, savepoint.ErrNotFound)
		_, err = s.Load(ctx, "g")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		h, err := s.Append(ctx, "g", added{N: 2}, savepoint.IfSeq(0))
		require.NoError(t, err)
		assert.EqualValues(t, 1, h.Seq)
	})
}
