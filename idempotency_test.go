package savepoint_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestStore_Keys repeats writes under their keys: each happens once and returns its first result, and the key refuses another
// write.
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
