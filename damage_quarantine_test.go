package savepoint_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// TestDamage_Quarantine_Cleared takes a machine out of quarantine in each way: a recovery to a point before the damage, Purge,
// and a new Register, which reads the machine again.
func TestDamage_Quarantine_Cleared(t *testing.T) {
	k := ledgerKind(-1)
	whole := ledgers(t, k, nil, 9, "a", "b")
	spoil(t, whole, "events", "a", 5)
	for name, clear := range map[string]func(t *testing.T, db *savepoint.DB, s *savepoint.Store[ledger]){
		"Recover": func(t *testing.T, db *savepoint.DB, s *savepoint.Store[ledger]) {
			_, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{To: savepoint.AtSeq(3)})
			require.NoError(t, err, "a point before the damage")
			st, err := s.Load(t.Context(), "a")
			require.NoError(t, err)
			assert.Equal(t, after(3), st.Value)
		},
		"Purge": func(t *testing.T, db *savepoint.DB, s *savepoint.Store[ledger]) {
			require.NoError(t, s.Purge(t.Context(), "a"))
			_, err := s.Load(t.Context(), "a")
			require.ErrorIs(t, err, savepoint.ErrNotFound)
		},
		"Register": func(t *testing.T, db *savepoint.DB, s *savepoint.Store[ledger]) {
			_, err := savepoint.Register(db, k)
			require.NoError(t, err)
			assert.Empty(t, db.Quarantined())
			_, err = s.Load(t.Context(), "a") // it is read at once, and is still damaged
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			assert.Len(t, db.Quarantined(), 1)
			_, err = savepoint.Register(db, k)
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := copied(t, whole)
			db, s := reopen(t, path, k, nil)
			_, err := s.Load(t.Context(), "a")
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			require.Len(t, db.Quarantined(), 1)
			clear(t, db, s)
			assert.Empty(t, db.Quarantined())
			require.NoError(t, db.Close())
			db, s = reopen(t, path, k, nil)
			assert.Empty(t, db.Quarantined(), "the quarantine is kept in memory only")
			well(t, s, "b", 9)
		})
	}
}

// sick is an engine whose machines cannot be read while ill is set.
type sick struct {
	engine.Engine
	ill   atomic.Bool
	loads atomic.Int64 // how many loads asked for records or snapshots
}

func (e *sick) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	if want.Events || want.Snapshot != engine.NoSnapshot {
		e.loads.Add(1)
		if e.ill.Load() {
			return engine.Head{Number: 1}, &engine.Damage{Machine: machine, Part: "head", Why: errors.New("it is ill")}
		}
	}
	return e.Engine.Load(ctx, machine, want, fn)
}

// TestDamage_Quarantine_TriedAgainEveryTenSeconds reads a quarantined machine once a second: the engine is asked again after
// ten seconds, and when it can read the machine, the quarantine ends.
func TestDamage_Quarantine_TriedAgainEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &sick{Engine: memory.New()}
		db, err := savepoint.Open("a name", &savepoint.Options{Engine: e, Cache: savepoint.CacheOptions{Off: true}})
		require.NoError(t, err)
		defer func() { assert.NoError(t, db.Close()) }()
		s, err := savepoint.Register(db, ledgerKind(-1))
		require.NoError(t, err)
		write(t, s, "a", 1, 3)
		e.ill.Store(true)
		_, err = s.Load(t.Context(), "a")
		require.ErrorIs(t, err, savepoint.ErrQuarantined)
		since, loads := db.Quarantined()[0].Since, e.loads.Load()
		for range 9 {
			time.Sleep(time.Second) // of the bubble's clock
			_, err = s.Load(t.Context(), "a")
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			says(t, err, nil, "it is ill")
		}
		assert.Equal(t, loads, e.loads.Load(), "the engine is not asked within ten seconds")
		time.Sleep(time.Second)
		_, err = s.Load(t.Context(), "a")
		require.ErrorIs(t, err, savepoint.ErrQuarantined)
		assert.Greater(t, e.loads.Load(), loads, "the engine is asked again after ten seconds")
		assert.Equal(t, since, db.Quarantined()[0].Since)
		e.ill.Store(false)
		_, err = s.Load(t.Context(), "a")
		require.ErrorIs(t, err, savepoint.ErrQuarantined)
		time.Sleep(10 * time.Second)
		well(t, s, "a", 3)
		assert.Empty(t, db.Quarantined())
	})
}

// TestDamage_Quarantine_BrokenApply lets Apply fail at replay: the machine is quarantined until a program registers the kind
// with an Apply that works.
func TestDamage_Quarantine_BrokenApply(t *testing.T) {
	factor.Store(1)
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, unsteadyKind(-1), nil)
	write(t, s, "a", 1, 3)
	_, err := s.Append(t.Context(), "a", multiplied{N: 3})
	require.NoError(t, err)
	write(t, s, "b", 1, 3)
	want, err := s.Load(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	broken.Store(true)
	defer broken.Store(false)
	db, s = reopen(t, path, unsteadyKind(-1), nil)
	_, err = s.Load(t.Context(), "a")
	says(t, err, savepoint.ErrQuarantined, "event 4", "multiplied", "this program has a bug")
	well(t, s, "b", 3)
	rep, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true, DryRun: true})
	require.NoError(t, err)
	assert.Equal(t, []uint64{3, 4, 4}, []uint64{rep.Seq, rep.LostFrom, rep.LostTo})
	broken.Store(false)
	_, err = savepoint.Register(db, unsteadyKind(-1))
	require.NoError(t, err)
	got, err := s.Load(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Empty(t, db.Quarantined())
}
