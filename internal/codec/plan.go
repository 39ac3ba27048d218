package codec

import (
	"reflect"
	"sync"
	"time"
)

// A plan is what Marshal and Unmarshal have to know about a type. It is made once per type.
type plan struct {
	marshalMsg   bool                      // the type or its pointer has MarshalMsg
	byValue      bool                      // ... the type itself
	unmarshalMsg bool                      // its pointer has UnmarshalMsg
	needsAddr    bool                      // some encoding method inside wants an addressable value
	holdsAny     bool                      // some any is inside
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
	p.needsAddr = wantsAddr(t)
	p.holdsAny = reaches(t, false, map[reflect.Type]bool{}, isAny)
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

// wantsAddr reports whether encoding a t that is not addressable fails: a pointer method, or an array of named bytes,
// in t itself, not behind a pointer, slice or map.
func wantsAddr(t reflect.Type) bool {
	if m, ptr := encodedBy(t); m != byShape || t == timeType {
		return ptr
	}
	switch t.Kind() {
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return t.Elem() != reflect.TypeFor[byte]()
		}
		return wantsAddr(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous) && wantsAddr(f.Type) {
				return true
			}
		}
	}
	return false
}

// reaches reports whether a t can hold a value of a type that is wanted. It does not look into types that decode
// themselves; with deep, it does so into structs.
func reaches(t reflect.Type, deep bool, seen map[reflect.Type]bool, wanted func(reflect.Type) bool) bool {
	if wanted(t) {
		return true
	}
	if seen[t] || t == timeType || (decodedBy(t) != byShape && !(deep && t.Kind() == reflect.Struct)) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return reaches(t.Elem(), deep, seen, wanted)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous) && reaches(f.Type, deep, seen, wanted) {
				return true
			}
		}
	}
	return false
}

func isAny(t reflect.Type) bool { return t.Kind() == reflect.Interface && t.NumMethod() == 0 }

func isAnyOrTime(t reflect.Type) bool { return isAny(t) || t == timeType }
