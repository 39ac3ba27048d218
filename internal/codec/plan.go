package codec

import (
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// A plan is what Marshal and Unmarshal have to know about a type. It is made once per type.
type plan struct {
	marshalMsg   bool                      // the type or its pointer has MarshalMsg
	byValue      bool                      // ... the type itself
	unmarshalMsg bool                      // its pointer has UnmarshalMsg
	needsAddr    bool                      // some encoding method inside wants an addressable value
	document     bool                      // any, map[string]any, []any, by whatever name
	tidy         func(reflect.Value) error // makes documents of anys, UTC of times; nil if there is nothing to do
}

var plans sync.Map // reflect.Type -> *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := new(plan)
	p.byValue = t.Implements(msgMarshalerType)
	p.marshalMsg = p.byValue || reflect.PointerTo(t).Implements(msgMarshalerType)
	p.unmarshalMsg = reflect.PointerTo(t).Implements(msgUnmarshalerType)
	p.needsAddr = wantsAddr(t, nil)
	p.document = isDocument(t)
	p.tidy = tidierOf(t, p.unmarshalMsg)
	plans.Store(t, p)
	return p
}

var (
	anyType            = reflect.TypeFor[any]()
	errorType          = reflect.TypeFor[error]()
	stringType         = reflect.TypeFor[string]()
	timeType           = reflect.TypeFor[time.Time]()
	timePointer        = reflect.TypeFor[*time.Time]()
	msgMarshalerType   = reflect.TypeFor[msgMarshaler]()
	msgUnmarshalerType = reflect.TypeFor[msgUnmarshaler]()
)

func isDocument(t reflect.Type) bool {
	switch {
	case decodedBy(t) != byShape:
		return false
	case t.Kind() == reflect.Interface:
		return t.NumMethod() == 0
	case t.Kind() == reflect.Map:
		return t.Key() == stringType && t.Elem() == anyType
	case t.Kind() == reflect.Slice:
		return t.Elem() == anyType
	}
	return false
}

// A method says by which pair of methods the library encodes or decodes a type, in the order in which it looks.
type method int

const (
	byShape method = iota // none: by its kind
	byCodec               // EncodeMsgpack, DecodeMsgpack
	byMsgpack
	byBinary
	byText
)

// wantsAddr reports whether encoding a t that is not addressable fails: a pointer method, or an array of named bytes,
// in t itself, not behind a pointer, slice or map.
func wantsAddr(t reflect.Type, outer []reflect.Type) bool {
	if m, ptr := encodedBy(t); m != byShape || t == timeType {
		return ptr
	}
	switch t.Kind() {
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return t.Elem() != reflect.TypeFor[byte]()
		}
		return wantsAddr(t.Elem(), outer)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous) && wantsAddr(f.Type, outer) {
				return true
			}
		}
	}
	return false
}

// A tidier is built per type. A type that contains itself finds its own entry in made, whose function is set by then.
type tidier struct {
	deep bool // values inside an any are as the type's own method left them
	made map[reflect.Type]*func(reflect.Value) error
}

// tidierOf returns nil if t holds neither an any nor a time.
func tidierOf(t reflect.Type, deep bool) func(reflect.Value) error {
	td := tidier{deep: deep, made: map[reflect.Type]*func(reflect.Value) error{}}
	return td.of(t)
}

func (td *tidier) of(t reflect.Type) func(reflect.Value) error {
	if f := td.made[t]; f != nil {
		return func(v reflect.Value) error { return (*f)(v) }
	}
	if !td.needed(t, map[reflect.Type]bool{}) {
		return nil
	}
	f := new(func(reflect.Value) error)
	td.made[t] = f
	*f = td.make(t)
	return *f
}

// needed reports whether a t can hold an any or a time.
func (td *tidier) needed(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == timeType {
		return true
	}
	if seen[t] || (decodedBy(t) != byShape && !(td.deep && t.Kind() == reflect.Struct)) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return t.NumMethod() == 0
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return td.needed(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous) && td.needed(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

func (td *tidier) make(t reflect.Type) func(reflect.Value) error {
	if t == timeType {
		return func(v reflect.Value) error {
			if v.CanSet() {
				p := v.Addr().Interface().(*time.Time)
				*p = p.UTC()
			}
			return nil
		}
	}
	switch t.Kind() {
	case reflect.Interface:
		return func(v reflect.Value) error {
			if v.IsNil() || !v.CanSet() {
				return nil
			}
			old := v.Interface()
			x, err := td.document(old)
			if err == nil && x != nil {
				v.Set(reflect.ValueOf(x))
			}
			return err
		}
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
			ptr := reflect.TypeFor[*map[string]any]()
			return func(v reflect.Value) error {
				if !v.CanAddr() || !v.CanSet() {
					return nil
				}
				m := *v.Addr().Convert(ptr).Interface().(*map[string]any)
				for k, x := range m {
					x, err := td.document(x)
					if err != nil {
						return err
					}
					m[k] = x
				}
				return nil
			}
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

// document makes a document of what the library put into an any. Maps in it came from the parser and are one already.
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
	return nil, fmt.Errorf("a %T has no place in a document", x)
}

var encodings = [...]struct{ encode, decode reflect.Type }{
	byCodec:   {reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder]()},
	byMsgpack: {reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler]()},
	byBinary:  {reflect.TypeFor[binaryMarshaler](), reflect.TypeFor[binaryUnmarshaler]()},
	byText:    {reflect.TypeFor[textMarshaler](), reflect.TypeFor[textUnmarshaler]()},
}

type (
	binaryMarshaler   interface{ MarshalBinary() ([]byte, error) }
	binaryUnmarshaler interface{ UnmarshalBinary([]byte) error }
	textMarshaler     interface{ MarshalText() ([]byte, error) }
	textUnmarshaler   interface{ UnmarshalText([]byte) error }
)

// encodedBy says how the library encodes a t, and whether it calls a pointer's method for it. Of a time.Time it says
// byBinary, which is wrong: the library has an extension for it. Callers look for a time first.
func encodedBy(t reflect.Type) (m method, ptr bool) {
	if t == timePointer {
		return byShape, false
	}
	for m := byCodec; m <= byText; m++ {
		if t.Implements(encodings[m].encode) {
			return m, false
		}
	}
	if t.Kind() == reflect.Pointer {
		return byShape, false
	}
	for m := byCodec; m <= byText; m++ {
		if reflect.PointerTo(t).Implements(encodings[m].encode) {
			return m, true
		}
	}
	return byShape, false
}

// decodedBy says how the library decodes a t.
func decodedBy(t reflect.Type) method {
	if t == timePointer {
		return byShape
	}
	for m := byCodec; m <= byText; m++ {
		if t.Implements(encodings[m].decode) {
			return m
		}
	}
	if t.Kind() == reflect.Pointer {
		return byShape
	}
	for m := byCodec; m <= byText; m++ {
		if reflect.PointerTo(t).Implements(encodings[m].decode) {
			return m
		}
	}
	return byShape
}
