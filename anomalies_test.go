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
	"github.com/liap-tui/savepoint/anomaly"
)

// Each kind of anomaly is reported once its limit is reached.
//
// row E9, I9
func TestAnomalies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := tableKind()
		db, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Anomalies: &anomaly.Options{Writes: 50, Refused: 8}})
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
		assert.Equal(t, anomaly.Stats{Loops: 2, Refused: 1, Illegal: 1, Writes: 1}, db.Stats().Anomalies)
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

// Nothing is reported unless an option asks for it, or below a limit; limits that make
// no sense are refused.
//
// row E9
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
	db := open(t, savepoint.Memory, &savepoint.Options{Anomalies: &anomaly.Options{Window: 9}})
	s := register(t, db)
	for range 8 { // in every nine changes each is there three times
		for _, to := range []string{"turn", "scoring", "waiting"} {
			_, err := s.Append(t.Context(), "g", moved{To: to})
			require.NoError(t, err)
		}
	}
	assert.Empty(t, db.Anomalies())
	for _, o := range []anomaly.Options{{Window: 101}, {Window: -1}, {Interval: -1}} {
		_, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Anomalies: &o})
		require.ErrorContains(t, err, "Anomalies")
	}
}

// TestAnomalies_ManyWriters checks that a write is examined before the committer has it;
// otherwise the race detector reports it.
func TestAnomalies_ManyWriters(t *testing.T) {
	db := open(t, savepoint.Memory, &savepoint.Options{Anomalies: &anomaly.Options{Loop: 3, Window: 10}})
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
