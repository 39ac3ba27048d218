package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
)

// TestCommit_OneWriterAtATime registers kinds while writes are committed: SetNote never runs beside a Commit.
func TestCommit_OneWriterAtATime(t *testing.T) {
	ctx := t.Context()
	f := newFaulty()
	f.delay = func() {
		for range 2000 {
			runtime.Gosched()
		}
	}
	db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
	for i := range 20 {
		a := s.Go(ctx, "g", added{N: 1})
		_, err := savepoint.Register(db, tallyKind(fmt.Sprint("kind", i), savepoint.Hybrid, noPolicy))
		require.NoError(t, err)
		require.NoError(t, a.Err())
	}
	require.NoError(t, db.Close())
	assert.Empty(t, f.broken)
}

// TestCommit_Failure_NothingAcknowledgedIsLost lets each commit of a run fail in each way, once and for ever, while writes
// are queued after it:
//  1. after reopening, what was acknowledged is there, what was refused or aborted is not, and what is in doubt is whole or
//     absent;
//  2. a retry under the same key stores each write exactly once, after reopening where writing has stopped;
//  3. after a failure that may have stored something nothing is acknowledged, and machines without a write in doubt can be
//     read.
func TestCommit_Failure_NothingAcknowledgedIsLost(t *testing.T) {
	full := fmt.Errorf("%w: %w", engine.ErrNothingStored, savepoint.ErrDiskFull)
	faults := map[string]func(f *faulty, at func(int) bool){
		"a step is refused": func(f *faulty, at func(int) bool) {
			f.refuse = func(n, i int, _ engine.Step) error {
				if at(n) && i == 0 {
					return errDisk
				}
				return nil
			}
		},
		"another process": func(f *faulty, at func(int) bool) {
			f.refuse = func(n, i int, s engine.Step) error {
				if at(n) && i == 0 {
					return &engine.Conflict{Machine: s.Writes[0].Machine, Want: s.Writes[0].Expect, Have: 77}
				}
				return nil
			}
		},
		"a step in doubt": func(f *faulty, at func(int) bool) {
			f.refuse = func(n, i int, _ engine.Step) error {
				if at(n) && i == 0 {
					return engine.ErrInDoubt
				}
				return nil
			}
		},
		"the disk is full": func(f *faulty, at func(int) bool) {
			f.fail = func(n int) (bool, error) {
				if at(n) {
					return false, full
				}
				return true, nil
			}
		},
		"a sync failed, stored": func(f *faulty, at func(int) bool) {
			f.fail = func(n int) (bool, error) {
				if at(n) {
					return true, errDisk
				}
				return true, nil
			}
		},
		"a sync failed, not stored": func(f *faulty, at func(int) bool) {
			f.fail = func(n int) (bool, error) {
				if at(n) {
					return false, errDisk
				}
				return true, nil
			}
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			for _, strategy := range strategies {
				for n := range 12 {
					for _, once := range []bool{true, false} {
						failsAt(t, strategy, fault, func(commit int) bool { return commit == n || !once && commit > n })
					}
				}
			}
		})
	}
}

// failsAt makes a run of writes with a fault at the commits that at selects, and checks what is stored after reopening.
func failsAt(t *testing.T, strategy savepoint.Strategy, fault func(*faulty, func(int) bool), at func(int) bool) {
	ctx := t.Context()
	f := newFaulty()
	f.stays = true
	f.delay = runtime.Gosched
	fault(f, at)
	k := tallyKind("tally", strategy, savepoint.SnapshotPolicy{Events: 3, Every: -1, Keep: 2, NoClose: true})
	db, s := openFaulty(t, f, savepoint.Options{}, k)
	type sent struct {
		id  string
		n   int64
		ack *savepoint.Ack
	}
	var all, again []sent
	for n := range int64(30) {
		w := sent{id: fmt.Sprint("g", n%3), n: n}
		w.ack = s.Go(ctx, w.id, added{N: n}, savepoint.Key(fmt.Sprint(n)))
		all = append(all, w)
		if n%7 == 6 {
			_ = db.Flush(ctx)
		}
	}
	_ = db.Flush(ctx)
	closed := db.Close()
	stopped := false
	for _, w := range all {
		switch err := w.ack.Err(); {
		case err == nil:
			require.False(t, stopped, "a write is acknowledged after writing has stopped")
			continue
		case errors.Is(err, savepoint.ErrStopped):
			stopped = strategy != savepoint.SnapshotOnly // under that strategy the acks of Go may resolve after later ones
		case errors.Is(err, savepoint.ErrInDoubt), errors.Is(err, savepoint.ErrAborted), errors.Is(err, savepoint.ErrDiskFull),
			errors.Is(err, savepoint.ErrConflict), errors.Is(err, errDisk), errors.Is(err, savepoint.ErrClosed):
		default:
			require.NoError(t, err)
		}
		again = append(again, w)
	}
	if len(again) == 0 {
		require.NoError(t, closed)
	}
	f.set(func() { f.refuse, f.fail = nil, nil })
	db, s = openFaulty(t, f, savepoint.Options{}, k)
	doubts := map[int64]bool{}
	for _, w := range again {
		doubts[w.n] = true
		_, err := s.Append(ctx, w.id, added{N: w.n}, savepoint.Key(fmt.Sprint(w.n)))
		require.NoError(t, err)
	}
	for g := range int64(3) {
		id := fmt.Sprint("g", g)
		st, err := s.Load(ctx, id)
		require.NoError(t, err)
		assert.EqualValues(t, 10, st.Value.Count, "each write is stored once")
		assert.EqualValues(t, 135+10*g, st.Value.Sum)
		rep, err := s.Verify(ctx, id)
		require.NoError(t, err)
		assert.True(t, rep.OK(), "%v", rep.Divergences)
		before := int64(-1)
		for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
			require.NoError(t, err)
			n := rec.Event.(added).N
			if !doubts[n] {
				require.Greater(t, n, before, "the records are in the order of their acks")
				before = n
			}
		}
	}
	require.NoError(t, db.Close())
	require.Empty(t, f.broken)
}

// TestCommit_Failure_StopsForGood lets a commit fail after it may have been stored: its group and the writes queued after it
// are in doubt, later ones return ErrStopped, machines without such a write are still read, and the engine gets no
// other commit.
func TestCommit_Failure_StopsForGood(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{Cache: savepoint.CacheOptions{Off: true}}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		for _, id := range []string{"a", "b"} {
			_, err := s.Append(ctx, id, added{N: 1})
			require.NoError(t, err)
		}
		gate := make(chan struct{})
		f.set(func() { f.gate, f.fail = gate, func(int) (bool, error) { return true, errDisk } })
		acks := []*savepoint.Ack{s.Go(ctx, "a", added{N: 2})}
		synctest.Wait()
		for range 5 {
			acks = append(acks, s.Go(ctx, "a", added{N: 2}))
		}
		close(gate)
		for _, a := range acks {
			require.ErrorIs(t, a.Err(), savepoint.ErrInDoubt)
			var d *savepoint.InDoubtError
			require.ErrorAs(t, a.Err(), &d)
			assert.NotEmpty(t, d.Token)
		}
		f.set(func() { f.fail = nil })
		commits := f.commits
		_, err := s.Append(ctx, "b", added{N: 2})
		require.ErrorIs(t, err, savepoint.ErrStopped)
		_, err = s.Load(ctx, "a")
		require.ErrorIs(t, err, savepoint.ErrInDoubt)
		st, err := s.Load(ctx, "b")
		require.NoError(t, err, "a machine without a write in doubt is read")
		assert.EqualValues(t, 1, st.Value.Sum)
		_, err = s.Recover(ctx, "b", savepoint.RecoverOptions{To: savepoint.AtSeq(0)})
		require.ErrorIs(t, err, savepoint.ErrStopped)
		require.ErrorIs(t, db.Stats().Stopped, errDisk)
		require.NoError(t, db.Close())
		assert.Equal(t, commits, f.commits, "the engine gets no other commit")
	})
}
