package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Shape returns a text for the encoding of values of type t: field names and types, sorted, without Go's names for the
// types. Two types of equal shape can read each other's bytes. A struct type that occurs again is named by its number, so
// that a type that contains itself has a shape too. A type that encodes itself is opaque: its shape is its name, or, if it
// has MarshalMsg, its name and fields. The text does not depend on the Go version or the order of fields; it may be hashed.
func Shape(t reflect.Type) string {
	if t == nil {
		return "nil"
	}
	s := shaper{seen: map[reflect.Type]int{}}
	base := t
	for base.Kind() == reflect.Pointer && base.Name() == "" {
		base = base.Elem()
	}
	if p := planOf(base); p.marshalMsg || p.unmarshalMsg {
		s.keys = []string{"msg", "msgpack"}
		s.printf("msg(%s)", fullName(base))
		if base.Kind() != reflect.Struct {
			return s.String()
		}
		s.printf(" ")
		s.seen[base] = 1
		s.fields(base)
		return s.String()
	}
	s.keys = []string{"msgpack"}
	s.shape(t)
	return s.String()
}

type shaper struct {
	strings.Builder
	seen map[reflect.Type]int // numbers of the structs met so far
	open []reflect.Type       // named types, other than structs, that contain the current type
	keys []string             // keys of struct tags
}

func (s *shaper) printf(format string, args ...any) { fmt.Fprintf(s, format, args...) }

func (s *shaper) shape(t reflect.Type) {
	if t == timeType {
		s.printf("time")
		return
	}
	if m, _ := encodedBy(t); m != byShape {
		s.printf("opaque(%s)", fullName(t))
		return
	}
	if decodedBy(t) != byShape {
		s.printf("opaque(%s)", fullName(t))
		return
	}
	switch {
	case t.Kind() == reflect.Struct:
		if n, ok := s.seen[t]; ok {
			s.printf("#%d", n)
			return
		}
		s.seen[t] = len(s.seen) + 1
	case t.Name() != "": // may contain itself without a struct: type tree []tree
		if i := slices.Index(s.open, t); i >= 0 {
			s.printf("^%d", len(s.open)-i)
			return
		}
		s.open = append(s.open, t)
		defer func() { s.open = s.open[:len(s.open)-1] }()
	}
	switch t.Kind() {
	case reflect.Int:
		s.printf("int64")
	case reflect.Uint:
		s.printf("uint64")
	case reflect.Interface:
		if t.NumMethod() == 0 {
			s.printf("any")
		} else {
			s.printf("interface(%s)", fullName(t))
		}
	case reflect.Pointer:
		s.printf("*")
		s.shape(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			s.printf("bytes")
			return
		}
		s.printf("[]")
		s.shape(t.Elem())
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			s.printf("bytes[%d]", t.Len())
			return
		}
		s.printf("[%d]", t.Len())
		s.shape(t.Elem())
	case reflect.Map:
		s.printf("map[")
		s.shape(t.Key())
		s.printf("]")
		s.shape(t.Elem())
	case reflect.Struct:
		s.fields(t)
	default:
		s.printf("%s", t.Kind())
	}
}

func (s *shaper) fields(t reflect.Type) {
	l := layoutOf(t, s.keys)
	open, end := "{", "}"
	if l.asArray { // the order of fields is part of the encoding
		open, end = "(", ")"
	} else {
		slices.SortStableFunc(l.fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	}
	s.printf("%s", open)
	for i, f := range l.fields {
		if i > 0 {
			s.printf(" ")
		}
		s.printf("%s:", f.name)
		s.shape(f.typ)
	}
	s.printf("%s", end)
}

func fullName(t reflect.Type) string {
	if t.Name() == "" || t.PkgPath() == "" {
		return t.String()
	}
	return t.PkgPath() + "." + t.Name()
}
