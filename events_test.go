package savepoint_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestStore_EventsAndAt reads a machine's records in both orders, by range and limit, and its state at each seq.
// row B8, D2, D5, D6, D19, E1, E2, E12
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
			assert.Equal(t, "played", rec.Name)
			assert.NotZero(t, rec.Pos)
		}
		assert.Equal(t, []string{"7H", "7S", "8H"}, got)
		got = nil
		for rec, err := range s.Events(ctx, "g-1", savepoint.EventRange{Newest: true, Limit: 2}) {
			require.NoError(t, err)
			got = append(got, rec.Event.(played).Card)
		}
		assert.Equal(t, []string{"TS", "TH"}, got)
	})
}
