package analysis_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/analysis"
)

// game is a machine whose events only change its phase.
type game struct{ Phase string }

type moved struct{ To string }

func (e moved) Apply(g *game, _ savepoint.Meta) error { g.Phase = e.To; return nil }

// clock is a clock that a test sets.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time       { return c.now }
func (c *clock) turn(d time.Duration) { c.now = c.now.Add(d) }

func register(t *testing.T, path string, o *savepoint.Options) *savepoint.Store[game] {
	t.Helper()
	db, err := savepoint.Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	s, err := savepoint.Register(db, savepoint.Kind[game]{
		Name:   "game",
		Events: savepoint.Events[game]{"moved": moved{}},
		New:    func() game { return game{Phase: "waiting"} },
		Phase:  func(g *game) string { return g.Phase },
	})
	require.NoError(t, err)
	return s
}

// onEach runs a test on each engine.
func onEach(t *testing.T, o *savepoint.Options, fn func(t *testing.T, s *savepoint.Store[game])) {
	for name, path := range map[string]string{"memory": savepoint.Memory, "file": filepath.Join(t.TempDir(), "game.db")} {
		t.Run(name, func(t *testing.T) { fn(t, register(t, path, o)) })
	}
}

// Analyze counts what the records of a machine, and of all machines of a kind, show.
//
// row E8, E10
func TestAnalyze(t *testing.T) {
	c := newClock()
	onEach(t, &savepoint.Options{Now: c.Now}, func(t *testing.T, s *savepoint.Store[game]) {
		ctx := t.Context()
		start := c.Now()
		move := func(id, to string, after time.Duration, opts ...savepoint.WriteOption) {
			t.Helper()
			c.turn(after)
			_, err := s.Append(ctx, id, moved{To: to}, opts...)
			require.NoError(t, err)
		}
		move("a", "turn", 0, savepoint.By("ann"))
		for range 3 {
			move("a", "scoring", 10*time.Minute, savepoint.By("bob"))
			move("a", "waiting", 20*time.Minute, savepoint.By("system clock"))
			move("a", "turn", 30*time.Minute, savepoint.By("ann"))
		}
		move("a", "turn", 48*time.Hour, savepoint.By("ann")) // stays
		move("b", "scoring", time.Hour)
		_, err := s.Delete(ctx, "b")
		require.NoError(t, err)

		a, err := analysis.Analyze(ctx, s, "a", analysis.Options{Top: 2})
		require.NoError(t, err)
		assert.Equal(t, 11, a.Records)
		assert.Equal(t, 1, a.Machines)
		assert.Equal(t, 3, a.UniquePaths)
		assert.Equal(t, 3, a.UniquePhases)
		require.Len(t, a.Paths, 2)
		assert.Equal(t, []string{"waiting turn 4", "scoring waiting 3"}, []string{pathText(a.Paths[0]), pathText(a.Paths[1])})
		assert.Equal(t, 30*time.Minute, a.Paths[0].Took.Mean, "row E10: since the record before") // row E10
		assert.EqualValues(t, 3, a.Paths[0].Took.Count, "nobody knows how long the first one took")
		assert.Equal(t, 20*time.Minute, a.Paths[1].Took.Max)
		assert.Equal(t, []analysis.NameCount{{Name: "turn", Count: 5}, {Name: "scoring", Count: 3}}, a.Phases)
		assert.Equal(t, []analysis.NameCount{{Name: "ann", Count: 5}, {Name: "bob", Count: 3}}, a.Actors)
		assert.Equal(t, []analysis.NameCount{{Name: "user", Count: 8}, {Name: "system", Count: 3}}, a.Origins)
		require.Len(t, a.Events, 1)
		assert.EqualValues(t, 10, a.Events[0].Took.Count)
		assert.Equal(t, 48*time.Hour, a.Took.Max)
		assert.Equal(t, start, a.First)
		assert.Equal(t, []analysis.DayCount{{Day: start.Truncate(24 * time.Hour), Count: 10}, {Day: start.Add(51 * time.Hour).Truncate(24 * time.Hour), Count: 1}}, a.Days)
		assert.InDelta(t, 11.0/3, a.PerDay, 0.001)

		a, err = analysis.Analyze(ctx, s, "a", analysis.Options{Since: start.Add(30 * time.Minute), Until: start.Add(time.Hour)})
		require.NoError(t, err)
		assert.Equal(t, 2, a.Records, "a window")
		assert.Equal(t, start.Add(time.Hour), a.Last)

		all, err := analysis.All(ctx, s, analysis.Options{})
		require.NoError(t, err)
		assert.Equal(t, 2, all.Machines)
		assert.Equal(t, 13, all.Records)
		assert.Equal(t, []string{"moved 12", "_deleted 1"}, []string{eventText(all.Events[0]), eventText(all.Events[1])})
		all, err = analysis.All(ctx, s, analysis.Options{Prefix: "b"})
		require.NoError(t, err)
		assert.Equal(t, 2, all.Records)

		none, err := analysis.Analyze(ctx, s, "a", analysis.Options{Until: start.Add(-1), Top: -1})
		require.NoError(t, err)
		assert.Zero(t, none.Records)
		assert.Zero(t, none.PerDay)
		_, err = analysis.Analyze(ctx, s, "missing", analysis.Options{})
		require.ErrorIs(t, err, savepoint.ErrNotFound)
	})
}

func pathText(p analysis.PathCount) string   { return fmt.Sprint(p.From, " ", p.To, " ", p.Count) }
func eventText(e analysis.EventCount) string { return fmt.Sprint(e.Name, " ", e.Count) }

// A clock that jumps a year back changes times, and no count.
//
// row E8
func TestAnalyze_BoundedAndClocks(t *testing.T) {
	c := newClock()
	s := register(t, savepoint.Memory, &savepoint.Options{Now: c.Now})
	ctx := t.Context()
	require.NoError(t, s.DB().Update(ctx, func(tx *savepoint.Tx) error {
		m, err := s.In(tx, "g")
		for i := range 1200 {
			if err == nil {
				err = m.Append(moved{To: fmt.Sprint("phase ", i)})
			}
		}
		return err
	}))
	c.turn(-365 * 24 * time.Hour)
	_, err := s.Append(ctx, "g", moved{To: "phase 1"})
	require.NoError(t, err)
	a, err := analysis.Analyze(ctx, s, "g", analysis.Options{Top: 5000})
	require.NoError(t, err)
	assert.Equal(t, 1201, a.Records)
	assert.Equal(t, 1000, a.UniquePaths)
	assert.Len(t, a.Paths, 1000)
	assert.Len(t, a.Phases, 1000)
	assert.Equal(t, 401, a.Other, "200 phases, 201 paths")
	assert.Len(t, a.Days, 2)
	assert.InDelta(t, 1201.0/365, a.PerDay, 0.001)
	assert.Zero(t, a.Took.Max, "no time is below zero")
}
