package codec

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Diff returns up to limit lines, each with the path of a difference between two documents and both values, in a stable
// order: `players[2].score: 5 != 7`. It returns nil if Equal(a, b), or if limit is below 1. Values that are not documents
// are normalised first.
func Diff(a, b any, limit int) []string {
	d := differ{limit: limit}
	d.compare("", a, b)
	return d.lines
}

type differ struct {
	limit int
	lines []string
}

// absent is the value of an element that one side does not have.
type absent struct{}

func (d *differ) compare(path string, a, b any) {
	if len(d.lines) >= d.limit || a != (absent{}) && b != (absent{}) && Equal(a, b) {
		return
	}
	a, b = normal(a), normal(b)
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			compareMaps(d, path, x, y, fieldPath)
			return
		}
	case map[int64]any:
		if y, ok := b.(map[int64]any); ok {
			compareMaps(d, path, x, y, func(path string, k int64) string { return fmt.Sprintf("%s[%d]", path, k) })
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			for i := range max(len(x), len(y)) {
				var v, w any = absent{}, absent{}
				if i < len(x) {
					v = x[i]
				}
				if i < len(y) {
					w = y[i]
				}
				d.compare(fmt.Sprintf("%s[%d]", path, i), v, w)
				if len(d.lines) >= d.limit {
					return
				}
			}
			return
		}
	}
	if path == "" {
		path = "(value)"
	}
	left, right := brief(a), brief(b)
	if left == right { // both are shortened, or they differ in type only
		left, right = fmt.Sprintf("%s (%T)", left, a), fmt.Sprintf("%s (%T)", right, b)
	}
	d.lines = append(d.lines, fmt.Sprintf("%s: %s != %s", path, left, right))
}

func compareMaps[K cmp.Ordered](d *differ, path string, a, b map[K]any, sub func(string, K) string) {
	keys := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		var v, w any = absent{}, absent{}
		if x, ok := a[k]; ok {
			v = x
		}
		if x, ok := b[k]; ok {
			w = x
		}
		d.compare(sub(path, k), v, w)
		if len(d.lines) >= d.limit {
			return
		}
	}
}

func fieldPath(path, key string) string {
	for i, r := range key {
		if !(r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9') {
			return fmt.Sprintf("%s[%q]", path, key)
		}
	}
	if key == "" {
		return path + `[""]`
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// normal returns v as a document, or v itself if it cannot be one.
func normal(v any) any {
	if v == (absent{}) || isNormal(v) {
		return v
	}
	if n, err := Normalize(v); err == nil {
		return n
	}
	return v
}

// brief returns a text of about 80 bytes at most for a value.
func brief(v any) string {
	switch v := v.(type) {
	case absent:
		return "(absent)"
	case nil:
		return "nil"
	case string:
		if len(v) > 60 {
			return fmt.Sprintf("%q... (%d bytes)", v[:48], len(v))
		}
		return strconv.Quote(v)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if v == math.Trunc(v) && !math.IsInf(v, 0) && !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case []byte:
		if len(v) > 24 {
			return fmt.Sprintf("0x%x... (%d bytes)", v[:20], len(v))
		}
		return fmt.Sprintf("0x%x", v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case []any:
		return fmt.Sprintf("(array of %d)", len(v))
	case map[string]any:
		return fmt.Sprintf("(map of %d)", len(v))
	case map[int64]any:
		return fmt.Sprintf("(map of %d)", len(v))
	}
	s := fmt.Sprint(v)
	if len(s) > 60 {
		s = string(bytes.ToValidUTF8([]byte(s[:48]), nil)) + "..."
	}
	return s
}
