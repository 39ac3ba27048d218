package savepoint_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/report"
)

// TestDamage_Verify_NamesANondeterministicApply verifies a log with an Apply that is not deterministic: the divergence names its
// event, also where only the live state shows it.
func TestDamage_Verify_NamesANondeterministicApply(t *testing.T) {
	for name, path := range engines {
		t.Run(name, func(t *testing.T) {
			db := open(t, path(t), nil)
			s, err := savepoint.Register(db, unsteadyKind(5))
			require.NoError(t, err)
			ctx := t.Context()
			write(t, s, "well", 1, 12)
			write(t, s, "a", 1, 6)
			_, err = s.Append(ctx, "a", cheated{})
			require.NoError(t, err)
			write(t, s, "a", 8, 12)
			v, err := s.Verify(ctx, "a")
			require.NoError(t, err)
			assert.False(t, v.OK())
			require.Len(t, v.Divergences, 1, "%v", v.Divergences)
			d := v.Divergences[0]
			assert.EqualValues(t, 7, d.Seq, "%v", d)
			assert.Equal(t, "cheated", d.Name)
			assert.EqualValues(t, 10, d.At)
			assert.Contains(t, d.String(), "not deterministic")
			assert.Contains(t, d.String(), "Sum")
			v, err = s.Verify(ctx, "well")
			require.NoError(t, err)
			assert.True(t, v.OK())

			write(t, s, "live", 1, 2) // no snapshot follows: only the live state shows the divergence
			_, err = s.Append(ctx, "live", cheated{})
			require.NoError(t, err)
			write(t, s, "live", 4, 4)
			v, err = s.Verify(ctx, "live")
			require.NoError(t, err)
			require.Len(t, v.Divergences, 1)
			assert.EqualValues(t, 3, v.Divergences[0].Seq, "%v", v.Divergences[0])
			assert.Equal(t, "cheated", v.Divergences[0].Name)
		})
	}
}

// TestDamage_Verify_NamesAChangedApply changes Apply between two runs: Verify names the event where each record has a snapshot,
// and else one between the two snapshots around it, once.
func TestDamage_Verify_NamesAChangedApply(t *testing.T) {
	for _, every := range []int{1, 4} {
		factor.Store(1)
		path := filepath.Join(t.TempDir(), "game.db")
		db, s := reopen(t, path, unsteadyKind(every), nil)
		write(t, s, "a", 1, 5)
		_, err := s.Append(t.Context(), "a", multiplied{N: 3})
		require.NoError(t, err)
		write(t, s, "a", 7, 12)
		require.NoError(t, db.Close())
		factor.Store(2)
		_, s = reopen(t, path, unsteadyKind(every), nil)
		v, err := s.Verify(t.Context(), "a")
		require.NoError(t, err)
		require.Len(t, v.Divergences, 1, "the divergence is reported once: %v", v.Divergences)
		d := v.Divergences[0]
		if every == 1 {
			assert.Equal(t, report.Divergence{Seq: 6, Name: "multiplied", At: 6, What: d.What}, d)
		} else {
			assert.EqualValues(t, 8, d.At, "between snapshots 4 and 8")
			assert.LessOrEqual(t, d.Seq, uint64(8))
			assert.Greater(t, d.Seq, uint64(4))
		}
	}
}

// TestDamage_Verify_ExchangedRecordBeforeASnapshot puts a record of another history in, which leads to the same state: no replay
// differs from the snapshot after it, and a load starts at that snapshot. Only the digest in the snapshot finds the record.
func TestDamage_Verify_ExchangedRecordBeforeASnapshot(t *testing.T) {
	k := ledgerKind(6)
	path := ledgers(t, k, nil, 8, "a")
	other := filepath.Join(t.TempDir(), "other.db")
	db, s := reopen(t, other, k, nil)
	write(t, s, "a", 1, 3)
	_, err := s.Append(t.Context(), "a", entry(4), savepoint.By("somebody else"))
	require.NoError(t, err)
	write(t, s, "a", 5, 8)
	require.NoError(t, db.Close())
	var v []byte
	inFile(t, other, func(tx *bolt.Tx) error {
		require.NoError(t, apart(t, tx))
		v = value(t, tx, "events", valueKey(t, tx, "a", 4))
		return nil
	})
	inFile(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("events")).Put(valueKey(t, tx, "a", 4), v) })
	_, s = reopen(t, path, k, nil)
	well(t, s, "a", 8)
	_, err = s.Verify(t.Context(), "a")
	says(t, err, savepoint.ErrCorrupt, "chain", "digest", "snapshot")
}
