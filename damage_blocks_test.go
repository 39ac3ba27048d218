package savepoint_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
)

// TestDamage_Blocks damages each block of events in turn, with many events in a block:
//  1. the damage is found, and other machines serve;
//  2. the states before the block are served;
//  3. the gap is the block, not more and not less;
//  4. a partial recovery gives up the records from the block on.
func TestDamage_Blocks(t *testing.T) {
	k := ledgerKind(-1)
	const n = 600
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, k, nil)
	write(t, s, "a", 1, n)
	write(t, s, "b", 1, n)
	require.NoError(t, db.Close())
	firsts := blocks(t, path, "a")
	require.Greater(t, len(firsts), 3)
	require.Less(t, len(firsts), n/10)
	for i, first := range firsts {
		last := uint64(n)
		if i+1 < len(firsts) {
			last = firsts[i+1] - 1
		}
		path := copied(t, path)
		inFile(t, path, func(tx *bolt.Tx) error {
			key := valueKey(t, tx, "a", first)
			return tx.Bucket([]byte("events")).Put(key, harm(value(t, tx, "events", key)))
		})
		db, s := reopen(t, path, k, nil)
		_, err := s.Load(t.Context(), "a")
		says(t, err, savepoint.ErrQuarantined, `"a"`, "event")
		well(t, s, "b", n)
		st, err := s.At(t.Context(), "a", savepoint.AtSeq(first-1))
		require.NoError(t, err)
		assert.Equal(t, after(int(first-1)), st.Value)
		g := history(t, s, "a", savepoint.EventRange{})
		require.Len(t, g.gaps, 1)
		assert.Equal(t, [2]uint64{first, last}, [2]uint64{g.gaps[0].From, g.gaps[0].To})
		assert.Equal(t, slices.Concat(fromTo(1, first-1), fromTo(last+1, n)), g.seqs)
		rep, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true})
		require.NoError(t, err)
		assert.Equal(t, []uint64{first - 1, n, first, n}, []uint64{rep.Seq, rep.Head, rep.LostFrom, rep.LostTo})
		st, err = s.Load(t.Context(), "a")
		require.NoError(t, err)
		assert.Equal(t, after(int(first-1)), st.Value)
		require.NoError(t, db.Close())
	}
}
