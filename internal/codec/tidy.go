package codec

import (
	"fmt"
	"reflect"
	"time"
)

// A tidier builds the functions that finish a decoded value: values in an any become documents, times become UTC. In
// made, a type that contains itself finds the pointer to its own function, which is set before it is called.
type tidier struct {
	deep bool // the type decodes itself, so that values inside an any may have any Go type
	made map[reflect.Type]*func(reflect.Value) error
}

// tidierOf returns the function for type t, or nil if t holds neither an any nor a time.
func tidierOf(t reflect.Type, deep bool) func(reflect.Value) error {
	td := tidier{deep: deep, made: map[reflect.Type]*func(reflect.Value) error{}}
	return td.of(t)
}

func (td *tidier) of(t reflect.Type) func(reflect.Value) error {
	if f := td.made[t]; f != nil {
		return func(v reflect.Value) error { return (*f)(v) }
	}
	if !reaches(t, td.deep, map[reflect.Type]bool{}, isAnyOrTime) {
		return nil
	}
	f := new(func(reflect.Value) error)
	td.made[t] = f
	*f = td.make(t)
	return *f
}

// make builds the function for a type that holds an any or a time.
func (td *tidier) make(t reflect.Type) func(reflect.Value) error {
	if t == timeType {
		return tidyTime
	}
	switch t.Kind() {
	case reflect.Interface:
		return td.tidyAny
	case reflect.Pointer:
		elem := td.of(t.Elem())
		return func(v reflect.Value) error {
			if v.IsNil() {
				return nil
			}
			return elem(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		elem := td.of(t.Elem())
		return func(v reflect.Value) error {
			for i := range v.Len() {
				if err := elem(v.Index(i)); err != nil {
					return err
				}
			}
			return nil
		}
	case reflect.Map:
		if t.Key() == stringType && t.Elem() == anyType {
			return td.tidyObject
		}
		elem := td.of(t.Elem())
		return func(v reflect.Value) error {
			for it := v.MapRange(); it.Next(); {
				x := reflect.New(t.Elem()).Elem()
				x.Set(it.Value())
				if err := elem(x); err != nil {
					return err
				}
				v.SetMapIndex(it.Key(), x)
			}
			return nil
		}
	}
	return td.makeStruct(t)
}

func tidyTime(v reflect.Value) error {
	if v.CanSet() {
		p := v.Addr().Interface().(*time.Time)
		*p = p.UTC()
	}
	return nil
}

func (td *tidier) tidyAny(v reflect.Value) error {
	if v.IsNil() || !v.CanSet() {
		return nil
	}
	x, err := td.document(v.Interface())
	if err == nil && x != nil {
		v.Set(reflect.ValueOf(x))
	}
	return err
}

// tidyObject is for a map[string]any, also under another name.
func (td *tidier) tidyObject(v reflect.Value) error {
	if !v.CanAddr() || !v.CanSet() {
		return nil
	}
	m := *v.Addr().Convert(mapPointer).Interface().(*map[string]any)
	for k, x := range m {
		x, err := td.document(x)
		if err != nil {
			return err
		}
		m[k] = x
	}
	return nil
}

var mapPointer = reflect.TypeFor[*map[string]any]()

func (td *tidier) makeStruct(t reflect.Type) func(reflect.Value) error {
	type part struct {
		i    int
		tidy func(reflect.Value) error
	}
	var parts []part
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		if tidy := td.of(f.Type); tidy != nil {
			parts = append(parts, part{i, tidy})
		}
	}
	return func(v reflect.Value) error {
		for _, p := range parts {
			if err := p.tidy(v.Field(p.i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// document converts what the library put into an any into a document. Maps in it come from the parser and are documents
// already.
func (td *tidier) document(x any) (any, error) {
	if td.deep {
		return Normalize(x)
	}
	switch x := x.(type) {
	case nil, bool, int64, float64, string, []byte, map[string]any, map[int64]any:
		return x, nil
	case int8:
		return int64(x), nil
	case int16:
		return int64(x), nil
	case int32:
		return int64(x), nil
	case uint8:
		return int64(x), nil
	case uint16:
		return int64(x), nil
	case uint32:
		return int64(x), nil
	case uint64:
		return number(x), nil
	case float32:
		return float64(x), nil
	case time.Time:
		return x.UTC(), nil
	case []any:
		for i := range x {
			v, err := td.document(x[i])
			if err != nil {
				return nil, err
			}
			x[i] = v
		}
		return x, nil
	}
	return nil, fmt.Errorf("a document cannot hold a %T", x)
}
