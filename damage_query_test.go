package savepoint_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/format"
)

// TestDamage_Query queries a file with damaged records and a damaged head: each page names the damage it may belong to, and
// all other records are found.
func TestDamage_Query(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 6, "a", "b")
	spoil(t, path, "events", "a", 3)
	spoil(t, path, "machines", "b")
	inFile(t, path, func(tx *bolt.Tx) error { // the block is sound, but its event cannot be decoded
		key := valueKey(t, tx, "a", 5)
		h, payload, err := format.ParseValue(value(t, tx, "events", key), 1<<20)
		require.NoError(t, err)
		payload, _, err = format.Decode(nil, h.Codec, payload, h.Raw)
		require.NoError(t, err)
		block, err := format.ParseBlock(payload, 5)
		require.NoError(t, err)
		e, ok := block.Next()
		require.True(t, ok)
		e.Bytes = []byte{0}
		payload = format.AppendBlock(nil, []format.Entry{e})
		h.Codec, h.Raw = format.Raw, uint32(len(payload))
		return tx.Bucket([]byte("events")).Put(key, format.AppendValue(nil, &h, payload, nil))
	})
	db, _ := reopen(t, path, k, nil)
	for _, newest := range []bool{false, true} {
		for _, c := range []struct {
			q       savepoint.Query
			found   int
			damaged []string
		}{
			{savepoint.Query{}, 10, []string{"a event 3", "a event 5"}},
			{savepoint.Query{Name: "booked", Kind: "ledger"}, 10, []string{"a event 3", "a event 5"}},
			{savepoint.Query{Kind: "ledger", ID: "a"}, 4, []string{"a event 3", "a event 5"}},
			{savepoint.Query{Kind: "ledger", ID: "b"}, 6, []string{"b head 0"}},
		} {
			c.q.Newest = newest
			page, err := db.Query(t.Context(), c.q)
			require.NoError(t, err)
			require.Len(t, page.Records, c.found, "%+v", c.q)
			var damaged []string
			for _, err := range page.Damaged {
				var e *savepoint.CorruptError
				require.ErrorAs(t, err, &e)
				require.Equal(t, "ledger", e.Kind)
				damaged = append(damaged, fmt.Sprint(e.ID, " ", e.Part, " ", e.Seq))
			}
			slices.Sort(damaged)
			require.Equal(t, c.damaged, damaged, "%+v", c.q)
		}
	}
}
