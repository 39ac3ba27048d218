package savepoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/internal/codec"
)

// keySum tells two writes under one key apart: by their event and its content,
// in whatever order a map was encoded. It is stored with the key.
func keySum(name string, payload []byte) (uint64, error) {
	doc, err := codec.Document(payload)
	if err != nil {
		return 0, fmt.Errorf("%w: event %q as a document: %w", ErrBadEvent, name, err)
	}
	h := sha256.New()
	sumDoc(h, name)
	sumDoc(h, doc)
	return max(1, binary.BigEndian.Uint64(h.Sum(nil))), nil // 0 stands for a callback
}

// sumDoc feeds a normalised document to h, maps in the order of their keys.
func sumDoc(h hash.Hash, v any) {
	put := func(kind byte, n uint64) {
		var b [9]byte
		b[0] = kind
		binary.BigEndian.PutUint64(b[1:], n)
		h.Write(b[:])
	}
	switch v := v.(type) {
	case nil:
		put(0, 0)
	case bool:
		if v {
			put(1, 1)
		} else {
			put(1, 0)
		}
	case int64:
		put(2, uint64(v))
	case uint64:
		put(2, v)
	case float64:
		put(3, math.Float64bits(v))
	case string:
		put(4, uint64(len(v)))
		h.Write([]byte(v))
	case []byte:
		put(5, uint64(len(v)))
		h.Write(v)
	case time.Time:
		put(6, uint64(v.UnixNano()))
	case []any:
		put(7, uint64(len(v)))
		for _, e := range v {
			sumDoc(h, e)
		}
	case map[string]any:
		sumMap(h, put, v)
	case map[int64]any:
		sumMap(h, put, v)
	default:
		panic(fmt.Sprintf("not a document: %T", v))
	}
}

func sumMap[K cmp.Ordered](h hash.Hash, put func(byte, uint64), m map[K]any) {
	put(8, uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		sumDoc(h, k)
		sumDoc(h, m[k])
	}
}
