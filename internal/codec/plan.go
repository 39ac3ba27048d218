package codec

import (
	"reflect"
	"sync"
	"time"
)

// A plan holds what Marshal and Unmarshal need to know about a type. It is made once per type.
type plan struct {
	marshalMsg   bool                      // the type or its pointer has MarshalMsg
	byValue      bool                      // the type itself has MarshalMsg
	unmarshalMsg bool                      // its pointer has UnmarshalMsg
	needsAddr    bool                      // an encoding method in it needs an addressable value
	holdsAny     bool                      // it holds an any
	document     bool                      // its underlying type is any, map[string]any or []any
	tidy         func(reflect.Value) error // converts anys to documents and times to UTC; nil if it holds neither
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

// wantsAddr reports whether encoding a t that is not addressable fails: t or one of its fields or array elements, not
// reached through a pointer, slice or map, has an encoding method on its pointer or is an array of a named byte type.
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

// reaches reports whether a t can hold a value of a type for which wanted returns true. Types that decode themselves are
// not searched, except, with deep, structs.
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
