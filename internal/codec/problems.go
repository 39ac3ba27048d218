package codec

import (
	"fmt"
	"reflect"
	"runtime"
)

// Problems returns a sentence for each part of type t whose values Unmarshal would not restore from what Marshal wrote,
// with the path of the field (`Game.Hands[].secret`), or nil. It examines types only, not what an any holds at run time.
// Types that encode and decode themselves are trusted.
func Problems(t reflect.Type) []string {
	if t == nil {
		return nil
	}
	base := t
	for base.Kind() == reflect.Pointer && base.Name() == "" {
		base = base.Elem()
	}
	name := base.Name()
	if name == "" {
		name = "(value)"
	}
	c := checker{seen: map[place]bool{}}
	ptr := reflect.PointerTo(base)
	switch m, u := ptr.Implements(msgMarshalerType), ptr.Implements(msgUnmarshalerType); {
	case m && u:
		c.inherited(base, name, "MarshalMsg", msgMarshalerType)
		return c.list
	case m:
		c.report(name, "has MarshalMsg but no UnmarshalMsg: what is written may not be readable")
	case u:
		c.report(name, "has UnmarshalMsg but no MarshalMsg: what is written may not be readable")
	}
	c.check(t, name, true)
	return c.list
}

type checker struct {
	list []string
	seen map[place]bool
}

// A place is a type and whether its values are addressable when they are encoded.
type place struct {
	t    reflect.Type
	addr bool
}

func (c *checker) report(path, format string, args ...any) {
	c.list = append(c.list, path+" "+fmt.Sprintf(format, args...))
}

var methodNames = [...]struct{ encode, decode string }{
	byCodec:   {"EncodeMsgpack", "DecodeMsgpack"},
	byMsgpack: {"MarshalMsgpack", "UnmarshalMsgpack"},
	byBinary:  {"MarshalBinary", "UnmarshalBinary"},
	byText:    {"MarshalText", "UnmarshalText"},
}

func (c *checker) check(t reflect.Type, path string, addr bool) {
	if t == timeType || c.seen[place{t, addr}] {
		return
	}
	c.seen[place{t, addr}] = true

	enc, ptr := encodedBy(t)
	dec := decodedBy(t)
	switch {
	case enc == byShape && dec == byShape:
	case t.Kind() == reflect.Interface: // an interface with methods is reported below
	case dec == byShape:
		c.report(path, "is encoded by %s but there is no %s to decode it", methodNames[enc].encode, methodNames[enc].decode)
		return
	case enc == byShape:
		c.report(path, "is decoded by %s but there is no %s to encode it", methodNames[dec].decode, methodNames[dec].encode)
		return
	case enc != dec:
		c.report(path, "is encoded by %s and decoded by %s, which do not match", methodNames[enc].encode, methodNames[dec].decode)
		return
	default:
		if ptr && !addr {
			c.report(path, "is a map's value and cannot be encoded: %s needs a pointer; make it a *%s", methodNames[enc].encode, t)
		}
		c.inherited(t, path, methodNames[enc].encode, encodings[enc].encode)
		return
	}

	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr:
		c.report(path, "is a %s, which cannot be encoded", t.Kind())
	case reflect.Interface:
		if t == errorType {
			c.report(path, "is an error, of which only the text would come back")
		} else if t.NumMethod() > 0 {
			c.report(path, "is the interface %s, which cannot be decoded; only any can", t)
		}
	case reflect.Pointer:
		elem := t.Elem()
		if elem.Kind() == reflect.Pointer {
			c.report(path, "is a pointer to a pointer, and a pointer to nil would come back as nil")
			return
		}
		c.check(elem, path, true)
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			c.check(t.Elem(), path+"[]", true)
		}
	case reflect.Array:
		if t.Elem().Kind() != reflect.Uint8 {
			c.check(t.Elem(), path+"[]", addr)
		} else if !addr && t.Elem() != reflect.TypeFor[byte]() {
			c.report(path, "is a map's value and cannot be encoded: an array of %s needs a pointer; make it a *%s", t.Elem(), t)
		}
	case reflect.Map:
		c.key(t.Key(), path)
		c.check(t.Elem(), path+"[]", false)
	case reflect.Struct:
		c.fields(t, path, addr)
	}
}

func (c *checker) fields(t reflect.Type, path string, addr bool) {
	l := layoutOf(t, []string{"msgpack"})
	const hollow = "is a %s, which has unexported fields only: nothing of it would be stored"
	if len(l.fields) == 0 && len(l.dropped) > 0 {
		c.report(path, hollow, t)
		return
	}
	for _, h := range l.hollow {
		c.report(path+"."+h.path, hollow, h.typ)
	}
	for _, p := range l.dropped {
		c.report(path+"."+p, "is not exported and would not be stored; export it, or tag it `msgpack:\"-\"` if it may be lost")
	}
	for _, p := range l.selfish {
		c.report(path+"."+p, "embeds a type that contains itself: the encoder would not return; give the field a name")
	}
	for _, p := range l.pointers {
		c.report(path+"."+p, "is an embedded pointer, which comes back set even if it was nil; embed the struct itself, or give the field a name")
	}
	for _, p := range l.crash {
		c.report(path+"."+p, "is embedded in a way the encoder panics on; give the field an exported name")
	}
	for _, x := range l.clashes {
		c.report(path+"."+x.second, "is stored under the name %q, like %s.%s: one of them would be lost", x.name, path, x.first)
	}
	for _, f := range l.fields {
		at := path + "." + f.path
		if f.tag.has("intern") {
			c.report(at, "has the tag option intern, with which the decoder returns wrong strings")
		}
		if f.tag.has("omitempty") && f.typ.Kind() == reflect.Interface {
			c.report(at, "is an interface with omitempty: a 0, false or \"\" in it would come back as nil")
		}
		c.check(f.typ, at, addr)
	}
}

// key reports a problem with a map's key type. Strings and integers are decoded as they were, and documents allow them.
func (c *checker) key(t reflect.Type, path string) {
	if m, _ := encodedBy(t); m != byShape && t != timeType {
		c.report(path, "is a map whose key type %s encodes itself (%s): such a map has no document; use strings or integers", t, methodNames[m].encode)
		return
	}
	switch t.Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if m := decodedBy(t); m != byShape {
			c.report(path, "is a map whose key type %s has %s but no %s", t, methodNames[m].decode, methodNames[m].encode)
		}
	case reflect.Interface, reflect.Pointer, reflect.Chan, reflect.UnsafePointer, reflect.Uintptr, reflect.Complex64, reflect.Complex128:
		c.report(path, "is a map whose keys, of type %s, do not come back as they were; use strings or integers", t)
	default:
		c.report(path, "is a map whose keys, of type %s, have no document; use strings or integers", t)
	}
}

// inherited reports a struct whose encoding method is promoted from an embedded field: it writes only that field.
func (c *checker) inherited(t reflect.Type, path, name string, iface reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.NumField() < 2 {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.Anonymous {
			continue
		}
		if f.Type.Implements(iface) || reflect.PointerTo(f.Type).Implements(iface) {
			if !ownMethod(t, name) {
				c.report(path, "inherits %s from the embedded %s: its other fields would not be stored; give the field a name", name, f.Name)
			}
			return
		}
	}
}

// ownMethod reports whether the method is declared for t itself. Code that the compiler generates for a promoted method
// is in no file.
func ownMethod(t reflect.Type, name string) bool {
	for _, t := range []reflect.Type{t, reflect.PointerTo(t)} {
		if m, ok := methodOf(t, name); ok {
			at := m.Func.Pointer()
			if file, _ := runtime.FuncForPC(at).FileLine(at); file != "<autogenerated>" {
				return true
			}
		}
	}
	return false
}

// methodOf returns a method by its name. The names are constants, because for a variable name the linker would keep every
// exported method of the program.
func methodOf(t reflect.Type, name string) (reflect.Method, bool) {
	switch name {
	case "MarshalMsg":
		return t.MethodByName("MarshalMsg")
	case "EncodeMsgpack":
		return t.MethodByName("EncodeMsgpack")
	case "MarshalMsgpack":
		return t.MethodByName("MarshalMsgpack")
	case "MarshalBinary":
		return t.MethodByName("MarshalBinary")
	}
	return t.MethodByName("MarshalText")
}
