package savepoint_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func TestStore_AppendLoadView(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		h := begin(t, s, "g-1", 3)
		assert.EqualValues(t, 4, h.Seq)
		assert.Equal(t, "turn", h.Phase)
		assert.NotZero(t, h.Pos)
		st := load(t, s, "g-1")
		assert.Equal(t, h, st.Head)
		assert.Equal(t, []string{"7H", "7S", "8H"}, st.Value.Played)
		assert.Equal(t, map[int][]string{0: {"9H", "TH", "JH"}, 1: {"8S", "9S", "TS", "JS"}}, st.Value.Hands)

		require.NoError(t, s.View(ctx, "g-1", func(v *savepoint.State[table]) error {
			assert.Equal(t, st, *v)
			return nil
		}))
		why := errors.New("why")
		require.ErrorIs(t, s.View(ctx, "g-1", func(*savepoint.State[table]) error { return why }), why)

		_, err := s.Load(ctx, "g-2")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		require.NotErrorIs(t, err, savepoint.ErrDeleted)
	})
}

func TestStore_Append_RefusesAndGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		h := begin(t, s, "g-1", 2)
		before := load(t, s, "g-1")

		_, err := s.Append(ctx, "g-1", played{1, "8S"})
		require.ErrorIs(t, err, errNotYourTurn, "Check")
		_, err = s.Append(ctx, "g-1", &noted{Text: "x", Fail: true})
		require.ErrorContains(t, err, "noted fails", "Apply")
		var p *savepoint.PanicError
		_, err = s.Append(ctx, "g-1", &noted{Text: "x", Panic: true})
		require.ErrorAs(t, err, &p)
		assert.Equal(t, "Apply", p.In)
		_, err = s.Append(ctx, "g-1", &noted{Text: "invalid"})
		require.ErrorContains(t, err, "not valid", "Validate")
		_, err = s.Append(ctx, "g-1", moved{"waiting"})
		require.ErrorIs(t, err, savepoint.ErrIllegal) // row E11
		_, err = s.Append(ctx, "g-1", nil)
		require.ErrorIs(t, err, savepoint.ErrBadEvent)
		_, err = s.Append(ctx, "g-1", (*noted)(nil))
		require.ErrorIs(t, err, savepoint.ErrBadEvent)
		var c *savepoint.ConflictError
		_, err = s.Append(ctx, "g-1", plays[2], savepoint.IfSeq(7))
		require.ErrorAs(t, err, &c)
		require.ErrorIs(t, err, savepoint.ErrConflict)
		assert.EqualValues(t, 7, c.Want)
		assert.EqualValues(t, 3, c.Have)
		_, err = s.Append(ctx, "g-1", &noted{Text: string(make([]byte, 1<<20))})
		require.ErrorIs(t, err, savepoint.ErrTooLarge)

		assert.Equal(t, before, load(t, s, "g-1"), "a refused event changes nothing")
		h2, err := s.Append(ctx, "g-1", plays[2], savepoint.IfSeq(h.Seq))
		require.NoError(t, err)
		assert.Equal(t, h.Seq+1, h2.Seq)
	})
}

func TestStore_Update_AllOrNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		begin(t, s, "g-1", 0)
		h, err := s.Update(ctx, "g-1", func(m *savepoint.Machine[table]) error {
			for _, p := range plays[:4] {
				assert.Equal(t, p.Seat, m.State().Turn)
				if err := m.Append(p); err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(t, err)
		assert.EqualValues(t, 5, h.Seq)
		before := load(t, s, "g-1")
		_, err = s.Update(ctx, "g-1", func(m *savepoint.Machine[table]) error {
			require.NoError(t, m.Append(plays[4], plays[5]))
			_ = m.Append(played{0, "no such card"}) // the error is not handed on
			return nil
		})
		require.ErrorContains(t, err, "no such card")
		assert.Equal(t, before, load(t, s, "g-1"))
		_, err = s.Update(ctx, "g-1", func(m *savepoint.Machine[table]) error {
			require.NoError(t, m.Append(plays[4]))
			panic("in the callback")
		})
		require.ErrorContains(t, err, "in the callback")
		assert.Equal(t, before, load(t, s, "g-1"))
		h, err = s.Update(ctx, "g-1", func(*savepoint.Machine[table]) error { return nil })
		require.NoError(t, err)
		assert.Equal(t, before.Head, h, "nothing appended, nothing written")
	})
}

func TestStore_EventsAndAt(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		begin(t, s, "g-1", 8)
		var states []savepoint.State[table]
		for seq := range uint64(10) {
			st, err := s.At(ctx, "g-1", savepoint.AtSeq(seq))
			require.NoError(t, err)
			assert.Equal(t, seq, st.Seq)
			states = append(states, st)
		}
		assert.Equal(t, "waiting", states[0].Value.Phase)
		assert.Equal(t, load(t, s, "g-1").Value, states[9].Value)
		_, err := s.At(ctx, "g-1", savepoint.AtSeq(10))
		require.ErrorIs(t, err, savepoint.ErrNoPoint)

		var got []string
		for rec, err := range s.Events(ctx, "g-1", savepoint.EventRange{After: 1, To: 4}) {
			require.NoError(t, err)
			got = append(got, rec.Event.(played).Card)
			assert.Equal(t, "seat", rec.Actor)
			assert.Equal(t, "played", rec.Name) // row E1
			assert.NotZero(t, rec.Pos)
		}
		assert.Equal(t, []string{"7H", "7S", "8H"}, got) // row E12
		got = nil
		for rec, err := range s.Events(ctx, "g-1", savepoint.EventRange{Newest: true, Limit: 2}) {
			require.NoError(t, err)
			got = append(got, rec.Event.(played).Card)
		}
		assert.Equal(t, []string{"TS", "TH"}, got)
	})
}

func TestStore_GoAcksInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		var acks []*savepoint.Ack
		acks = append(acks, s.Go(ctx, "g-1", deal()))
		for range 200 {
			acks = append(acks, s.Go(ctx, "g-1", &noted{Text: "x"}))
		}
		<-acks[200].Done()
		for i, a := range acks {
			select {
			case <-a.Done():
			default:
				t.Fatalf("ack %d is behind ack 200", i)
			}
			h, err := a.Wait(ctx)
			require.NoError(t, err)
			assert.EqualValues(t, i+1, h.Seq)
		}
	})
}

func TestStore_Keys(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		h1, err := s.Append(ctx, "g-1", deal(), savepoint.Key("k1"), savepoint.IfSeq(0))
		require.NoError(t, err)
		start2, err := s.Append(ctx, "g-1", plays[0], savepoint.Key("k2"))
		require.NoError(t, err)
		again, err := s.Append(ctx, "g-1", deal(), savepoint.Key("k1"), savepoint.IfSeq(0))
		require.NoError(t, err, "the key is looked up before IfSeq and Check")
		assert.Equal(t, h1, again)
		again, err = s.Append(ctx, "g-1", plays[0], savepoint.Key("k2"))
		require.NoError(t, err)
		assert.Equal(t, start2.Seq, again.Seq)
		_, err = s.Append(ctx, "g-1", plays[1], savepoint.Key("k2"))
		require.ErrorIs(t, err, savepoint.ErrKeyReused)
		ran := 0
		for range 2 {
			_, err = s.Update(ctx, "g-1", func(m *savepoint.Machine[table]) error {
				ran++
				return m.Append(plays[1], plays[2])
			}, savepoint.Key("k3"))
			require.NoError(t, err)
		}
		assert.Equal(t, 1, ran)
		assert.EqualValues(t, 4, load(t, s, "g-1").Seq)
	})
}

func TestStore_Concurrent(t *testing.T) {
	// 1. every acknowledged event is there once; 2. seq has no holes; 3. the
	// state is what the events say.
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		const writers, each = 8, 60
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					id := []string{"a", "b", "c"}[(w+i)%3]
					_, err := s.Append(ctx, id, &noted{Text: "x"})
					assert.NoError(t, err)
					assert.NoError(t, s.View(ctx, id, func(*savepoint.State[table]) error { return nil }))
				}
			})
		}
		wg.Wait()
		var sum uint64
		for _, id := range []string{"a", "b", "c"} {
			seq := uint64(0)
			for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
				require.NoError(t, err)
				seq++
				require.Equal(t, seq, rec.Seq)
			}
			assert.Equal(t, seq, load(t, s, id).Seq)
			sum += seq
			rep, err := s.Verify(ctx, id)
			require.NoError(t, err)
			assert.True(t, rep.OK(), "%v", rep.Divergences)
		}
		assert.EqualValues(t, writers*each, sum)
	})
}

func TestDB_Update_SeveralMachines(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		docs, err := savepoint.Register(db, savepoint.DocKind("wallet"))
		require.NoError(t, err)
		begin(t, s, "g-1", 0)
		err = db.Update(ctx, func(tx *savepoint.Tx) error {
			g, err := s.In(tx, "g-1")
			if err != nil {
				return err
			}
			w, err := docs.In(tx, "ann")
			if err != nil {
				return err
			}
			if err := g.Append(plays[0]); err != nil {
				return err
			}
			return w.Append(savepoint.DocUpdate{Set: map[string]any{"coins": 5}})
		}, savepoint.By("cashier"))
		require.NoError(t, err)
		assert.EqualValues(t, 2, load(t, s, "g-1").Seq)
		w, err := docs.Load(ctx, "ann")
		require.NoError(t, err)
		assert.Equal(t, savepoint.Doc{"coins": int64(5)}, w.Value)

		err = db.Update(ctx, func(tx *savepoint.Tx) error {
			w, err := docs.In(tx, "ann")
			require.NoError(t, err)
			require.NoError(t, w.Append(savepoint.DocUpdate{Set: map[string]any{"coins": 6}}))
			g, err := s.In(tx, "g-1")
			require.NoError(t, err)
			_ = g.Append(played{0, "8H"}) // not seat 0's turn
			return nil
		})
		require.ErrorIs(t, err, errNotYourTurn)
		w, err = docs.Load(ctx, "ann")
		require.NoError(t, err)
		assert.Equal(t, int64(5), w.Value["coins"])
		assert.EqualValues(t, 2, load(t, s, "g-1").Seq)
	})
}

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
		assert.EqualValues(t, 8, h.Seq, "deleted 6, created 7")
		assert.Empty(t, load(t, s, "g-1").Value.Played)

		require.NoError(t, s.Purge(ctx, "g-1"))
		_, err = s.Load(ctx, "g-1")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		require.ErrorIs(t, s.Purge(ctx, "g-1"), savepoint.ErrNotFound)
		assert.EqualValues(t, 1, begin(t, s, "g-1", 0).Seq)
	})
}

func TestStore_View_Free(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	begin(t, s, "g-1", 2)
	look := func(*savepoint.State[table]) error { return nil }
	ctx := context.Background()
	require.NoError(t, s.View(ctx, "g-1", look))
	assert.Zero(t, testing.AllocsPerRun(1000, func() { _ = s.View(ctx, "g-1", look) }))
}
