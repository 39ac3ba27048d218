package savepoint_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
)

// TestWatch watches one machine from before it exists until it is purged; records of other machines do not show.
// row D9
func TestWatch(t *testing.T) {
	onEachFeed(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		seen := make(chan uint64)
		ended := make(chan error, 1)
		go func() {
			for rec, err := range s.Watch(ctx, "a", 0) {
				if err != nil {
					ended <- err
					return
				}
				seen <- rec.Seq
			}
		}()
		for i := range uint64(20) {
			var err error
			if i == 0 {
				_, err = s.Append(ctx, "a", deal())
			} else {
				_, err = s.Append(ctx, "a", &noted{})
			}
			require.NoError(t, err)
			_, err = s.Append(ctx, fmt.Sprint("b", i), deal())
			require.NoError(t, err)
			require.Equal(t, i+1, <-seen)
		}
		for rec, err := range s.Watch(ctx, "a", 18) {
			require.NoError(t, err)
			require.Equal(t, uint64(19), rec.Seq)
			require.IsType(t, &noted{}, rec.Event)
			break
		}
		require.NoError(t, s.Purge(ctx, "a"))
		require.ErrorIs(t, <-ended, savepoint.ErrNotFound)
	})
}

// TestWatch_Refuses refuses to watch a snapshot-only kind, a bad id, and records before the base of a fork.
func TestWatch_Refuses(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	only := tableKind()
	only.Name, only.Strategy = "only", savepoint.SnapshotOnly
	o, err := savepoint.Register(db, only)
	require.NoError(t, err)
	first := func(s *savepoint.Store[table], id string, after uint64) error {
		for _, err := range s.Watch(t.Context(), id, after) {
			return err
		}
		return nil
	}
	require.ErrorIs(t, first(o, "a", 0), savepoint.ErrUnsupported)
	require.ErrorIs(t, first(s, "", 0), savepoint.ErrBadID)
	for range 3 {
		_, err := s.Append(t.Context(), "a", &noted{})
		require.NoError(t, err)
	}
	_, err = s.Fork(t.Context(), "a", savepoint.AtSeq(2), "b")
	require.NoError(t, err)
	_, err = s.Append(t.Context(), "b", &noted{})
	require.NoError(t, err)
	require.ErrorIs(t, first(s, "b", 0), savepoint.ErrCompacted, "a fork starts at its base")
	require.ErrorIs(t, first(s, "b", 1), savepoint.ErrCompacted)
	require.NoError(t, first(s, "b", 2), "after the base nothing is missing")
}

// TestWatch_Replaced purges the watched machine and writes a new one of the same id: the watch ends with ErrNotFound, also when
// the new one has more records.
func TestWatch_Replaced(t *testing.T) {
	onEachFeed(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		write := func(n int) {
			for range n {
				_, err := s.Append(ctx, "a", &noted{})
				require.NoError(t, err)
			}
		}
		for _, n := range []int{1, 2, 3} {
			write(2)
			var last error
			for rec, err := range s.Watch(ctx, "a", 1) {
				if last = err; err == nil {
					require.Equal(t, uint64(2), rec.Seq)
					require.NoError(t, s.Purge(ctx, "a"))
					write(n)
				}
			}
			require.ErrorIs(t, last, savepoint.ErrNotFound)
			require.NoError(t, s.Purge(ctx, "a"))
		}
	})
}

// TestWatch_BeyondTheEnd watches from a seq beyond the newest record: records up to that seq are not shown when they come.
func TestWatch_BeyondTheEnd(t *testing.T) {
	f := newFaulty()
	s := register(t, open(t, "kept", &savepoint.Options{Engine: f}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	write := func() {
		_, err := s.Append(ctx, "a", &noted{})
		require.NoError(t, err)
	}
	write()
	loaded, seen := make(chan struct{}, 100), make(chan uint64, 100)
	f.set(func() { f.loaded = func(string, engine.LoadRange) { loaded <- struct{}{} } })
	go func() {
		for rec := range s.Watch(ctx, "a", 4) {
			seen <- rec.Seq
		}
	}()
	for range 4 {
		<-loaded
		write()
	}
	require.Equal(t, uint64(5), <-seen)
}
