package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/engine"
)

// TestStore_Update_AllOrNothing lets a callback append several events: all are stored, or none when one fails or the callback
// panics.
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
			_ = m.Append(played{0, "no such card"}) // the callback does not return the error
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
		assert.Equal(t, before.Head, h, "nothing was appended, so nothing was written")
	})
}

// TestDB_Update_SeveralMachines writes to machines of two kinds at once: all of it is stored, or nothing.
// row B18
func TestDB_Update_SeveralMachines(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		docs, err := savepoint.Register(db, document.Kind("wallet"))
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
			return w.Append(document.Update{Set: map[string]any{"coins": 5}})
		}, savepoint.By("cashier"))
		require.NoError(t, err)
		assert.EqualValues(t, 2, load(t, s, "g-1").Seq)
		w, err := docs.Load(ctx, "ann")
		require.NoError(t, err)
		assert.Equal(t, savepoint.Doc{"coins": int64(5)}, w.Value)

		err = db.Update(ctx, func(tx *savepoint.Tx) error {
			w, err := docs.In(tx, "ann")
			require.NoError(t, err)
			require.NoError(t, w.Append(document.Update{Set: map[string]any{"coins": 6}}))
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

// TestStore_Update_CallbackEndsItsGoroutine ends the goroutine inside a callback, as a failing test does: nothing stays locked,
// no place in the queue stays taken, and nothing of the callback is kept.
func TestStore_Update_CallbackEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{Queue: 1}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		for _, call := range []func(){
			func() {
				_, _ = s.Update(ctx, "g", func(m *savepoint.Machine[tally]) error {
					_ = m.Append(added{N: 5})
					runtime.Goexit()
					return nil
				})
			},
			func() {
				_ = db.Update(ctx, func(tx *savepoint.Tx) error {
					m, _ := s.In(tx, "g")
					_ = m.Append(added{N: 5})
					runtime.Goexit()
					return nil
				})
			},
			func() {
				_ = s.View(ctx, "g", func(*savepoint.State[tally]) error {
					runtime.Goexit()
					return nil
				})
			},
		} {
			var wg sync.WaitGroup
			wg.Add(1)
			go func() {
				defer wg.Done()
				call()
			}()
			wg.Wait()
			st, err := s.Load(ctx, "g")
			require.NoError(t, err)
			assert.EqualValues(t, 1, st.Value.Sum)
			h, err := s.Update(ctx, "g", func(*savepoint.Machine[tally]) error { return nil })
			require.NoError(t, err)
			assert.EqualValues(t, 1, h.Seq)
		}
		require.NoError(t, db.Close())
	})
}

// TestDB_Update_DependsOnWhatItRead reads one machine and writes another: when the write that was read fails, the rest is
// aborted.
func TestDB_Update_DependsOnWhatItRead(t *testing.T) {
	for _, strategy := range []savepoint.Strategy{savepoint.Hybrid, savepoint.SnapshotOnly} {
		bubble(t, func(t *testing.T, ctx context.Context) {
			f := newFaulty()
			db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", strategy, savepoint.SnapshotPolicy{Events: -1, Every: -1, NoClose: true}))
			defer db.Close()
			for _, id := range []string{"a", "b"} {
				_, err := s.Append(ctx, id, added{N: 1})
				require.NoError(t, err)
			}
			read := func(tx *savepoint.Tx, id string) int64 {
				m, err := s.In(tx, id)
				require.NoError(t, err)
				return m.State().Sum
			}
			gate := make(chan struct{})
			f.set(func() {
				f.gate = gate
				f.refuse = func(n, i int, st engine.Step) error {
					if n >= 2 && i == 0 && n < 4 {
						return errDisk
					}
					return nil
				}
			})
			a := s.GoUpdate(ctx, "a", func(m *savepoint.Machine[tally]) error { return m.Append(added{N: 10}) })
			errs := make(chan error, 2)
			go func() {
				errs <- db.Update(ctx, func(tx *savepoint.Tx) error {
					n := read(tx, "a")
					m, err := s.In(tx, "b")
					require.NoError(t, err)
					return m.Append(added{N: n})
				})
			}()
			synctest.Wait()
			go func() {
				errs <- db.Update(ctx, func(tx *savepoint.Tx) error { read(tx, "a"); return nil })
			}()
			synctest.Wait()
			close(gate)
			require.Error(t, a.Err())
			require.Error(t, <-errs)
			require.Error(t, <-errs)
			st, err := s.Load(ctx, "b")
			require.NoError(t, err)
			assert.EqualValues(t, 1, st.Value.Sum, "nothing is stored that depends on a write that was not")
		})
	}
}

// TestDB_Update_SameMachineTwice takes a machine a second time in a Tx: its IfSeq is compared then, too.
func TestDB_Update_SameMachineTwice(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		err := db.Update(ctx, func(tx *savepoint.Tx) error {
			if _, err := s.In(tx, "a"); err != nil {
				return err
			}
			m, err := s.In(tx, "a", savepoint.IfSeq(7))
			if err != nil {
				return err
			}
			return m.Append(added{N: 1})
		})
		require.ErrorIs(t, err, savepoint.ErrConflict)
	})
}

// TestStore_Update_WithoutEvents_ReturnsItsOwnHead appends nothing after an Update over several machines: it waits for that
// one, and returns the head of its own machine.
func TestStore_Update_WithoutEvents_ReturnsItsOwnHead(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		gate := make(chan struct{})
		f.set(func() { f.gate = gate })
		across := make(chan error, 1)
		go func() {
			across <- db.Update(ctx, func(tx *savepoint.Tx) error {
				m, err := s.In(tx, "a")
				if err != nil {
					return err
				}
				return m.Append(added{N: 1})
			})
		}()
		synctest.Wait()
		a := s.GoUpdate(ctx, "a", func(*savepoint.Machine[tally]) error { return nil })
		close(gate)
		h, err := a.Wait(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 1, h.Seq)
		assert.Equal(t, "a", h.ID)
		require.NoError(t, <-across)
	})
}

// TestStore_Update_DeletedMachine_StartsFromNew updates a deleted machine: the callback sees the state of New.
func TestStore_Update_DeletedMachine_StartsFromNew(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 5})
		require.NoError(t, err)
		_, err = s.Delete(ctx, "g")
		require.NoError(t, err)
		_, err = s.Update(ctx, "g", func(m *savepoint.Machine[tally]) error {
			assert.Zero(t, m.State().Sum, "a write to a deleted machine starts from New")
			return nil
		})
		require.NoError(t, err)
		_, err = s.Update(ctx, "g", func(m *savepoint.Machine[tally]) error {
			assert.Zero(t, m.State().Sum)
			if err := m.Append(added{N: 7}); err != nil {
				return err
			}
			assert.EqualValues(t, 7, m.State().Sum)
			return nil
		}, savepoint.IfSeq(0))
		require.NoError(t, err)
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.EqualValues(t, 7, st.Value.Sum)
	})
}

// TestStore_Update_RunsAgainOnlyForAnotherProcess lets another process write first: the callback runs again on the fresh state,
// three times at most, and after no other error.
func TestStore_Update_RunsAgainOnlyForAnotherProcess(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		k := tallyKind("tally", savepoint.Hybrid, noPolicy)
		f := newFaulty()
		f.stays = true
		db, s := openFaulty(t, f, savepoint.Options{}, k)
		other, so := openFaulty(t, &faulty{Engine: f.Engine, stays: true}, savepoint.Options{Cache: savepoint.CacheOptions{Off: true}}, k)
		defer func() { require.NoError(t, errors.Join(db.Close(), other.Close())) }()
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		runs, first := 0, 0
		f.set(func() {
			f.refuse = func(int, int, engine.Step) error {
				if first > 0 {
					first--
					_, err := so.Append(ctx, "g", added{N: 100}) // the other process writes first
					return err
				}
				return nil
			}
		})
		update := func() (savepoint.Head, error) {
			runs = 0
			return s.Update(ctx, "g", func(m *savepoint.Machine[tally]) error {
				runs++
				return m.Append(added{N: m.State().Sum})
			})
		}
		first = 2
		h, err := update()
		require.NoError(t, err)
		assert.Equal(t, 3, runs)
		assert.EqualValues(t, 4, h.Seq)
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.EqualValues(t, 402, st.Value.Sum, "the last run saw the fresh state")
		first = 3
		_, err = update()
		require.ErrorIs(t, err, savepoint.ErrConflict)
		assert.Equal(t, 3, runs)
		f.set(func() { f.refuse = func(int, int, engine.Step) error { return errDisk } })
		_, err = update()
		require.ErrorIs(t, err, errDisk)
		assert.Equal(t, 1, runs)
		f.set(func() { f.refuse = nil })
		_, err = update()
		require.NoError(t, err)
		assert.Equal(t, 1, runs)
		rep, err := s.Verify(ctx, "g")
		require.NoError(t, err)
		assert.True(t, rep.OK())
	})
}

// TestMachine_With_NamesTheActorOfEachEvent changes actor and tags between the events of one Update; a key belongs to all of it.
func TestMachine_With_NamesTheActorOfEachEvent(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		h, err := s.Update(ctx, "g", func(m *savepoint.Machine[table]) error {
			require.NoError(t, m.Append(&noted{Text: "first"}))
			require.NoError(t, m.With(savepoint.By("system/clock"), savepoint.Tag("tick")))
			require.NoError(t, m.Append(&noted{Text: "second"}))
			return errors.Join(m.With(savepoint.By("bob")), m.Append(&noted{Text: "third"}))
		}, savepoint.By("ann"), savepoint.Tag("all"), savepoint.Key("k"))
		require.NoError(t, err)
		assert.EqualValues(t, 3, h.Seq)
		var got []string
		for rec, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
			require.NoError(t, err)
			got = append(got, fmt.Sprint(rec.Actor, " ", rec.Origin, " ", rec.Tags, " ", rec.Key))
		}
		assert.Equal(t, []string{"ann user [all] k", "system/clock system [tick] k", "bob user [] k"}, got)
		assert.Equal(t, "third by bob", load(t, s, "g").Value.Note)
		for name, condition := range map[string]savepoint.WriteOption{"Key": savepoint.Key("another"), "IfSeq": savepoint.IfSeq(3), "NoWait": savepoint.NoWait()} {
			_, err = s.Update(ctx, "g", func(m *savepoint.Machine[table]) error {
				_ = m.With(condition)
				return nil
			})
			require.ErrorIs(t, err, savepoint.ErrUnsupported, name)
		}
	})
}

// TestDB_Update_BesideAppends runs Updates over several machines beside appends: each gets its own result, also where the memory
// of its step is used again, which the race detector checks.
func TestDB_Update_BesideAppends(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s, err := savepoint.Register(db, ledgerKind(-1))
	require.NoError(t, err)
	const n = 300
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range n {
				_, err := s.Append(t.Context(), fmt.Sprint("alone", w), entry(i))
				assert.NoError(t, err)
			}
		})
		all.Go(func() {
			for i := range n {
				assert.NoError(t, db.Update(t.Context(), func(tx *savepoint.Tx) error {
					for _, id := range []string{"a", "b"} {
						m, err := s.In(tx, id)
						if err != nil {
							return err
						}
						if err := m.Append(entry(i)); err != nil {
							return err
						}
					}
					return nil
				}))
			}
		})
	}
	all.Wait()
	for id, want := range map[string]uint64{"a": 4 * n, "b": 4 * n, "alone0": n, "alone3": n} {
		st, err := s.Load(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, want, st.Seq)
	}
}
