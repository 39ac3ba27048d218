package savepoint_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/format"
)

// sharing returns how many snapshots of a closed file need a dictionary, and removes all entries of the named buckets.
func sharing(t testing.TB, path string, names ...string) (n int) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		_ = tx.Bucket([]byte("snapshots")).ForEach(func(_, v []byte) error {
			if format.PeekHeader(v).Codec == format.Shared {
				n++
			}
			return nil
		})
		for _, name := range names {
			var keys [][]byte
			_ = tx.Bucket([]byte(name)).ForEach(func(k, _ []byte) error { keys = append(keys, k); return nil })
			require.NotEmpty(t, keys, name)
			for _, k := range keys {
				if err := tx.Bucket([]byte(name)).Delete(k); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return n
}

// TestDamage_Dictionary removes the dictionaries that snapshots are compressed with:
//  1. where there are events the states are rebuilt from them, and Verify names the damage;
//  2. where there are none the machine is quarantined, and never shows an older state;
//  3. the loss of one of the two copies changes nothing.
func TestDamage_Dictionary(t *testing.T) {
	const machines, events = 5, 60
	for _, st := range []savepoint.Strategy{savepoint.Hybrid, savepoint.SnapshotOnly} {
		t.Run(st.String(), func(t *testing.T) {
			k := ledgerKind(3)
			k.Strategy = st
			var ids []string
			for i := range machines {
				ids = append(ids, fmt.Sprint("m", i))
			}
			o := &savepoint.Options{Cache: savepoint.CacheOptions{Off: true}}
			path := ledgers(t, k, o, events, ids...)
			require.Greater(t, sharing(t, path, "copies"), 10)
			db, s := reopen(t, path, k, o)
			for _, id := range ids {
				well(t, s, id, events)
			}
			require.NoError(t, db.Close())

			sharing(t, path, "dictionaries", "copies")
			db, s = reopen(t, path, k, o)
			defer func() { assert.NoError(t, db.Close()) }()
			id := ids[machines-1]
			if st == savepoint.Hybrid {
				well(t, s, id, events)
				_, err := s.Verify(t.Context(), id)
				require.ErrorIs(t, err, savepoint.ErrCorrupt)
				require.ErrorContains(t, err, "dictionary")
				return
			}
			_, err := s.Load(t.Context(), id)
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			require.ErrorContains(t, err, "dictionary")
		})
	}
}
