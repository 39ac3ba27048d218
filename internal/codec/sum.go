package codec

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
	"time"
)

// SumDocument writes a document to h, maps in the order of their keys, so that equal documents of equal types give equal
// hashes. It panics if v is not a document.
func SumDocument(h hash.Hash, v any) {
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
			SumDocument(h, e)
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
		SumDocument(h, k)
		SumDocument(h, m[k])
	}
}
