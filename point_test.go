package savepoint_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestStore_At_HeadDoesNotDependOnSnapshots reads a point with and without a snapshot at it: state and head are equal.
func TestStore_At_HeadDoesNotDependOnSnapshots(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		for range 3 {
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
		}
		_, err := s.Snapshot(ctx, "g")
		require.NoError(t, err)
		_, err = s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		with, err := s.At(ctx, "g", savepoint.AtSeq(3))
		require.NoError(t, err)
		_, err = s.DeleteSnapshot(ctx, "g", 3)
		require.NoError(t, err)
		without, err := s.At(ctx, "g", savepoint.AtSeq(3))
		require.NoError(t, err)
		assert.Equal(t, without, with)
	})
}
