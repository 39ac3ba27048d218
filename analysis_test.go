package savepoint_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func TestAnalyze(t *testing.T) {
	c := newClock()
	onEachKind(t, savepoint.Options{Now: c.Now}, tableKind(), func(t *testing.T, s *savepoint.Store[table]) {
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

		a, err := s.Analyze(ctx, "a", savepoint.AnalyzeOptions{Top: 2})
		require.NoError(t, err)
		assert.Equal(t, 11, a.Records, "row E8") // row E8
		assert.Equal(t, 1, a.Machines)
		assert.Equal(t, 3, a.UniquePaths)
		assert.Equal(t, 3, a.UniquePhases)
		require.Len(t, a.Paths, 2)
		assert.Equal(t, []string{"waiting turn 4", "scoring waiting 3"}, []string{pathText(a.Paths[0]), pathText(a.Paths[1])})
		assert.Equal(t, 30*time.Minute, a.Paths[0].Took.Mean, "row E10: since the record before") // row E10
		assert.EqualValues(t, 3, a.Paths[0].Took.Count, "nobody knows how long the first one took")
		assert.Equal(t, 20*time.Minute, a.Paths[1].Took.Max)
		assert.Equal(t, []savepoint.NameCount{{Name: "turn", Count: 5}, {Name: "scoring", Count: 3}}, a.Phases)
		assert.Equal(t, []savepoint.NameCount{{Name: "ann", Count: 5}, {Name: "bob", Count: 3}}, a.Actors)
		assert.Equal(t, []savepoint.NameCount{{Name: "user", Count: 8}, {Name: "system", Count: 3}}, a.Origins)
		require.Len(t, a.Events, 1)
		assert.EqualValues(t, 10, a.Events[0].Took.Count)
		assert.Equal(t, 48*time.Hour, a.Took.Max)
		assert.Equal(t, start, a.First)
		assert.Equal(t, []savepoint.DayCount{{Day: start.Truncate(24 * time.Hour), Count: 10}, {Day: start.Add(51 * time.Hour).Truncate(24 * time.Hour), Count: 1}}, a.Days)
		assert.InDelta(t, 11.0/3, a.PerDay, 0.001)

		a, err = s.Analyze(ctx, "a", savepoint.AnalyzeOptions{Since: start.Add(30 * time.Minute), Until: start.Add(time.Hour)})
		require.NoError(t, err)
		assert.Equal(t, 2, a.Records, "a window")
		assert.Equal(t, start.Add(time.Hour), a.Last)

		all, err := s.AnalyzeAll(ctx, savepoint.AnalyzeOptions{})
		require.NoError(t, err)
		assert.Equal(t, 2, all.Machines)
		assert.Equal(t, 13, all.Records)
		assert.Equal(t, []string{"moved 12", "_deleted 1"}, []string{eventText(all.Events[0]), eventText(all.Events[1])})
		all, err = s.AnalyzeAll(ctx, savepoint.AnalyzeOptions{Prefix: "b"})
		require.NoError(t, err)
		assert.Equal(t, 2, all.Records)

		none, err := s.Analyze(ctx, "a", savepoint.AnalyzeOptions{Until: start.Add(-1), Top: -1})
		require.NoError(t, err)
		assert.Zero(t, none.Records)
		assert.Zero(t, none.PerDay)
		_, err = s.Analyze(ctx, "missing", savepoint.AnalyzeOptions{})
		require.ErrorIs(t, err, savepoint.ErrNotFound)
	})
}

func pathText(p savepoint.PathCount) string   { return fmt.Sprint(p.From, " ", p.To, " ", p.Count) }
func eventText(e savepoint.EventCount) string { return fmt.Sprint(e.Name, " ", e.Count) }

// A clock that jumps a year back changes times, and no count.
func TestAnalyze_BoundedAndClocks(t *testing.T) {
	c := newClock()
	db, s := docs(t, &savepoint.Options{Now: c.Now}, nil)
	ctx := t.Context()
	require.NoError(t, db.Update(ctx, func(tx *savepoint.Tx) error {
		m, err := s.In(tx, "g")
		for i := range 1200 {
			if err == nil {
				err = m.Append(transition(fmt.Sprint("phase ", i), i))
			}
		}
		return err
	}))
	c.turn(-365 * 24 * time.Hour)
	_, err := s.Append(ctx, "g", transition("phase 1", 0))
	require.NoError(t, err)
	a, err := s.Analyze(ctx, "g", savepoint.AnalyzeOptions{Top: 5000})
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

func TestAnomalies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := tableKind()
		db, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Anomalies: &savepoint.AnomalyOptions{Writes: 50, Refused: 8}})
		require.NoError(t, err)
		s, err := savepoint.Register(db, k)
		require.NoError(t, err)
		ctx := t.Context()
		told := func() (all []string) {
			for _, a := range db.Anomalies() {
				all = append(all, fmt.Sprint(a.ID, " ", a.What, " ", a.Path, " ", a.Count, " ", a.Seq))
			}
			return all
		}
		move := func(id string, to ...string) {
			for _, phase := range to {
				_, err := s.Append(ctx, id, moved{To: phase})
				require.NoError(t, err)
			}
		}
		round := []string{"turn", "scoring", "waiting"}
		for range 4 { // each change every third time: 4 among the last 10
			move("rounds", round...)
		}
		assert.Equal(t, []string{"rounds loop waiting -> turn 4 10"}, told(), "row E9: more than three times among the last ten") // row E9
		for range 3 {
			move("fine", "turn", "turn", "turn", "scoring", "waiting")
		}
		assert.Len(t, told(), 1, "to stay is no change, three times are none too many")
		require.NoError(t, db.Update(ctx, func(tx *savepoint.Tx) error {
			m, err := s.In(tx, "together")
			for range 5 {
				err = errors.Join(err, m.Append(moved{To: "scoring"}, moved{To: "waiting"}))
			}
			return err
		}))
		assert.Equal(t, []string{"together loop waiting -> scoring 4 10"}, told()[1:])

		for i := range 20 {
			_, err := s.Append(ctx, "fine", dealt{}, savepoint.IfSeq(uint64(i+16)))
			require.ErrorIs(t, err, savepoint.ErrConflict)
		}
		assert.Equal(t, []string{"fine refused  9 15"}, told()[2:], "told once")
		move("illegal", "scoring")
		for range 6 {
			_, err := s.Append(ctx, "illegal", moved{To: "turn"})
			require.ErrorIs(t, err, savepoint.ErrIllegal)
		}
		assert.Equal(t, []string{"illegal illegal  6 1"}, told()[3:])
		for range 40 {
			note(t, s, "busy", 1)
		}
		time.Sleep(time.Minute)
		for range 50 {
			note(t, s, "busy", 1)
		}
		assert.Len(t, told(), 4, "a new minute")
		note(t, s, "busy", 1)
		assert.Equal(t, []string{"busy writes  51 91"}, told()[4:])
		assert.Equal(t, savepoint.AnomalyStats{Loops: 2, Refused: 1, Illegal: 1, Writes: 1}, db.Stats().Anomalies)
		for i := range 300 {
			for range 2 {
				move(fmt.Sprint(i), "scoring", "waiting", "scoring", "waiting")
			}
		}
		list := db.Anomalies()
		assert.Len(t, list, 256, "bounded")
		assert.Equal(t, "299", list[255].ID)
		assert.Equal(t, "44", list[0].ID)
		assert.EqualValues(t, 302, db.Stats().Anomalies.Loops)
		require.NoError(t, db.Close())
	})
}

func TestAnomalies_OffUnlessSet(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		for range 10 {
			for _, to := range []string{"turn", "scoring", "waiting"} {
				_, err := s.Append(t.Context(), "g", moved{To: to})
				require.NoError(t, err)
			}
		}
		assert.Empty(t, db.Anomalies())
		assert.Zero(t, db.Stats().Anomalies)
	})
	db := open(t, savepoint.Memory, &savepoint.Options{Anomalies: &savepoint.AnomalyOptions{Window: 9}})
	s := register(t, db)
	for range 8 { // in every nine changes each is there three times
		for _, to := range []string{"turn", "scoring", "waiting"} {
			_, err := s.Append(t.Context(), "g", moved{To: to})
			require.NoError(t, err)
		}
	}
	assert.Empty(t, db.Anomalies())
	for _, o := range []savepoint.AnomalyOptions{{Window: 101}, {Window: -1}, {Interval: -1}} {
		_, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Anomalies: &o})
		require.ErrorContains(t, err, "Anomalies")
	}
}

// TestAnomalies_ManyWriters: a write is looked at before the committer has it; the
// race detector sees when it is not.
func TestAnomalies_ManyWriters(t *testing.T) {
	db := open(t, savepoint.Memory, &savepoint.Options{Anomalies: &savepoint.AnomalyOptions{Loop: 3, Window: 10}})
	s, err := savepoint.Register(db, ledgerKind(-1))
	require.NoError(t, err)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 200 {
				_, err := s.Append(t.Context(), fmt.Sprint("m", w), entry(i))
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	for w := range 8 {
		st, err := s.Load(t.Context(), fmt.Sprint("m", w))
		require.NoError(t, err)
		assert.EqualValues(t, 200, st.Seq)
	}
}
