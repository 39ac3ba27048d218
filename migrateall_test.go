package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// duelsV1 plays n duels in version 1. Their ids are d-0, d-1 and so on.
func duelsV1(t *testing.T, at place, k savepoint.Kind[duelV1], n int) {
	t.Helper()
	use(t, at, k, func(s *savepoint.Store[duelV1]) {
		for i := range n {
			playV1(t, s, fmt.Sprint("d-", i), 3)
		}
	})
}

// counts returns how many machines each version has.
func counts[S any](t *testing.T, s *savepoint.Store[S]) map[savepoint.Version]int64 {
	t.Helper()
	st, err := s.MigrationStatus(t.Context())
	require.NoError(t, err)
	out := map[savepoint.Version]int64{}
	for _, v := range st.Versions {
		out[v.Version] = v.Machines
	}
	return out
}

var v1, v2 = savepoint.V(1, 0, 0), savepoint.V(2, 0, 0)

// TestMigrate_All migrates all machines of a kind, under each strategy and on each place: the status counts machines for each
// version before and after, and a second run finds nothing.
// row F8, F10, F20
func TestMigrate_All(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy.String(), func(t *testing.T) {
			onEachPlace(t, func(t *testing.T, place place) {
				ctx := t.Context()
				duelsV1(t, place, duelKindV1(strategy), 12)
				use(t, place, duelKind(strategy), func(s *savepoint.Store[duel]) {
					_, err := s.Delete(ctx, "d-0") // Delete is a write, so it stores the migration
					require.NoError(t, err)
					_, err = s.Append(ctx, "new", laid{0, "7", "H"})
					require.NoError(t, err)
					assert.Equal(t, map[savepoint.Version]int64{v1: 11, v2: 2}, counts(t, s))
					st, err := s.MigrationStatus(ctx)
					require.NoError(t, err)
					assert.False(t, st.Done())
					assert.Equal(t, savepoint.VersionStatus{Version: v1, Machines: 11, Path: []savepoint.Version{v1, v2}, Back: true}, st.Versions[0])

					rep, err := s.Migrate(ctx, savepoint.MigrateOptions{Workers: 3})
					require.NoError(t, err)
					assert.Equal(t, []int{11, 11, 0}, []int{rep.Machines, rep.Migrated, len(rep.Failed)})
					assert.Equal(t, map[savepoint.Version]int64{v2: 13}, counts(t, s))
					again, err := s.Migrate(ctx, savepoint.MigrateOptions{})
					require.NoError(t, err)
					assert.Zero(t, again.Machines)
				})
				use(t, place, duelKind(strategy), func(s *savepoint.Store[duel]) {
					assert.Equal(t, map[savepoint.Version]int64{v2: 13}, counts(t, s))
					st, err := s.Load(ctx, "d-1")
					require.NoError(t, err)
					assert.False(t, st.Upcast)
					assert.EqualValues(t, 5, st.Seq)
					assert.Equal(t, 5, st.Value.Left)
					before, err := s.At(ctx, "d-1", savepoint.AtSeq(4))
					require.NoError(t, err, "the state from before the migration is kept")
					assert.True(t, before.Upcast)
					_, err = s.Load(ctx, "d-0")
					require.ErrorIs(t, err, savepoint.ErrDeleted)
					rep, err := s.Verify(ctx, "d-1")
					require.NoError(t, err)
					assert.True(t, rep.OK(), "%v", rep.Divergences)
				})
			})
		})
	}
}

// TestMigrate_DeletedMachinesToo migrates deleted machines up and down.
func TestMigrate_DeletedMachinesToo(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) {
		playV1(t, s, "d", 3)
		_, err := s.Delete(ctx, "d")
		require.NoError(t, err)
	})
	use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
		rep, err := s.Migrate(ctx, savepoint.MigrateOptions{})
		require.NoError(t, err)
		assert.Equal(t, 1, rep.Migrated)
		assert.Equal(t, map[savepoint.Version]int64{v2: 1}, counts(t, s))
		_, err = s.Load(ctx, "d")
		require.ErrorIs(t, err, savepoint.ErrDeleted)
		_, err = s.Migrate(ctx, savepoint.MigrateOptions{To: v1})
		require.NoError(t, err)
		assert.Equal(t, map[savepoint.Version]int64{v1: 1}, counts(t, s))
	})
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) {
		_, err := s.Load(ctx, "d")
		require.ErrorIs(t, err, savepoint.ErrDeleted)
		_, err = s.Append(ctx, "d", playedV1{0, "7H"})
		require.NoError(t, err)
	})
}

// TestMigrate_DryRun runs the migrations on copies: it reports the differences, finds migrations that are not deterministic and
// states that do not validate, and writes nothing.
// row F4
func TestMigrate_DryRun(t *testing.T) {
	onEachPlace(t, func(t *testing.T, place place) {
		ctx := t.Context()
		k1 := duelKindV1(0)
		k1.Snapshot.Events = 2
		duelsV1(t, place, k1, 4)
		k := duelKind(0)
		up := k.Migrations[0].Up
		var n atomic.Int64
		k.Migrations[0].Up = func(d savepoint.Doc) (savepoint.Doc, error) { n.Add(1); return up(d) }
		k.Validate = func(g *duel) error {
			if g.Phase == "over" {
				return errors.New("over")
			}
			return nil
		}
		use(t, place, k, func(s *savepoint.Store[duel]) {
			before := everything(t, s)
			n.Store(0)
			rep, err := s.Migrate(ctx, savepoint.MigrateOptions{DryRun: true, Workers: 1})
			require.NoError(t, err)
			assert.GreaterOrEqual(t, n.Load(), int64(8), "the migration really runs")
			assert.Equal(t, []int{4, 4, 0, 4}, []int{rep.Machines, rep.Migrated, len(rep.Failed), len(rep.Changes)})
			c := rep.Changes[2]
			assert.Equal(t, []any{"d-2", uint64(4), v1, v2}, []any{c.ID, c.Seq, c.From, c.To})
			assert.Contains(t, c.Differences, `Phase: "turn" != "playing"`)
			assert.Contains(t, c.Differences, `Pot: (absent) != 4`)
			assert.Equal(t, before, everything(t, s), "nothing is written")
			assert.Equal(t, map[savepoint.Version]int64{v1: 4}, counts(t, s))
		})
		k.Migrations[0].Up = func(d savepoint.Doc) (savepoint.Doc, error) {
			d, err := up(d)
			d["Pot"] = n.Add(1)
			return d, err
		}
		use(t, place, k, func(s *savepoint.Store[duel]) {
			rep, err := s.Migrate(ctx, savepoint.MigrateOptions{DryRun: true})
			require.NoError(t, err)
			require.Len(t, rep.Failed, 4)
			require.ErrorContains(t, rep.Failed[0], "not deterministic")
		})
		k.Migrations[0].Up = func(d savepoint.Doc) (savepoint.Doc, error) {
			d, err := up(d)
			d["Phase"] = "over"
			return d, err
		}
		use(t, place, k, func(s *savepoint.Store[duel]) {
			before := everything(t, s)
			rep, err := s.Migrate(ctx, savepoint.MigrateOptions{DryRun: true})
			require.NoError(t, err)
			require.Len(t, rep.Failed, 4, "a dry run validates the states")
			var me *savepoint.MigrationError
			require.ErrorAs(t, rep.Failed[0], &me)
			assert.Equal(t, before, everything(t, s))
		})
	})
}

// everything returns all heads and snapshots of a store as text.
func everything(t *testing.T, s *savepoint.Store[duel]) (all []string) {
	t.Helper()
	for h, err := range s.List(t.Context(), savepoint.ListOptions{Deleted: true}) {
		require.NoError(t, err)
		all = append(all, fmt.Sprint(h))
		for info, err := range s.Snapshots(t.Context(), h.ID, savepoint.SnapshotRange{}) {
			require.NoError(t, err)
			all = append(all, fmt.Sprint(info))
		}
	}
	return all
}

// TestMigrate_OneFails migrates machines of which one cannot be migrated: it is reported, and the others are migrated.
// row F8
func TestMigrate_OneFails(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	duelsV1(t, place, duelKindV1(0), 3)
	use(t, place, duelKindV1(0), func(s *savepoint.Store[duelV1]) {
		_, err := s.Save(ctx, "bad", duelV1{Phase: "odd"})
		require.NoError(t, err)
	})
	k := duelKind(0)
	up := k.Migrations[0].Up
	k.Migrations[0].Up = func(d savepoint.Doc) (savepoint.Doc, error) {
		if d["Phase"] == "odd" {
			panic("no pot")
		}
		return up(d)
	}
	use(t, place, k, func(s *savepoint.Store[duel]) {
		for _, dry := range []bool{true, false} {
			rep, err := s.Migrate(ctx, savepoint.MigrateOptions{DryRun: dry, Workers: -1})
			require.NoError(t, err)
			assert.Equal(t, []int{4, 3, 1}, []int{rep.Machines, rep.Migrated, len(rep.Failed)})
			var me *savepoint.MigrationError
			require.ErrorAs(t, rep.Failed[0], &me)
			assert.Equal(t, "bad", me.ID)
		}
		assert.Equal(t, map[savepoint.Version]int64{v1: 1, v2: 3}, counts(t, s))
		_, err := s.Migrate(ctx, savepoint.MigrateOptions{Progress: func(int, int) { panic("progress") }})
		var pe *savepoint.PanicError
		require.ErrorAs(t, err, &pe)
		assert.Equal(t, "Progress", pe.In)
	})
}

// TestMigrate_Progress calls Progress once for each machine, in order.
// row F5
func TestMigrate_Progress(t *testing.T) {
	place := somewhere(t)
	duelsV1(t, place, duelKindV1(0), 11)
	use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
		var calls []int
		_, err := s.Migrate(t.Context(), savepoint.MigrateOptions{Workers: 3, Progress: func(done, total int) {
			assert.Equal(t, 11, total)
			calls = append(calls, done)
		}})
		require.NoError(t, err)
		assert.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, calls)
	})
}

// TestMigrate_ResumesAfterACrash stops a run after four machines and opens the file as a crash left it: a second run migrates
// the other five, each once.
// row F8
func TestMigrate_ResumesAfterACrash(t *testing.T) {
	for _, journal := range []int64{-1, 1 << 20} {
		dir := t.TempDir()
		path, crashed := filepath.Join(dir, "duel.db"), filepath.Join(dir, "crashed.db")
		file := func(path string) place {
			return func(o savepoint.Options) (string, *savepoint.Options) { o.Journal = journal; return path, &o }
		}
		duelsV1(t, file(path), duelKindV1(0), 9)
		ctx, cancel := context.WithCancelCause(t.Context())
		use(t, file(path), duelKind(0), func(s *savepoint.Store[duel]) {
			rep, err := s.Migrate(ctx, savepoint.MigrateOptions{Workers: 1, Progress: func(done, _ int) {
				if done == 4 { // copies the file as a crash would leave it
					cancel(errors.New("a power cut"))
					in, err := os.Open(path)
					require.NoError(t, err)
					out, err := os.Create(crashed)
					require.NoError(t, err)
					_, err = io.Copy(out, in)
					require.NoError(t, errors.Join(err, in.Close(), out.Close()))
				}
			}})
			require.ErrorContains(t, err, "a power cut")
			assert.Equal(t, 4, rep.Migrated)
		})
		use(t, file(crashed), duelKind(0), func(s *savepoint.Store[duel]) {
			assert.Equal(t, map[savepoint.Version]int64{v1: 5, v2: 4}, counts(t, s))
			rep, err := s.Migrate(t.Context(), savepoint.MigrateOptions{})
			require.NoError(t, err)
			assert.Equal(t, 5, rep.Migrated)
			for i := range 9 {
				st, err := s.Load(t.Context(), fmt.Sprint("d-", i))
				require.NoError(t, err)
				assert.EqualValues(t, 5, st.Seq, "each machine is migrated once")
			}
		})
	}
}

// TestMigrate_Back migrates all machines back, by Down and by Restore: the older program reads and writes them, points from
// the newer version are ErrNewer there, and they migrate up again.
// row F17
func TestMigrate_Back(t *testing.T) {
	for _, strategy := range strategies {
		for _, restore := range []bool{false, true} {
			t.Run(fmt.Sprint(strategy, " restore ", restore), func(t *testing.T) {
				onEachPlace(t, func(t *testing.T, place place) { migrateBack(t, place, strategy, restore) })
			})
		}
	}
}

// migrateBack is TestMigrate_Back for one place and strategy.
func migrateBack(t *testing.T, place place, strategy savepoint.Strategy, restore bool) {
	ctx := t.Context()
	k1, k2 := duelKindV1(strategy), duelKind(strategy)
	k1.Legal = map[string][]string{"turn": {}, "": {"turn"}}
	k1.Snapshot.Events, k2.Snapshot.Events = 2, 2
	duelsV1(t, place, k1, 3)
	options := savepoint.MigrateOptions{To: v1, Restore: restore}
	use(t, place, k2, func(s *savepoint.Store[duel]) {
		_, err := s.Migrate(ctx, savepoint.MigrateOptions{})
		require.NoError(t, err)
		_, err = s.Append(ctx, "d-0", laid{1, "8", "S"})
		require.NoError(t, err)
	})
	if restore {
		k2.Migrations[0].Down = nil
	}
	next, left := playedV1{0, "9H"}, 4
	if restore {
		next, left = playedV1{1, "8S"}, 5
	}
	if restore && strategy == savepoint.EventSourced { // the base is its only snapshot
		next, left = playedV1{0, "7H"}, 0
	}
	use(t, place, k2, func(s *savepoint.Store[duel]) {
		if restore {
			rep, err := s.Migrate(ctx, savepoint.MigrateOptions{To: v1})
			require.ErrorContains(t, err, "3 machines are of a newer version than 1.0.0")
			require.Len(t, rep.Failed, 3)
			require.ErrorIs(t, rep.Failed[0], savepoint.ErrNoMigration)
		}
		before := everything(t, s)
		dry := options
		dry.DryRun = true
		rep, err := s.Migrate(ctx, dry)
		require.NoError(t, err)
		assert.Equal(t, []int{3, 3, 0, 3}, []int{rep.Machines, rep.Migrated, len(rep.Failed), len(rep.Changes)})
		assert.Contains(t, rep.Changes[0].Differences, fmt.Sprintf("Left: %d != (absent)", 4))
		assert.Equal(t, before, everything(t, s))

		rep, err = s.Migrate(ctx, options)
		require.NoError(t, err)
		assert.Equal(t, []int{3, 3, 0}, []int{rep.Machines, rep.Migrated, len(rep.Failed)})
		assert.Equal(t, map[savepoint.Version]int64{v1: 3}, counts(t, s))
		st, err := s.Load(ctx, "d-0") // it is upcast again
		require.NoError(t, err)
		assert.True(t, st.Upcast)
		assert.EqualValues(t, 7, st.Seq)
		assert.Equal(t, left, st.Value.Left)
	})
	use(t, place, k1, func(s *savepoint.Store[duelV1]) { // the older program continues
		st, err := s.Load(ctx, "d-0")
		require.NoError(t, err)
		assert.False(t, st.Upcast)
		assert.EqualValues(t, 7, st.Seq)
		if left > 0 {
			assert.Equal(t, next.Seat, st.Value.Turn)
			assert.Equal(t, "turn", st.Phase)
		}
		_, err = s.Append(ctx, "d-0", next)
		require.NoError(t, err)
		if strategy == savepoint.SnapshotOnly {
			return
		}
		_, err = s.At(ctx, "d-0", savepoint.AtSeq(6))
		require.ErrorIs(t, err, savepoint.ErrNewer)
		back, err := s.At(ctx, "d-0", savepoint.AtSeq(4))
		require.NoError(t, err)
		assert.Equal(t, 1, back.Value.Turn)
		rep, err := s.Verify(ctx, "d-0")
		require.NoError(t, err)
		assert.True(t, rep.OK(), "%v", rep.Divergences)
		newer := 0
		for rec, err := range s.Events(ctx, "d-0", savepoint.EventRange{}) {
			if err != nil {
				require.ErrorIs(t, err, savepoint.ErrNewer)
				assert.Equal(t, v2, rec.Version)
				newer++
			}
		}
		assert.Equal(t, 2, newer)
	})
	use(t, place, k1, func(s *savepoint.Store[duelV1]) {
		_, err := s.Load(ctx, "d-0")
		require.NoError(t, err)
	})
	use(t, place, duelKind(strategy), func(s *savepoint.Store[duel]) { // and the newer one migrates again
		st, err := s.Load(ctx, "d-0")
		require.NoError(t, err)
		assert.EqualValues(t, 8, st.Seq)
		rep, err := s.Migrate(ctx, savepoint.MigrateOptions{})
		require.NoError(t, err)
		assert.Equal(t, 3, rep.Migrated)
	})
}

// TestMigrate_BackAndUsedAgain migrates back and then writes with the newer program: the older program is refused.
func TestMigrate_BackAndUsedAgain(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	duelsV1(t, place, duelKindV1(0), 2)
	use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
		_, err := s.Migrate(ctx, savepoint.MigrateOptions{})
		require.NoError(t, err)
		_, err = s.Migrate(ctx, savepoint.MigrateOptions{To: v1})
		require.NoError(t, err)
		_, err = s.Append(ctx, "d-1", laid{1, "8", "S"}) // stores the migration again
		require.NoError(t, err)
		assert.Equal(t, map[savepoint.Version]int64{v1: 1, v2: 1}, counts(t, s))
	})
	path, o := place(savepoint.Options{})
	_, err := savepoint.Register(open(t, path, o), duelKindV1(0))
	require.ErrorIs(t, err, savepoint.ErrNewer)
	require.ErrorContains(t, err, "1 machines of version 2.0.0")
}

// TestMigrate_RefusedTargets refuses versions that are newer than the kind or that no migration leads to, and a ctx that is over.
// row F17
func TestMigrate_RefusedTargets(t *testing.T) {
	place := somewhere(t)
	ctx := t.Context()
	duelsV1(t, place, duelKindV1(0), 1)
	use(t, place, duelKind(0), func(s *savepoint.Store[duel]) {
		for to, want := range map[savepoint.Version]error{
			savepoint.V(3, 0, 0): savepoint.ErrNewer,
			savepoint.V(0, 9, 0): savepoint.ErrNoMigration,
			savepoint.V(1, 1, 0): savepoint.ErrNoMigration,
		} {
			_, err := s.Migrate(ctx, savepoint.MigrateOptions{To: to})
			require.ErrorIs(t, err, want, "%s", to)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, err := s.Migrate(over, savepoint.MigrateOptions{})
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, map[savepoint.Version]int64{v1: 1}, counts(t, s))
	})
}
