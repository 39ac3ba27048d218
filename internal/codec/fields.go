package codec

import (
	"reflect"
	"slices"
	"strings"
)

// A field is one field of a struct as the library encodes it.
type field struct {
	name string // in the encoding
	path string // Go names, from the outer struct
	typ  reflect.Type
	tag  tag
}

// A layout is how the library encodes a struct. It repeats the library's rules, which differ from those of encoding/json:
// the fields of an embedded struct are spread into the outer struct only if none of their names is taken by a field
// declared before it; otherwise the embedded struct is one field with the name of its type.
type layout struct {
	fields  []field
	asArray bool
	taken   map[string]owner // by name in the encoding

	clashes  []clash  // pairs of fields with one name
	dropped  []string // paths of unexported fields
	hollow   []hollow // embedded structs that have unexported fields only
	selfish  []string // paths of embedded types that contain themselves: the library never returns
	pointers []string // paths of embedded pointers to structs
	crash    []string // paths of embedded fields on which the library panics
}

// An owner is the field that the library decodes for a name.
type owner struct {
	path   string
	spread bool // the name is that of an embedded type whose fields were spread, so that another field may take it
}

type clash struct{ name, first, second string }

type hollow struct {
	path string
	typ  reflect.Type
}

// layoutOf returns the layout of struct t. Of each field it reads the tag under the first of keys that the field has.
// outer are the structs that contain t, each embedded in the one before.
func layoutOf(t reflect.Type, keys []string, outer ...reflect.Type) *layout {
	l := &layout{taken: map[string]owner{}}
	outer = append(slices.Clip(outer), t)
	var omitAll bool
	for i := range t.NumField() {
		f := t.Field(i)
		tag := parseTag(f, keys)
		if tag.name == "-" {
			continue
		}
		if f.Name == "_msgpack" {
			l.asArray = tag.has("as_array") || tag.has("asArray")
			omitAll = omitAll || tag.has("omitempty")
			continue
		}
		if !f.IsExported() && !f.Anonymous {
			if f.Name != "_" {
				l.dropped = append(l.dropped, f.Name)
			}
			continue
		}
		if omitAll {
			tag.options["omitempty"] = ""
		}
		own := field{name: tag.name, path: f.Name, typ: f.Type, tag: tag}
		if own.name == "" {
			own.name = f.Name
		}
		if f.Anonymous && !tag.has("noinline") && l.embed(f, own, keys, outer) {
			continue
		}
		if !f.IsExported() && decodedBy(f.Type) == byShape && f.Type.Kind() != reflect.Struct {
			l.crash = append(l.crash, f.Name)
		}
		l.add(own)
		if alias, ok := tag.options["alias"]; ok {
			l.take(alias, own.path)
		}
	}
	return l
}

// embed spreads the embedded struct f into l, and reports whether it did.
func (l *layout) embed(f reflect.StructField, own field, keys []string, outer []reflect.Type) bool {
	t, pointer := f.Type, false
	for t.Kind() == reflect.Pointer {
		t, pointer = t.Elem(), true
	}
	if t.Kind() != reflect.Struct {
		if own.tag.has("inline") {
			l.crash = append(l.crash, f.Name)
			return true
		}
		return false
	}
	forced := own.tag.has("inline")
	if m, _ := encodedBy(t); !forced && (m != byShape || decodedBy(t) != byShape || t == timeType) {
		return false
	}
	if slices.Contains(outer, t) {
		l.selfish = append(l.selfish, f.Name)
		return true
	}
	if forced && pointer {
		l.crash = append(l.crash, f.Name)
		return true
	}
	in := layoutOf(t, keys, outer...)
	if !forced {
		for _, g := range in.fields {
			if _, ok := l.taken[g.name]; ok {
				return false
			}
		}
	}
	for _, g := range in.fields {
		g.path = f.Name + "." + g.path
		if at, ok := l.taken[g.name]; ok { // only if forced: the library leaves the field out
			l.clashes = append(l.clashes, clash{g.name, at.path, g.path})
			continue
		}
		l.add(g)
	}
	for _, c := range in.clashes {
		l.clashes = append(l.clashes, clash{c.name, f.Name + "." + c.first, f.Name + "." + c.second})
	}
	if len(in.fields)+len(in.hollow) == 0 && len(in.dropped) > 0 {
		l.hollow = append(l.hollow, hollow{f.Name, t})
		in.dropped = nil
	}
	for _, h := range in.hollow {
		l.hollow = append(l.hollow, hollow{f.Name + "." + h.path, h.typ})
	}
	for _, p := range in.dropped {
		l.dropped = append(l.dropped, f.Name+"."+p)
	}
	for _, p := range in.selfish {
		l.selfish = append(l.selfish, f.Name+"."+p)
	}
	for _, p := range in.pointers {
		l.pointers = append(l.pointers, f.Name+"."+p)
	}
	for _, p := range in.crash {
		l.crash = append(l.crash, f.Name+"."+p)
	}
	if pointer {
		l.pointers = append(l.pointers, f.Name)
	}
	// The library also decodes a field with the embedded type's name.
	l.take(own.name, own.path)
	l.taken[own.name] = owner{own.path, true}
	return true
}

func (l *layout) add(f field) {
	l.take(f.name, f.path)
	l.fields = append(l.fields, f)
}

func (l *layout) take(name, path string) {
	if at, ok := l.taken[name]; ok && !at.spread {
		l.clashes = append(l.clashes, clash{name, at.path, path})
	}
	l.taken[name] = owner{path: path}
}

type tag struct {
	name    string
	options map[string]string
}

func (t tag) has(option string) bool {
	_, ok := t.options[option]
	return ok
}

// parseTag reads a tag of the form name,option,option:value, the part of the library's tag language that is used.
func parseTag(f reflect.StructField, keys []string) tag {
	t := tag{options: map[string]string{}}
	for _, key := range keys {
		text := f.Tag.Get(key)
		if text == "" {
			continue
		}
		for i, part := range strings.Split(text, ",") {
			k, v, pair := strings.Cut(part, ":")
			k, v = strings.TrimSpace(k), strings.Trim(strings.TrimSpace(v), "'")
			switch {
			case pair:
				t.options[k] = v
			case i == 0:
				t.name = strings.Trim(k, "'")
			case k != "":
				t.options[strings.Trim(k, "'")] = ""
			}
		}
		break
	}
	return t
}
