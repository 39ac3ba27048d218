package savepoint_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
)

// TestStrategy_DurableOnReturn appends, saves and reopens under each strategy: what was acknowledged is there.
// row B2, B3, B7, G5
func TestStrategy_DurableOnReturn(t *testing.T) {
	for _, st := range strategies {
		t.Run(st.String(), func(t *testing.T) {
			path := engines["file"](t)
			db, err := savepoint.Open(path, nil)
			require.NoError(t, err)
			s, err := savepoint.Register(db, kindOf(st))
			require.NoError(t, err)
			begin(t, s, "g", 4)
			v := load(t, s, "g").Value
			v.Note = "saved"
			h, err := s.Save(t.Context(), "g", v)
			require.NoError(t, err)
			assert.EqualValues(t, 6, h.Seq)
			_, err = s.Append(t.Context(), "g", plays[4])
			require.NoError(t, err)
			want := load(t, s, "g")
			require.NoError(t, db.Close())

			db = open(t, path, nil)
			s, err = savepoint.Register(db, kindOf(st))
			require.NoError(t, err)
			assert.Equal(t, want, load(t, s, "g"))
			h, err = s.Append(t.Context(), "g", plays[5], savepoint.IfSeq(7))
			require.NoError(t, err)
			assert.EqualValues(t, 8, h.Seq)
		})
	}
}

// TestStrategy_Events counts what each strategy stores: events, or a state with each write.
// row B3
func TestStrategy_Events(t *testing.T) {
	for _, st := range strategies {
		onEachKind(t, savepoint.Options{}, kindOf(st), func(t *testing.T, s *savepoint.Store[table]) {
			ctx := t.Context()
			begin(t, s, "g", 4)
			n := 0
			for _, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
				require.NoError(t, err)
				n++
			}
			snaps := seqs(infos(t, s, "g", savepoint.SnapshotRange{}))
			switch st {
			case savepoint.SnapshotOnly:
				assert.Zero(t, n)
				assert.Equal(t, []uint64{1, 2, 3, 4, 5}, snaps, "each write stores the state")
			default:
				assert.Equal(t, 5, n)
				assert.Equal(t, []uint64{0}, snaps)
			}
		})
	}
}

// TestStrategy_SnapshotOnly_PointsAreKeptSnapshots reads points of a snapshot-only machine: those that are kept, and ErrNoPoint
// for all others, never an older state.
func TestStrategy_SnapshotOnly_PointsAreKeptSnapshots(t *testing.T) {
	k := kindOf(savepoint.SnapshotOnly)
	k.Snapshot.Keep = 2
	c := newClock()
	onEachKind(t, savepoint.Options{Now: c.Now}, k, func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		var times []time.Time
		for i := range 6 {
			c.turn(time.Second)
			times = append(times, c.Now())
			note(t, s, "g", 1)
			assert.EqualValues(t, i+1, load(t, s, "g").Seq)
		}
		snaps := seqs(infos(t, s, "g", savepoint.SnapshotRange{}))
		assert.Equal(t, []uint64{5, 6}, snaps)
		for seq := range uint64(8) {
			_, err := s.At(ctx, "g", savepoint.AtSeq(seq))
			if seq >= 5 && seq <= 6 {
				require.NoError(t, err, "seq %d", seq)
			} else {
				require.ErrorIs(t, err, savepoint.ErrNoPoint, "an older state is never returned instead: seq %d", seq)
			}
		}
		_, err := s.At(ctx, "g", savepoint.AtTime(times[5].Add(time.Millisecond)))
		require.NoError(t, err)
		_, err = s.At(ctx, "g", savepoint.AtTime(times[1]))
		require.ErrorIs(t, err, savepoint.ErrNoPoint)
	})
}

// TestStrategy_SnapshotOnly_GoCoalesces makes writes with Go under snapshot-only: they are stored together, at the interval, at
// Flush, with the next waiting write, before Load shows them, and at Close.
// row B2, B14, B15, J4
func TestStrategy_SnapshotOnly_GoCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kindOf(savepoint.SnapshotOnly)
		k.Snapshot = savepoint.SnapshotPolicy{Events: 100, Every: time.Minute}
		db, err := savepoint.Open(savepoint.Memory, nil)
		require.NoError(t, err)
		s, err := savepoint.Register(db, k)
		require.NoError(t, err)
		ctx := t.Context()
		note(t, s, "g", 1)
		waiting := func(acks ...*savepoint.Ack) {
			t.Helper()
			synctest.Wait()
			for _, a := range acks {
				select {
				case <-a.Done():
					t.Fatal("acknowledged before anything was stored")
				default:
				}
			}
		}
		a := s.Go(ctx, "g", &noted{Text: "a"})
		b := s.Go(ctx, "g", &noted{Text: "b"})
		waiting(a, b)
		time.Sleep(time.Minute) // the interval passes
		synctest.Wait()
		h, err := a.Wait(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 2, h.Seq)
		_, err = b.Wait(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 2, db.Stats().Groups, "one group for the first write, one for both others")

		a = s.Go(ctx, "g", &noted{Text: "c"})
		waiting(a)
		require.NoError(t, db.Flush(ctx))
		require.NoError(t, a.Err(), "Flush")

		a = s.Go(ctx, "g", &noted{Text: "d"})
		waiting(a)
		_, err = s.Append(ctx, "g", &noted{Text: "e"})
		require.NoError(t, err)
		require.NoError(t, a.Err(), "the next Append stores it, too")

		a = s.Go(ctx, "g", &noted{Text: "f"})
		waiting(a)
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.Equal(t, "f by ", st.Value.Note)
		require.NoError(t, a.Err(), "what Load shows is durable")

		a = s.Go(ctx, "g", &noted{Text: "g"})
		waiting(a)
		require.NoError(t, db.Close())
		require.NoError(t, a.Err(), "Close")
	})
}

// TestStrategy_Versioned_Revisions saves more revisions than snapshots are kept: each one is still found.
// row B5, B10
func TestStrategy_Versioned_Revisions(t *testing.T) {
	onEachKind(t, savepoint.Options{}, kindOf(savepoint.Versioned), func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		for i := range 15 {
			v := table{Phase: "turn", Note: fmt.Sprint("rev ", i+1)}
			h, err := s.Save(ctx, "g", v)
			require.NoError(t, err)
			assert.EqualValues(t, i+1, h.Revision)
			note(t, s, "g", 1)
		}
		for i := range uint64(15) { // more than the ten snapshots that are kept
			st, err := s.At(ctx, "g", savepoint.AtRevision(i+1))
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprint("rev ", i+1), st.Value.Note)
			assert.Equal(t, i+1, st.Revision)
		}
		_, err := s.At(ctx, "g", savepoint.AtRevision(16))
		require.ErrorIs(t, err, savepoint.ErrNoPoint)
	})
}

// TestStrategy_MayChange changes a kind from each strategy to each other one: nothing it had is lost.
func TestStrategy_MayChange(t *testing.T) {
	for _, from := range strategies {
		for _, to := range strategies {
			t.Run(from.String()+" to "+to.String(), func(t *testing.T) {
				path := engines["file"](t)
				db, err := savepoint.Open(path, nil)
				require.NoError(t, err)
				s, err := savepoint.Register(db, kindOf(from))
				require.NoError(t, err)
				begin(t, s, "g", 3)
				want := load(t, s, "g")
				require.NoError(t, db.Close())
				db = open(t, path, nil)
				s, err = savepoint.Register(db, kindOf(to))
				require.NoError(t, err)
				assert.Equal(t, want, load(t, s, "g"))
				for _, p := range plays[3:6] {
					_, err = s.Append(t.Context(), "g", p)
					require.NoError(t, err)
				}
				at, err := s.At(t.Context(), "g", savepoint.AtSeq(4))
				require.NoError(t, err)
				assert.Equal(t, want.Value, at.Value)
				rep, err := s.Verify(t.Context(), "g")
				require.NoError(t, err)
				assert.True(t, rep.OK(), "%v", rep.Divergences)
			})
		}
	}
}

// TestStrategy_SnapshotOnly_WritesThatChangeNothing makes writes that change nothing after writes with Go: they do not wait for
// the interval, and what they saw is durable when they return.
func TestStrategy_SnapshotOnly_WritesThatChangeNothing(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, snapshotOnly(-1))
		defer db.Close()
		a := s.Go(ctx, "g", added{N: 1})
		h, err := s.Update(ctx, "g", func(*savepoint.Machine[tally]) error { return nil })
		require.NoError(t, err)
		assert.EqualValues(t, 1, h.Seq)
		require.NoError(t, a.Err())
		a = s.Go(ctx, "g", added{N: 1})
		found, err := s.DeleteSnapshot(ctx, "g", 77)
		require.NoError(t, err)
		assert.False(t, found)
		require.NoError(t, a.Err())
		a = s.Go(ctx, "g", added{N: 2}, savepoint.Key("k"))
		h, err = s.Append(ctx, "g", added{N: 2}, savepoint.Key("k"))
		require.NoError(t, err, "the key returns the first result, which is durable now")
		assert.EqualValues(t, 3, h.Seq)
		require.NoError(t, a.Err())
	})
}

// TestStrategy_SnapshotOnly_DeleteSnapshotStoresTheState deletes a snapshot while an unsaved write waits: the write is stored.
func TestStrategy_SnapshotOnly_DeleteSnapshotStoresTheState(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		f.stays = true
		db, s := openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
		for range 2 {
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
		}
		a := s.Go(ctx, "g", added{N: 5})
		found, err := s.DeleteSnapshot(ctx, "g", 1)
		require.NoError(t, err)
		assert.True(t, found)
		require.NoError(t, a.Err())
		require.NoError(t, db.Close())
		db, s = openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
		defer db.Close()
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.EqualValues(t, 7, st.Value.Sum)
	})
}

// TestStrategy_SnapshotOnly_EveryAckResolves resolves the ack of an unsaved write after writing has stopped, and after a
// Shutdown whose ctx is over.
func TestStrategy_SnapshotOnly_EveryAckResolves(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		a := s.Go(ctx, "g", added{N: 1})
		f.set(func() { f.fail = func(int) (bool, error) { return false, errDisk } })
		_, err = s.Append(ctx, "other", added{N: 1})
		require.ErrorIs(t, err, savepoint.ErrInDoubt)
		require.NoError(t, db.Close())
		_, err = a.Wait(ctx)
		require.ErrorIs(t, err, savepoint.ErrStopped)
	})
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, snapshotOnly(-1))
		a := s.Go(ctx, "g", added{N: 1})
		over, cancel := context.WithCancel(ctx)
		cancel()
		require.Error(t, db.Shutdown(over))
		_, err := a.Wait(ctx)
		require.ErrorIs(t, err, savepoint.ErrClosed)
	})
}

// TestStrategy_SnapshotOnly_AfterAFailedWrite makes an unsaved write after a queued one that fails: it is aborted after that one,
// and Flush, View and Append do not report it as durable.
func TestStrategy_SnapshotOnly_AfterAFailedWrite(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		for _, what := range []string{"flush", "view", "append"} {
			f := newFaulty()
			db, s := openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
			gate := make(chan struct{})
			f.set(func() {
				f.gate = gate
				f.refuse = func(n, _ int, _ engine.Step) error {
					if n == 1 {
						return errDisk
					}
					return nil
				}
			})
			first := make(chan error, 1)
			go func() {
				_, err := s.Append(ctx, "g", added{N: 2})
				first <- err
			}()
			synctest.Wait()
			a := s.Go(ctx, "g", added{N: 3})
			done := make(chan error, 1)
			go func() {
				var err error
				switch what {
				case "flush":
					err = db.Flush(ctx)
				case "view":
					err = s.View(ctx, "g", func(st *savepoint.State[tally]) error { return nil })
				case "append":
					_, err = s.Append(ctx, "g", added{N: 4})
				}
				done <- err
			}()
			synctest.Wait()
			close(gate)
			require.ErrorIs(t, <-first, errDisk)
			require.ErrorIs(t, a.Err(), savepoint.ErrAborted)
			require.ErrorIs(t, <-done, savepoint.ErrAborted, what)
			st, err := s.Load(ctx, "g")
			require.NoError(t, err)
			assert.EqualValues(t, 1, st.Value.Sum)
			require.NoError(t, db.Close())
		}
	})
}
