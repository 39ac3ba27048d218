package codec

import (
	"bytes"
	"math"
	"time"
)

// Equal reports whether two documents are equal. Times are compared by instant, int64 and uint64 by value, NaN equals
// NaN, 0.0 equals -0.0, an empty map[string]any equals an empty map[int64]any. An integer never equals a float (1 is not
// 1.0), a string never equals bytes, nil equals only nil. Values that are not documents are normalised first; a value for
// which that fails equals nothing.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case nil:
		if b == nil {
			return true
		}
	case bool:
		if b, ok := b.(bool); ok {
			return a == b
		}
	case int64:
		if b, ok := b.(int64); ok {
			return a == b
		}
		if b, ok := b.(uint64); ok {
			return a >= 0 && uint64(a) == b
		}
	case uint64:
		if b, ok := b.(uint64); ok {
			return a == b
		}
		if b, ok := b.(int64); ok {
			return b >= 0 && uint64(b) == a
		}
	case float64:
		if b, ok := b.(float64); ok {
			return a == b || math.IsNaN(a) && math.IsNaN(b)
		}
	case string:
		if b, ok := b.(string); ok {
			return a == b
		}
	case []byte:
		if b, ok := b.([]byte); ok && (a == nil) == (b == nil) {
			return bytes.Equal(a, b)
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Equal(b)
		}
	case []any:
		if b, ok := b.([]any); ok && a != nil && b != nil {
			if len(a) != len(b) {
				return false
			}
			for i := range a {
				if !Equal(a[i], b[i]) {
					return false
				}
			}
			return true
		}
	case map[string]any:
		if b, ok := b.(map[string]any); ok && a != nil && b != nil {
			return equalMaps(a, b)
		}
		if b, ok := b.(map[int64]any); ok && a != nil && b != nil {
			return len(a) == 0 && len(b) == 0
		}
	case map[int64]any:
		if b, ok := b.(map[int64]any); ok && a != nil && b != nil {
			return equalMaps(a, b)
		}
		if b, ok := b.(map[string]any); ok && a != nil && b != nil {
			return len(a) == 0 && len(b) == 0
		}
	}
	if isNormal(a) && isNormal(b) {
		return false
	}
	a, errA := Normalize(a)
	b, errB := Normalize(b)
	return errA == nil && errB == nil && Equal(a, b)
}

func equalMaps[K comparable](a, b map[K]any) bool {
	if len(a) != len(b) {
		return false
	}
	for k, x := range a {
		y, ok := b[k]
		if !ok || !Equal(x, y) {
			return false
		}
	}
	return true
}

// isNormal reports whether v is of a type that documents have, regardless of its elements.
func isNormal(v any) bool {
	switch v := v.(type) {
	case nil, bool, int64, uint64, float64, string, time.Time:
		return true
	case []byte:
		return v != nil
	case []any:
		return v != nil
	case map[string]any:
		return v != nil
	case map[int64]any:
		return v != nil
	}
	return false
}
