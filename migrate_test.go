package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// TestMigration_OnLoad loads a state of version 1 with a kind of version 2: it comes upcast, numbers, times and maps with int
// keys as they were, and reading stores nothing.
// row F1, F7
func TestMigration_OnLoad(t *testing.T) {
	onEachPlace(t, func(t *testing.T, place place) {
		var before savepoint.State[duelV1]
		use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) {
			playV1(t, s, "d", 3)
			var err error
			before, err = s.Load(t.Context(), "d")
			require.NoError(t, err)
		})
		for _, readOnly := range []bool{false, true, false} { // reading stores nothing
			useWith(t, place, savepoint.Options{ReadOnly: readOnly}, duelKind(0), func(s *savepoint.Store[duel]) {
				st, err := s.Load(t.Context(), "d")
				require.NoError(t, err)
				want, err := duelUp(before.Value)
				require.NoError(t, err)
				assert.Equal(t, want, st.Value, "numbers, times and maps with int keys are as they were")
				assert.True(t, st.Upcast)
				assert.Equal(t, savepoint.V(1, 0, 0), st.Version)
				assert.Equal(t, "playing", st.Phase)
				assert.EqualValues(t, 4, st.Seq)
				require.NoError(t, s.View(t.Context(), "d", func(v *savepoint.State[duel]) error {
					assert.Equal(t, st, *v)
					return nil
				}))
			})
		}
	})
}

// TestMigration_EachPromise checks each promise of migrations on each place and strategy: IfSeq is compared before the
// migration's record is added, a refused write does not store it, the first write does, replay to later points never
// crosses it, and earlier points are upcast from old snapshots and events.
// row F7
func TestMigration_EachPromise(t *testing.T) {
	for _, strategy := range []savepoint.Strategy{savepoint.Hybrid, savepoint.EventSourced, savepoint.Versioned} {
		t.Run(strategy.String(), func(t *testing.T) {
			onEachPlace(t, func(t *testing.T, place place) { eachPromise(t, place, strategy) })
		})
	}
}

// eachPromise is TestMigration_EachPromise for one place and strategy.
func eachPromise(t *testing.T, place place, strategy savepoint.Strategy) {
	ctx := t.Context()
	k1, k2 := duelKindV1(strategy), duelKind(strategy)
	k1.Snapshot.Events, k1.Snapshot.Keep, k2.Snapshot.Keep = 2, 1, 1
	use(t, place, k1, func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
	var upcast, last savepoint.State[duel]
	use(t, place, k2, func(s *savepoint.Store[duel]) {
		upcast = at(t, s, 4)

		// IfSeq is compared before the record of the migration is added.
		_, err := s.Append(ctx, "d", laid{1, "8", "S"}, savepoint.IfSeq(5))
		var c *savepoint.ConflictError
		require.ErrorAs(t, err, &c)
		assert.EqualValues(t, 4, c.Have)

		// A refused write stores nothing, not even the migration.
		_, err = s.Append(ctx, "d", laid{0, "9", "H"})
		require.ErrorIs(t, err, errNotYourTurn)
		_, err = s.Append(ctx, "d", laid{1, "A", "S"})
		require.ErrorContains(t, err, "has no AS")
		assert.Len(t, records(t, s, "d"), 4)

		// The first write stores the migration.
		h, err := s.Append(ctx, "d", laid{1, "8", "S"}, savepoint.IfSeq(4), savepoint.Key("k"), savepoint.By("bob"))
		require.NoError(t, err)
		assert.EqualValues(t, 6, h.Seq)
		assert.False(t, h.Upcast)
		again, err := s.Append(ctx, "d", laid{1, "8", "S"}, savepoint.IfSeq(4), savepoint.Key("k"))
		require.NoError(t, err)
		assert.Equal(t, h.Seq, again.Seq)
		_, err = s.Append(ctx, "d", laid{0, "9", "H"})
		require.NoError(t, err)

		all := records(t, s, "d")
		require.Len(t, all, 7)
		m := all[4]
		assert.Equal(t, "migrated", m.Reason)
		assert.Equal(t, "turn", m.From)
		assert.Equal(t, "playing", m.To)
		assert.Equal(t, savepoint.V(2, 0, 0), m.Version)
		assert.Equal(t, savepoint.OriginSystem, m.Origin)
		assert.Empty(t, m.Key)
		assert.Equal(t, upcast.Value, m.Event.(*savepoint.Replaced[duel]).State)

		// Old events are returned as the kind has them now.
		assert.Equal(t, laid{0, "7", "H"}, all[0].Event)
		assert.Equal(t, "laid", all[0].Name)
		assert.True(t, all[0].Upcast)
		assert.IsType(t, &savepoint.Unchanged[duel]{}, all[2].Event)
		assert.Equal(t, "noted", all[2].Name, "dropped, under the name it had")
		assert.False(t, all[5].Upcast)
		last, err = s.Load(ctx, "d")
		require.NoError(t, err)
	})

	// Replay to later points never crosses the migration: the old states and events may be unreadable.
	broken := k2
	broken.Migrations = duelMigrations()
	for i := range broken.Migrations {
		if broken.Migrations[i].Up != nil {
			broken.Migrations[i].Up = func(savepoint.Doc) (savepoint.Doc, error) { panic("no replay gets here") }
		}
	}
	use(t, place, broken, func(s *savepoint.Store[duel]) {
		for i := range 2 {
			st, err := s.Load(ctx, "d")
			require.NoError(t, err)
			assert.Equal(t, last.Value, st.Value)
			at(t, s, 5)
			assert.Equal(t, last.Value, at(t, s, 7).Value)
			_, err = s.At(ctx, "d", savepoint.AtSeq(4))
			var me *savepoint.MigrationError
			require.ErrorAs(t, err, &me)
			assert.Equal(t, "d", me.ID)
			assert.Empty(t, s.DB().Quarantined())
			if i == 0 { // in the second round the snapshots are gone, too
				var drop []uint64
				for info, err := range s.Snapshots(ctx, "d", savepoint.SnapshotRange{}) {
					require.NoError(t, err)
					if !info.Base {
						drop = append(drop, info.Seq)
					}
				}
				for _, seq := range drop {
					_, err = s.DeleteSnapshot(ctx, "d", seq)
					require.NoError(t, err)
				}
			}
		}
	})

	// Earlier points are upcast from old snapshots and events, and marked.
	use(t, place, k2, func(s *savepoint.Store[duel]) {
		st := at(t, s, 4)
		assert.True(t, st.Upcast)
		assert.Equal(t, upcast.Value, st.Value)
		assert.Equal(t, upcast.Phase, st.Phase)
		assert.Equal(t, 7, at(t, s, 1).Value.Left)
		zero := at(t, s, 0)
		assert.True(t, zero.Upcast)
		assert.False(t, at(t, s, 5).Upcast)
		rep, err := s.Verify(ctx, "d")
		require.NoError(t, err)
		assert.True(t, rep.OK(), "%v", rep.Divergences)
		assert.Equal(t, 4, rep.Upcast)
		assert.Equal(t, 7, rep.Events)
	})
}

// TestMigration_InItsOwnStep checks the steps that the engine gets: the migration of each machine is one of its own before
// the write's, also for an Update over several machines.
func TestMigration_InItsOwnStep(t *testing.T) {
	e := &lasting{Engine: memory.New()}
	place := place(func(o savepoint.Options) (string, *savepoint.Options) { o.Engine = e; return "kept", &o })
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3); playV1(t, s, "e", 3) })
	use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
		ctx := t.Context()
		e.steps = nil
		_, err := s.Update(ctx, "d", func(m *savepoint.Machine[duel]) error {
			assert.True(t, m.Head().Upcast)
			assert.Equal(t, "playing", m.Head().Phase)
			return m.Append(laid{1, "8", "S"}, laid{0, "9", "H"})
		})
		require.NoError(t, err)
		require.Len(t, e.steps, 2)
		first, rest := e.steps[0].Writes[0], e.steps[1].Writes[0]
		assert.Equal(t, []int{4, 5, 1, 1}, []int{int(first.Expect), int(first.Seq), len(first.Events), len(first.Snapshots)})
		assert.Equal(t, []int{5, 7, 2, 0}, []int{int(rest.Expect), int(rest.Seq), len(rest.Events), len(rest.Snapshots)})

		e.steps = nil
		require.NoError(t, s.DB().Update(ctx, func(tx *savepoint.Tx) error {
			for _, id := range []string{"d", "e", "f"} {
				m, err := s.In(tx, id)
				if err != nil {
					return err
				}
				card := map[string]laid{"d": {1, "9", "S"}, "e": {1, "8", "S"}, "f": {0, "7", "H"}}[id]
				if err := m.Append(card); err != nil {
					return err
				}
			}
			return nil
		}))
		require.Len(t, e.steps, 2)
		assert.Len(t, e.steps[0].Writes, 1)
		assert.Len(t, e.steps[1].Writes, 3)
		st, err := s.Load(ctx, "e")
		require.NoError(t, err)
		assert.EqualValues(t, 6, st.Seq)
	})
}

// TestMigration_EveryWriteStoresItFirst lets each kind of write be the first one after a migration: the migrated state is stored
// before it, and the state from before is kept.
func TestMigration_EveryWriteStoresItFirst(t *testing.T) {
	writes := map[string]func(ctx context.Context, s *savepoint.Store[duel]) error{
		"append": func(ctx context.Context, s *savepoint.Store[duel]) error {
			_, err := s.Append(ctx, "d", laid{1, "8", "S"})
			return err
		},
		"go": func(ctx context.Context, s *savepoint.Store[duel]) error {
			return s.Go(ctx, "d", laid{1, "8", "S"}).Err()
		},
		"save": func(ctx context.Context, s *savepoint.Store[duel]) error {
			_, err := s.Save(ctx, "d", duel{Phase: "over"})
			return err
		},
		"delete":   func(ctx context.Context, s *savepoint.Store[duel]) error { _, err := s.Delete(ctx, "d"); return err },
		"snapshot": func(ctx context.Context, s *savepoint.Store[duel]) error { _, err := s.Snapshot(ctx, "d"); return err },
		"mark": func(ctx context.Context, s *savepoint.Store[duel]) error {
			_, err := s.Mark(ctx, "d", 2, errors.New("no"))
			return err
		},
	}
	for _, strategy := range strategies {
		for name, write := range writes {
			t.Run(strategy.String()+" "+name, func(t *testing.T) {
				place := somewhere(t)
				ctx := t.Context()
				use(t, place, duelKindV1(strategy), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
				use(t, place, duelKind(strategy), func(s *savepoint.Store[duel]) {
					require.NoError(t, write(ctx, s))
					st, err := s.At(ctx, "d", savepoint.AtSeq(5))
					require.NoError(t, err)
					assert.False(t, st.Upcast)
					assert.Equal(t, 4, st.Value.Pot)
					assert.True(t, at(t, s, 4).Upcast, "the snapshot from before, or the records, are kept")
				})
				use(t, place, duelKind(strategy), func(s *savepoint.Store[duel]) {
					for info, err := range s.Snapshots(ctx, "d", savepoint.SnapshotRange{}) {
						require.NoError(t, err)
						assert.Equal(t, info.Seq >= 5, info.Version == savepoint.V(2, 0, 0), "snapshot %d", info.Seq)
					}
					_, err := s.Load(ctx, "d")
					if name == "delete" {
						require.ErrorIs(t, err, savepoint.ErrDeleted)
						return
					}
					require.NoError(t, err)
				})
			})
		}
	}
}

// TestMigration_SnapshotFromBeforeIsKept prunes as hard as it can: the snapshot from before the migration stays.
func TestMigration_SnapshotFromBeforeIsKept(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	k1, k2 := duelKindV1(savepoint.SnapshotOnly), duelKind(savepoint.SnapshotOnly)
	k1.Snapshot.Keep, k2.Snapshot.Keep, k2.Snapshot.MaxAge = 2, 2, time.Nanosecond
	use(t, place, k1, func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
	use(t, place, k2, func(s *savepoint.Store[duel]) {
		for i := range 6 {
			_, err := s.Save(ctx, "d", duel{Phase: "playing", Pot: i})
			require.NoError(t, err)
		}
		var seqs []uint64
		for info, err := range s.Snapshots(ctx, "d", savepoint.SnapshotRange{}) {
			require.NoError(t, err)
			seqs = append(seqs, info.Seq)
		}
		assert.Equal(t, []uint64{4, 11}, seqs)
		assert.True(t, at(t, s, 4).Upcast)
	})
}

// TestMigration_FailedWrite lets the step of a migration fail: the machine stays at the old version, and the next writes store
// the migration once.
func TestMigration_FailedWrite(t *testing.T) {
	e := &lasting{Engine: memory.New()}
	place := place(func(o savepoint.Options) (string, *savepoint.Options) { o.Engine = e; return "kept", &o })
	ctx := t.Context()
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
	use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
		e.fail = fmt.Errorf("%w: no space", engine.ErrNothingStored)
		_, err := s.Append(ctx, "d", laid{1, "8", "S"})
		require.ErrorContains(t, err, "no space")
		st, err := s.Load(ctx, "d")
		require.NoError(t, err)
		assert.True(t, st.Upcast)
		assert.EqualValues(t, 4, st.Seq)
		var acks []*savepoint.Ack
		for _, card := range []laid{{1, "8", "S"}, {0, "9", "H"}, {1, "9", "S"}} {
			acks = append(acks, s.Go(ctx, "d", card))
		}
		for i, a := range acks {
			h, err := a.Wait(ctx)
			require.NoError(t, err)
			assert.EqualValues(t, 6+i, h.Seq, "the migration is stored once")
		}
	})
}

// TestMigration_RecoverBeforeAnyWrite recovers a machine that has not been migrated yet: the restored state is of the new
// version, so no migration is stored besides.
func TestMigration_RecoverBeforeAnyWrite(t *testing.T) {
	onEachPlace(t, func(t *testing.T, place place) {
		ctx := t.Context()
		use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
		use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
			rep, err := s.Recover(ctx, "d", savepoint.RecoverOptions{To: savepoint.AtSeq(2)})
			require.NoError(t, err)
			assert.EqualValues(t, 5, rep.Restored)
			_, err = s.Append(ctx, "d", laid{0, "8", "H"})
			require.NoError(t, err)
		})
		use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
			st, err := s.Load(ctx, "d")
			require.NoError(t, err)
			assert.False(t, st.Upcast)
			assert.EqualValues(t, 6, st.Seq, "the restored record has the whole state, so no record of a migration is needed")
			assert.Equal(t, 5, st.Value.Left)
			rep, err := s.Verify(ctx, "d")
			require.NoError(t, err)
			assert.True(t, rep.OK(), "%v", rep.Divergences)
		})
	})
}

// TestMigration_ReadingAndClosingStoreNothing registers, reads and closes with a kind of a newer version: nothing is written,
// and no records are read in search of renamed or dropped events.
func TestMigration_ReadingAndClosingStoreNothing(t *testing.T) {
	e := &lasting{Engine: memory.New()}
	place := place(func(o savepoint.Options) (string, *savepoint.Options) { o.Engine = e; return "kept", &o })
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
	e.steps = nil
	e.events.Store(0)
	k := duelKind(0)
	k.Snapshot.NoClose = false // Close takes a snapshot of each machine that has records after its newest one
	use(t, place, k, func(s *savepoint.Store[duel]) {
		assert.Zero(t, e.events.Load(), "no records are read in search of renamed or dropped events")
		_, err := s.Load(t.Context(), "d")
		require.NoError(t, err)
	})
	assert.Empty(t, e.steps)
}

// TestMigration_DeletedMachineStartsFromNew appends to a machine that was deleted in version 1: it starts from New in version 2.
func TestMigration_DeletedMachineStartsFromNew(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) {
		playV1(t, s, "d", 3)
		_, err := s.Delete(ctx, "d")
		require.NoError(t, err)
	})
	use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
		_, err := s.Append(ctx, "d", laid{0, "7", "H"})
		require.NoError(t, err)
		all := records(t, s, "d")
		assert.Equal(t, "created", all[5].Reason)
		assert.Len(t, all, 7)
	})
}

// TestMigration_FailsOrPanics lets each function of a migration fail and panic: the error is a MigrationError with the
// machine and the versions, nothing is quarantined, nothing changes, and a corrected program loads the machine.
func TestMigration_FailsOrPanics(t *testing.T) {
	bad := map[string]func(k *savepoint.Kind[duel]){
		"fails": func(k *savepoint.Kind[duel]) {
			k.Migrations[0].Up = func(savepoint.Doc) (savepoint.Doc, error) { return nil, errors.New("no pot") }
		},
		"panics": func(k *savepoint.Kind[duel]) {
			k.Migrations[0].Up = func(d savepoint.Doc) (savepoint.Doc, error) { delete(d, "Hands"); panic("no pot") }
		},
		"nil": func(k *savepoint.Kind[duel]) {
			k.Migrations[0].Up = func(savepoint.Doc) (savepoint.Doc, error) { return nil, nil }
		},
		"event": func(k *savepoint.Kind[duel]) {
			k.Migrations[1].Up = func(savepoint.Doc) (savepoint.Doc, error) { return nil, errors.New("no pot") }
		},
		"apply": func(k *savepoint.Kind[duel]) {
			k.Migrations[1].Up = func(savepoint.Doc) (savepoint.Doc, error) { return savepoint.Doc{"Rank": "A"}, nil }
		},
		"invalid": func(k *savepoint.Kind[duel]) {
			k.Validate = func(*duel) error { return errors.New("no pot") }
		},
		"narrow": func(k *savepoint.Kind[duel]) {
			k.Migrations[0].Up = savepoint.StructMigration(func(o struct{ Phase string }) (duel, error) { return duel{}, nil })
		},
	}
	for name, change := range bad {
		t.Run(name, func(t *testing.T) {
			place := somewhere(t)
			ctx := t.Context()
			use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
			k := duelKind(0)
			change(&k)
			use(t, place, k, func(s *savepoint.Store[duel]) {
				for range 2 {
					for _, try := range []func() error{
						func() error { _, err := s.Load(ctx, "d"); return err },
						func() error { _, err := s.Append(ctx, "d", laid{1, "8", "S"}); return err },
						func() error { _, err := s.Recover(ctx, "d", savepoint.RecoverOptions{Partial: true}); return err },
					} {
						err := try()
						var me *savepoint.MigrationError
						require.ErrorAs(t, err, &me)
						assert.Equal(t, []any{"duel", "d", savepoint.V(1, 0, 0), savepoint.V(2, 0, 0)}, []any{me.Kind, me.ID, me.From, me.To})
						assert.ErrorContains(t, err, `migrate duel "d"`)
						assert.ErrorContains(t, err, "from version 1.0.0 to 2.0.0")
						assert.NotErrorIs(t, err, savepoint.ErrCorrupt)
					}
				}
				assert.Empty(t, s.DB().Quarantined())
				for h, err := range s.List(ctx, savepoint.ListOptions{}) {
					require.NoError(t, err)
					assert.EqualValues(t, 4, h.Seq, "nothing changed")
				}
			})
			use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
				st, err := s.Load(ctx, "d")
				require.NoError(t, err)
				assert.Equal(t, 4, st.Value.Pot)
			})
		})
	}
}

// TestMigration_ClockJumpsBack sets the clock a year back around a migration: the newest state, AtTime and the state from
// before are right.
func TestMigration_ClockJumpsBack(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	c := newClock()
	o := savepoint.Options{Now: c.Now}
	useWith(t, place, o, duelKindV1(0), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
	c.turn(-365 * 24 * time.Hour)
	useWith(t, place, o, duelKind(0), func(s *savepoint.Store[duel]) {
		_, err := s.Append(ctx, "d", laid{1, "8", "S"})
		require.NoError(t, err)
		c.turn(-time.Hour)
		_, err = s.Append(ctx, "d", laid{0, "9", "H"})
		require.NoError(t, err)
	})
	useWith(t, place, o, duelKind(0), func(s *savepoint.Store[duel]) {
		st, err := s.Load(ctx, "d")
		require.NoError(t, err)
		assert.Equal(t, 3, st.Value.Left)
		back, err := s.At(ctx, "d", savepoint.AtTime(c.Now().Add(time.Minute)))
		require.NoError(t, err)
		assert.EqualValues(t, 7, back.Seq)
		assert.True(t, at(t, s, 4).Upcast)
	})
}

// TestMigration_SameMajorNeedsNone raises the minor version: states are read as they are, and a migration may start at the new
// version.
// row F13
func TestMigration_SameMajorNeedsNone(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
	k := duelKindV1(0)
	k.Version = savepoint.V(1, 3, 0)
	use(t, place, k, func(s *savepoint.Store[duelV1]) {
		st, err := s.Load(ctx, "d")
		require.NoError(t, err)
		assert.False(t, st.Upcast, "within a major version nothing is newly required")
		h, err := s.Append(ctx, "d", playedV1{1, "8S"})
		require.NoError(t, err)
		assert.EqualValues(t, 5, h.Seq)
	})
	k2 := duelKind(0) // a state of 1.0.0 is readable as 1.3.0, so the path may start there
	for i := range k2.Migrations {
		k2.Migrations[i].From = savepoint.V(1, 3, 0)
	}
	use(t, place, k2, func(s *savepoint.Store[duel]) {
		st, err := s.Load(ctx, "d")
		require.NoError(t, err)
		assert.Equal(t, 4, st.Value.Left)
		assert.Equal(t, 4, st.Value.Pot)
	})
}

// TestMigration_NoPath registers kinds whose migrations do not lead from what is stored to the kind's version, or that are
// older than what is stored: Register refuses, and later only the history without a path is unreadable.
// row F13, F19
func TestMigration_NoPath(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) { playV1(t, s, "d", 3) })
	register := func(change func(*savepoint.Kind[duel])) error {
		k := duelKind(0)
		change(&k)
		path, o := place(savepoint.Options{})
		db, err := savepoint.Open(path, o)
		require.NoError(t, err)
		defer db.Close()
		_, err = savepoint.Register(db, k)
		return err
	}
	err := register(func(k *savepoint.Kind[duel]) { k.Migrations = nil })
	var ke *savepoint.KindError
	require.ErrorAs(t, err, &ke)
	assert.ErrorContains(t, err, "version 1.0.0")
	err = register(func(k *savepoint.Kind[duel]) { k.Migrations = k.Migrations[:2] })
	require.ErrorAs(t, err, &ke, "the event noted would be lost")
	assert.ErrorContains(t, err, `1 records of event "noted"`)
	require.NoError(t, register(func(*savepoint.Kind[duel]) {}))
	err = register(func(k *savepoint.Kind[duel]) { k.Version, k.Migrations = savepoint.V(1, 9, 0), nil })
	require.ErrorIs(t, err, savepoint.ErrNewer, "version 2.0.0 has been registered")

	use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
		_, err := s.Append(ctx, "d", laid{1, "8", "S"})
		require.NoError(t, err)
	})
	k3 := duelKind(0) // without the old migrations the newest states are readable, the history is not
	k3.Version, k3.Migrations = savepoint.V(2, 1, 0), nil
	k3.Events["played"], k3.Events["noted"] = moved2{}, &moved3{}
	use(t, place, k3, func(s *savepoint.Store[duel]) {
		_, err := s.Load(ctx, "d")
		require.NoError(t, err)
		_, err = s.At(ctx, "d", savepoint.AtSeq(3))
		require.ErrorIs(t, err, savepoint.ErrNoMigration)
		assert.NotErrorIs(t, err, savepoint.ErrCorrupt)
	})
}

// moved2 and moved3 replace events that the new kind would otherwise lose.
type moved2 struct{}

func (moved2) Apply(*duel, savepoint.Meta) error { return nil }

type moved3 struct{}

func (*moved3) Apply(*duel, savepoint.Meta) error { return nil }

// TestMigration_Check runs CheckMigration over sound migrations and over ones that lose data, panic, are not deterministic or
// lead nowhere.
// row F6
func TestMigration_Check(t *testing.T) {
	full := savepoint.Doc{"Phase": "turn", "Turn": 1, "Hands": map[int64]any{0: []any{"7H"}, 1: []any{}}, "Opened": time.Unix(1e9, 5000).UTC(), "Stake": 1.5, "Big": uint64(1 << 63), "Mark": []byte{1}}
	list := duelMigrations()
	require.NoError(t, savepoint.CheckMigration(list[0], full))
	require.NoError(t, savepoint.CheckMigration(list[2], nil))
	require.NoError(t, savepoint.CheckMigration(list[1], savepoint.Doc{"Seat": 1, "Card": "7H"}))
	assert.Equal(t, 1, full["Turn"], "the document stays as it is")

	m := list[0]
	m.Down = func(d savepoint.Doc) (savepoint.Doc, error) { return d, nil }
	require.ErrorContains(t, savepoint.CheckMigration(m, full), "Up and then Down return another document: Left")
	m.Down = func(savepoint.Doc) (savepoint.Doc, error) { panic("down") }
	require.ErrorContains(t, savepoint.CheckMigration(m, full), "panic in Down")
	n := 0
	m.Up = func(d savepoint.Doc) (savepoint.Doc, error) { n++; d["n"] = n; return d, nil }
	require.ErrorContains(t, savepoint.CheckMigration(m, full), "not deterministic: n: 1 != 2")
	m.To = m.From
	require.ErrorContains(t, savepoint.CheckMigration(m, full), "it leads nowhere")
}

// TestVersion_Compare compares versions: equal ones are equal, whenever they were made.
// row A8
func TestVersion_Compare(t *testing.T) {
	a, b := savepoint.V(1, 2, 3), savepoint.V(1, 10, 0)
	assert.Equal(t, a, savepoint.V(1, 2, 3), "equal versions are equal, whenever they were made")
	assert.Negative(t, a.Compare(b))
	assert.Positive(t, savepoint.V(2, 0, 0).Compare(b))
	assert.Zero(t, a.Compare(savepoint.V(1, 2, 3)))
	assert.Equal(t, "1.10.0", b.String())
	assert.Len(t, map[savepoint.Version]int{a: 1, savepoint.V(1, 2, 3): 2, b: 3}, 2)
}

// TestMigration_RegisterReportsAll registers kinds with wrong lists of migrations: a KindError names every problem, of each
// migration and of the chain as a whole.
// row F1, F3, F9
func TestMigration_RegisterReportsAll(t *testing.T) {
	v, up := savepoint.V, func(d savepoint.Doc) (savepoint.Doc, error) { return d, nil }
	cases := map[string]struct {
		list []savepoint.Migration
		want []string
	}{
		"twice":      {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Up: up}, {From: v(1, 0, 0), To: v(2, 0, 0), Up: up}}, []string{"migration 1.0.0 to 2.0.0 is there twice"}},
		"event":      {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "played", Drop: true}, {From: v(1, 0, 0), To: v(2, 0, 0), Event: "played", Up: up}}, []string{`of event "played" is there twice`}},
		"gap":        {[]savepoint.Migration{{From: v(0, 1, 0), To: v(1, 0, 0), Up: up}}, []string{"there is a gap: migration 0.1.0 to 1.0.0 ends at 1.0.0, and none leads from there to 2.0.0"}},
		"circle":     {[]savepoint.Migration{{From: v(1, 0, 0), To: v(1, 1, 0), Up: up}, {From: v(1, 1, 0), To: v(2, 0, 0), Up: up}, {From: v(2, 0, 0), To: v(1, 0, 0), Up: up}}, []string{"migrations go in a circle: 1.0.0 to 1.1.0 to 2.0.0, back by 2.0.0 to 1.0.0"}},
		"back":       {[]savepoint.Migration{{From: v(2, 0, 0), To: v(1, 0, 0), Up: up}}, []string{"leads to an older version: give the way back as Down"}},
		"beyond":     {[]savepoint.Migration{{From: v(2, 0, 0), To: v(3, 0, 0), Up: up}}, []string{"leads beyond the kind's version 2.0.0"}},
		"nowhere":    {[]savepoint.Migration{{From: v(2, 0, 0), To: v(2, 0, 0), Up: up}, {To: v(2, 0, 0), Up: up}}, []string{"it leads nowhere", "it has no From or no To"}},
		"no up":      {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0)}}, []string{"it has no Up"}},
		"state":      {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Up: up, Rename: "x"}}, []string{"Rename and Drop are of an event"}},
		"library":    {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "_x", Up: up}, {From: v(1, 0, 0), To: v(2, 0, 0), Event: "x", Rename: "_x"}}, []string{"names that begin with _ are the library's"}},
		"down":       {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "x", Down: up}}, []string{"an event has no way down"}},
		"drop":       {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "x", Drop: true, Rename: "y"}}, []string{"no Up and no Rename"}},
		"itself":     {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "x", Rename: "x"}}, []string{"renamed to itself"}},
		"nothing":    {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "x"}}, []string{"it changes nothing"}},
		"not listed": {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "played", Rename: "lain"}}, []string{`in 2.0.0 it is "lain", an event that the kind does not list`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := duelKind(0)
			k.Migrations = c.list
			_, err := savepoint.Register(open(t, savepoint.Memory, nil), k)
			var ke *savepoint.KindError
			require.ErrorAs(t, err, &ke)
			for _, want := range c.want {
				assert.Contains(t, strings.Join(ke.Problems, "\n"), want)
			}
			assert.Len(t, ke.Problems, max(len(c.want), map[string]int{"library": 2}[name]))
		})
	}
}

// TestMigration_ShortestPath takes the shortest path of migrations, and always the same one among equally short paths.
// row F2, F3
func TestMigration_ShortestPath(t *testing.T) {
	v := savepoint.V
	step := func(name string) func(savepoint.Doc) (savepoint.Doc, error) {
		return func(d savepoint.Doc) (savepoint.Doc, error) {
			way, _ := d["way"].(string)
			d["way"] = way + name
			return d, nil
		}
	}
	list := []savepoint.Migration{
		{From: v(1, 0, 0), To: v(2, 0, 0), Up: step("a")},
		{From: v(2, 0, 0), To: v(3, 0, 0), Up: step("b")},
		{From: v(3, 0, 0), To: v(4, 0, 0), Up: step("c")},
		{From: v(1, 0, 0), To: v(3, 0, 0), Up: step("d")},
		{From: v(2, 0, 0), To: v(4, 0, 0), Up: step("e")},
		{From: v(3, 2, 0), To: v(4, 0, 0), Up: step("f")},
	}
	kind := func(version savepoint.Version) savepoint.Kind[savepoint.Doc] {
		k := document.Kind("doc")
		k.Version = version
		return k
	}
	for from, want := range map[savepoint.Version]string{
		v(1, 0, 0): "ae", // it is as short as dc, and 2.0.0 is older than 3.0.0
		v(1, 5, 0): "",   // no migration starts there or later in major version 1
		v(2, 0, 0): "e",
		v(3, 0, 0): "c",
		v(3, 1, 0): "f",
		v(4, 0, 0): "",
	} {
		for range 3 {
			place := somewhere(t)
			use(t, place, kind(from), func(s *savepoint.Store[savepoint.Doc]) {
				_, err := s.Save(t.Context(), "x", savepoint.Doc{"way": ""})
				require.NoError(t, err)
			})
			k := kind(v(4, 1, 0))
			k.Migrations = list
			slices.Reverse(list)
			if from == v(1, 5, 0) {
				path, o := place(savepoint.Options{})
				_, err := savepoint.Register(open(t, path, o), k)
				require.ErrorContains(t, err, "1.5.0")
				continue
			}
			use(t, place, k, func(s *savepoint.Store[savepoint.Doc]) {
				st, err := s.Load(t.Context(), "x")
				require.NoError(t, err)
				assert.Equal(t, want, st.Value["way"], "from %s", from)
			})
		}
	}
}
