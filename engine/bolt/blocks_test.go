package bolt

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// storedBlock describes a block as it is stored in a file.
type storedBlock struct {
	key         string
	first, last uint64
	size, raw   int
}

// blocksIn returns the blocks of a closed file. A key longer than valueKeyLen is that of a piece.
func blocksIn(t *testing.T, path string) (blocks []storedBlock) {
	t.Helper()
	change(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketEvents).ForEach(func(k, v []byte) error {
			h, payload, err := format.ParseValue(v, 1<<20)
			require.NoError(t, err)
			s := storedBlock{key: string(k), first: h.Seq, size: len(v), raw: int(h.Raw)}
			if h.Flags&format.FlagPiece == 0 {
				payload, _, err = format.Decode(nil, h.Codec, payload, h.Raw)
				require.NoError(t, err)
				b, err := format.ParseBlock(payload, h.Seq)
				require.NoError(t, err)
				s.last = b.Last
			}
			blocks = append(blocks, s)
			return nil
		})
	})
	return blocks
}

func TestBlocks_AreExtended(t *testing.T) {
	// 1. events that are committed one by one are stored in few blocks, each of one value; 2. no event is lost, stored
	// twice or out of order.
	for name, o := range map[string]config{"direct": {}, "journal": {journalBytes: 1 << 20}, "not small": {noCompression: true}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			const n = 400
			for from := 0; from < n; from += 100 { // each opening continues with the blocks of the one before
				e, err := openWith(path, o)
				require.NoError(t, err)
				for i := from; i < from+100; i++ {
					require.NoError(t, commitSteps(e, stepOf(writeOf("a", uint64(i), 1)), stepOf(writeOf("b", uint64(i), 1))))
				}
				require.NoError(t, e.Close())
			}
			blocks := blocksIn(t, path)
			events, next := 0, uint64(1)
			for _, b := range blocks {
				assert.LessOrEqual(t, b.size, format.LongestValue)
				assert.LessOrEqual(t, b.raw, longestBlock+64)
				if b.first == 1 {
					next = 1
				}
				assert.Equal(t, next, b.first)
				next = b.last + 1
				events += int(b.last - b.first + 1)
			}
			assert.Equal(t, 2*n, events)
			assert.Less(t, len(blocks), 2*n/20)
			e, err := openWith(path, config{readOnly: true})
			require.NoError(t, err)
			defer e.Close()
			items, err := readAll(e, "b")
			require.NoError(t, err)
			require.Len(t, items, n+1)
			for i := range n {
				assert.Equal(t, fmt.Sprintf("2:%d:%d event %d of b", i+1, 2*i+2, i+1), items[i])
			}
		})
	}
}

func TestBlocks_AreOneValue(t *testing.T) {
	// Events that do not compress are split into more blocks until each fits; a single long event is stored in pieces.
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(7, 7))
	w := engine.Write{Machine: "a", Kind: 1, Seq: 50, Head: []byte("h")}
	for i := range 50 {
		b := make([]byte, 150)
		if i == 30 {
			b = make([]byte, 5000)
		}
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		w.Events = append(w.Events, engine.Event{Bytes: b})
	}
	require.NoError(t, commitSteps(e, stepOf(w)))
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, 51)
	for i := range 50 {
		assert.Equal(t, fmt.Sprintf("2:%d:%d %s", i+1, i+1, w.Events[i].Bytes), items[i])
	}
	require.NoError(t, e.Close())
	pieces := 0
	for _, b := range blocksIn(t, path) {
		assert.LessOrEqual(t, b.size, format.LongestValue)
		if b.last == 0 {
			assert.EqualValues(t, 31, b.first)
			pieces++
		}
	}
	assert.Equal(t, format.Pieces(5000), pieces)
}

func TestBlocks_AreNotExtended(t *testing.T) {
	// A block of another schema version, a damaged block, or a block before a gap is not extended.
	for name, tc := range map[string]struct {
		harm   func(t *testing.T, path string)
		change func(w *engine.Write)
	}{
		"schema": {change: func(w *engine.Write) { w.Schema++ }},
		"kind":   {change: func(w *engine.Write) { w.Kind++ }},
		"gap":    {change: func(w *engine.Write) { w.Seq += 3 }},
		"damage": {harm: func(t *testing.T, path string) {
			change(t, path, func(tx *bbolt.Tx) error {
				b := tx.Bucket(bucketEvents)
				k, v := b.Cursor().First()
				v = append([]byte(nil), v...)
				v[len(v)-1] ^= 1
				return b.Put(append([]byte(nil), k...), v)
			})
		}},
		"lost block": {harm: func(t *testing.T, path string) {
			e, err := openWith(path, config{})
			require.NoError(t, err)
			third := writeOf("a", 2, 1)
			third.Schema++
			require.NoError(t, commitSteps(e, stepOf(third)))
			require.NoError(t, e.Close())
			change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketEvents).Delete(appendValueKey(nil, 1, 3)) })
		}, change: func(w *engine.Write) { w.Expect, w.Seq = 3, 4 }},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			e, err := openWith(path, config{})
			require.NoError(t, err)
			require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 2))))
			require.NoError(t, e.Close())
			if tc.harm != nil {
				tc.harm(t, path)
			}
			e, err = openWith(path, config{})
			require.NoError(t, err)
			before, err := readAll(e, "a")
			require.NoError(t, err)
			w := writeOf("a", 2, 1)
			if tc.change != nil {
				tc.change(&w)
			}
			require.NoError(t, commitSteps(e, stepOf(w)))
			items, err := readAll(e, "a")
			require.NoError(t, err)
			assert.Equal(t, before[:len(before)-1], items[:len(before)-1], "what was there is as it was")
			assert.Equal(t, fmt.Sprintf("2:%d:%d event 3 of a", w.Seq, w.Seq), items[len(items)-2])
			require.NoError(t, e.Close())
			change(t, path, func(tx *bbolt.Tx) error {
				assert.Equal(t, 2, tx.Bucket(bucketEvents).Stats().KeyN)
				return nil
			})
		})
	}
}

// TestBlocks_PositionsDescend: a restored event whose position is later than that
// of the event after it is stored in a block of its own, and all events are read.
func TestBlocks_PositionsDescend(t *testing.T) {
	for name, o := range map[string]config{"direct": {}, "journal": {journalBytes: 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
			commitBolt(t, e, writeOf("a", 0, 4))
			other := writeOf("b", 0, 1)
			other.Seq = 5 // no record has the positions 5 to 8
			commitBolt(t, e, other)
			commitBolt(t, e, engine.Write{Machine: "a", Expect: 4, Seq: 4, TrimTo: 2})
			back := engine.StoredEvent{Seq: 3, Pos: 7, Event: writeOf("a", 2, 1).Events[0]}
			commitBolt(t, e, engine.Write{Machine: "a", Kind: 1, Schema: 2, Expect: 4, Seq: 4, Restore: []engine.StoredEvent{back}})
			items, err := readAll(e, "a")
			require.NoError(t, err)
			require.Equal(t, []string{"2:3:7 event 3 of a", "2:4:4 event 4 of a"}, items[:2])
		})
	}
}
