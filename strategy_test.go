package savepoint_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func kindOf(st savepoint.Strategy) savepoint.Kind[table] {
	k := tableKind()
	k.Strategy = st
	return k
}

var strategies = []savepoint.Strategy{savepoint.Hybrid, savepoint.EventSourced, savepoint.SnapshotOnly, savepoint.Versioned}

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
				require.ErrorIs(t, err, savepoint.ErrNoPoint, "never an older state in silence: seq %d", seq)
			}
		}
		_, err := s.At(ctx, "g", savepoint.AtTime(times[5].Add(time.Millisecond)))
		require.NoError(t, err)
		_, err = s.At(ctx, "g", savepoint.AtTime(times[1]))
		require.ErrorIs(t, err, savepoint.ErrNoPoint)
	})
}

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
		time.Sleep(time.Minute) // the interval
		synctest.Wait()
		h, err := a.Wait(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 2, h.Seq)
		_, err = b.Wait(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 2, db.Stats().Groups, "one for the first write, one for both")

		a = s.Go(ctx, "g", &noted{Text: "c"})
		waiting(a)
		require.NoError(t, db.Flush(ctx))
		require.NoError(t, a.Err(), "Flush")

		a = s.Go(ctx, "g", &noted{Text: "d"})
		waiting(a)
		_, err = s.Append(ctx, "g", &noted{Text: "e"})
		require.NoError(t, err)
		require.NoError(t, a.Err(), "an Append behind it")

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

func TestStrategy_MayChange(t *testing.T) {
	// A kind that goes from one strategy to another loses nothing it had.
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
