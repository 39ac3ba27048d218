package savepoint_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestStats_CountWhatHappened compares the counters of the database and of a machine with a few operations of each sort.
// row I1, I3, I4
func TestStats_CountWhatHappened(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		begin(t, s, "g", 4) // five appends and the base
		_, err := s.Save(ctx, "g", load(t, s, "g").Value)
		require.NoError(t, err)
		_, err = s.Snapshot(ctx, "g")
		require.NoError(t, err)
		_, err = s.Append(ctx, "g", played{3, "?"})
		require.Error(t, err)
		_, err = s.Append(ctx, "g", plays[4], savepoint.IfSeq(1))
		require.Error(t, err)
		_, err = s.Append(ctx, "g", moved{"waiting"})
		require.ErrorIs(t, err, savepoint.ErrIllegal)
		require.NoError(t, s.View(ctx, "g", func(*savepoint.State[table]) error { return nil }))
		_, err = s.Load(ctx, "nobody")
		require.Error(t, err)
		_, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(2)})
		require.NoError(t, err)

		st := db.Stats()
		assert.EqualValues(t, 6, st.Saves, "five appends and a save")
		assert.EqualValues(t, 3, st.Snapshots, "the base, one by hand and one of the recovery")
		assert.EqualValues(t, 1, st.Recoveries)
		assert.EqualValues(t, 2, st.Loads)
		assert.EqualValues(t, 1, st.FailedReads)
		assert.EqualValues(t, 0, st.FailedWrites)
		assert.EqualValues(t, 3, st.Refused)
		assert.EqualValues(t, 1, st.Conflicts)
		assert.EqualValues(t, 1, st.Illegal)
		assert.EqualValues(t, 1, st.Machines)
		assert.EqualValues(t, 7, st.Positions)
		assert.Equal(t, st.Groups, st.Commit.Count)
		assert.NoError(t, st.Stopped)
		for _, name := range []string{"append", "save", "load", "recover"} {
			l := st.Operations[name]
			assert.NotZero(t, l.Count, name)
			assert.True(t, 0 < l.P50 && l.P50 <= l.P95 && l.P95 <= l.P99 && l.P99 <= l.Max, "%s: %+v", name, l)
		}
		assert.InDelta(t, 1, st.Cache.Rate, 0.5)

		m, ok, err := s.MachineStats(ctx, "g")
		require.NoError(t, err)
		require.True(t, ok)
		assert.EqualValues(t, 8, m.Writes.Count, "with the snapshot and the recovery")
		assert.EqualValues(t, 3, m.Refused)
		assert.EqualValues(t, 7, m.Head.Seq)
		assert.NotZero(t, m.Bytes)
	})
}

// TestStats_PositionsSurviveAPurge counts the positions that were given out, also those of purged machines.
func TestStats_PositionsSurviveAPurge(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 5})
		require.NoError(t, err)
		require.NoError(t, s.Purge(ctx, "g"))
		assert.EqualValues(t, 1, db.Stats().Positions)
	})
}
