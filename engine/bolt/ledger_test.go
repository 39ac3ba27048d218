package bolt

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// TestLedger_RefusesNewerHead: a machine whose head has the format of a later build
// cannot be written, neither with a journal nor without one: the write would drop
// what that build knows. Other steps of the group are accepted.
func TestLedger_RefusesNewerHead(t *testing.T) {
	for name, o := range map[string]config{"direct": {}, "journal": {journalBytes: 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			path := sampleFile(t)
			change(t, path, func(tx *bbolt.Tx) error {
				v := bytes.Clone(tx.Bucket(bucketMachines).Get([]byte("a")))
				v[4]++ // the format
				binary.BigEndian.PutUint32(v[44:], crc32.Update(crc32.Checksum(v[:44], castagnoli), castagnoli, v[format.HeaderLen:]))
				return tx.Bucket(bucketMachines).Put([]byte("a"), v)
			})
			e := openAt(t, path, o)
			purge := engine.Write{Machine: "a", Purge: true}
			steps := []engine.Step{stepOf(writeOf("a", 0, 1)), stepOf(writeOf("c", 0, 1)), stepOf(purge)}
			out := make([]engine.Result, len(steps))
			require.NoError(t, e.Commit(t.Context(), steps, out))
			for _, i := range []int{0, 2} {
				require.ErrorIs(t, out[i].Err, engine.ErrDamaged)
				require.ErrorIs(t, out[i].Err, engine.ErrNewer)
			}
			require.NoError(t, out[1].Err)
		})
	}
}

// TestLedger_RefusedStepChangesNothing: a step that is refused because of one of its
// writes leaves the counters and the heads of all its machines as they were.
func TestLedger_RefusedStepChangesNothing(t *testing.T) {
	o := config{}.withDefaults()
	l := ledger{opt: &o}
	l.begin(fileCounters{number: 7, pos: 40, machines: 2})
	for _, key := range []string{"a", "b"} {
		m := l.newMachine(key)
		m.exists, m.stored, m.head = true, true, storedHead{number: 5, seq: 3, pos: 9}
		m.before = m.head
	}
	var conflict *engine.Conflict
	bad := engine.Step{Writes: []engine.Write{writeOf("a", 3, 2), writeOf("b", 4, 1)}}
	require.ErrorAs(t, l.take(&bad), &conflict)
	require.Equal(t, engine.Conflict{Machine: "b", Want: 4, Have: 3}, *conflict)
	require.Equal(t, fileCounters{number: 7, pos: 40, machines: 2}, l.counters)
	require.False(t, l.dirty)
	for _, m := range l.touched {
		require.Equal(t, m.before, m.head)
		require.False(t, m.changed)
	}
	good := engine.Step{Writes: []engine.Write{writeOf("a", 3, 2), writeOf("b", 3, 1)}}
	require.NoError(t, l.take(&good))
	require.Equal(t, []uint64{42, 43}, l.positions(&good))
	require.Equal(t, fileCounters{number: 7, pos: 43, machines: 2}, l.counters)
	after := engine.Step{Writes: []engine.Write{writeOf("a", 5, 1)}}
	require.NoError(t, l.take(&after), "it is checked against what the step before left")
}
