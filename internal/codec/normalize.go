package codec

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// Normalize returns v as a document: the result of Document on the bytes of Marshal(v), except that an empty map with
// integer keys becomes an empty map[int64]any. The result is a copy. Errors are: values nested deeper than 64, maps with
// keys other than all strings or all integers, and values that Marshal refuses.
func Normalize(v any) (any, error) {
	x, err := normalize(v, 0)
	if err != nil {
		return nil, fmt.Errorf("normalize %T: %w", v, err)
	}
	return x, nil
}

func normalize(v any, depth int) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, int64, float64:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		return number(v), nil
	case time.Time:
		return v.UTC().Round(0), nil
	case []byte:
		if v == nil {
			return nil, nil
		}
		return append(make([]byte, 0, len(v)), v...), nil
	case []any:
		if v == nil {
			return nil, nil
		}
		if depth++; depth > maxDepth {
			return nil, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		out := make([]any, len(v))
		for i, x := range v {
			var err error
			if out[i], err = normalize(x, depth); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		if v == nil {
			return nil, nil
		}
		if depth++; depth > maxDepth {
			return nil, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		out := make(map[string]any, len(v))
		for k, x := range v {
			x, err := normalize(x, depth)
			if err != nil {
				return nil, err
			}
			out[k] = x
		}
		return out, nil
	}
	return normalizeValue(reflect.ValueOf(v), depth)
}

func normalizeValue(v reflect.Value, depth int) (any, error) {
	for hops := 0; v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface; hops++ {
		if v.IsNil() {
			return nil, nil
		}
		if hops > maxDepth {
			return nil, fmt.Errorf("a pointer that leads to itself")
		}
		if encodesItself(v.Type()) {
			return throughBytes(v.Interface(), depth)
		}
		v = v.Elem()
	}
	t := v.Type()
	if t == timeType {
		return normalize(v.Interface(), depth)
	}
	if encodesItself(t) {
		return throughBytes(v.Interface(), depth)
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return number(v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	case reflect.String:
		return v.String(), nil
	case reflect.Slice:
		if v.IsNil() {
			return nil, nil
		}
		if t.Elem().Kind() == reflect.Uint8 {
			return append(make([]byte, 0, v.Len()), v.Bytes()...), nil
		}
		return normalizeList(v, depth)
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			out := make([]byte, v.Len())
			for i := range out {
				out[i] = byte(v.Index(i).Uint())
			}
			return out, nil
		}
		return normalizeList(v, depth)
	case reflect.Map:
		if v.IsNil() {
			return nil, nil
		}
		return normalizeMap(v, depth)
	}
	return throughBytes(v.Interface(), depth)
}

func normalizeList(v reflect.Value, depth int) (any, error) {
	if depth++; depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	out := make([]any, v.Len())
	for i := range out {
		var err error
		if out[i], err = normalizeValue(v.Index(i), depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func normalizeMap(v reflect.Value, depth int) (any, error) {
	if depth++; depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	var (
		texts map[string]any
		nums  map[int64]any
	)
	for it := v.MapRange(); it.Next(); {
		x, err := normalizeValue(it.Value(), depth)
		if err != nil {
			return nil, err
		}
		k, err := normalizeValue(it.Key(), depth)
		if err != nil {
			return nil, err
		}
		switch k := k.(type) {
		case string:
			if texts == nil {
				texts = make(map[string]any, v.Len())
			}
			texts[k] = x
		case int64:
			if nums == nil {
				nums = make(map[int64]any, v.Len())
			}
			nums[k] = x
		default:
			return nil, fmt.Errorf("a map of a document has string keys only or int64 keys only, and %v has a key that is %s", v.Type(), kindName(k))
		}
	}
	switch {
	case texts != nil && nums != nil:
		return nil, fmt.Errorf("a map of a document has string keys only or int64 keys only, and a %v has both", v.Type())
	case len(texts)+len(nums) != v.Len():
		return nil, fmt.Errorf("two keys of a %v are one in a document", v.Type())
	case nums != nil:
		return nums, nil
	case texts != nil:
		return texts, nil
	}
	switch v.Type().Key().Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[int64]any{}, nil
	}
	return map[string]any{}, nil
}

// throughBytes normalises a struct, or a value of a type that encodes itself, by encoding and decoding it.
func throughBytes(v any, depth int) (any, error) {
	b, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	if _, err := scan(b, maxDepth-depth, maxElements, false); err != nil {
		return nil, err
	}
	return Document(b)
}

func encodesItself(t reflect.Type) bool {
	m, _ := encodedBy(t)
	return m != byShape
}

// number returns n as documents hold it: as an int64 if it fits.
func number(n uint64) any {
	if n > math.MaxInt64 {
		return n
	}
	return int64(n)
}
