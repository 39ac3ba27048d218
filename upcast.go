package savepoint

import (
	"errors"
	"fmt"
	"strings"

	"github.com/liap-tui/savepoint/internal/codec"
)

// StructMigration returns an Up or a Down for a [Migration], made from a function of
// structs: Old is the state, or the event, before the change, New after
// it. Keep Old in the program, under another name, as long as there
// are files that hold it. A document with a field that Old does not have is an
// error, because the field would be lost.
func StructMigration[Old, New any](change func(Old) (New, error)) func(Doc) (Doc, error) {
	return func(d Doc) (Doc, error) {
		var old Old
		b, err := codec.Marshal(d)
		if err == nil {
			err = codec.Unmarshal(b, &old)
		}
		if err != nil {
			return nil, err
		}
		back, err := codec.Normalize(old)
		if err != nil {
			return nil, err
		}
		if at := droppedFields("", map[string]any(d), back); at != "" {
			return nil, fmt.Errorf("%T has no field for %s", old, at)
		}
		now, err := change(old)
		if err != nil {
			return nil, err
		}
		if b, err = codec.Marshal(now); err != nil {
			return nil, err
		}
		return document(b)
	}
}

// droppedFields returns the path of a field that from has and to does not have, empty
// if to has all fields of from.
func droppedFields(path string, from, to any) string {
	switch from := from.(type) {
	case map[string]any:
		to, _ := to.(map[string]any)
		for name, v := range from {
			w, there := to[name]
			if !there && v != nil {
				return path + name
			}
			if at := droppedFields(path+name+".", v, w); at != "" {
				return at
			}
		}
	case []any:
		to, _ := to.([]any)
		for i := range min(len(from), len(to)) {
			if at := droppedFields(fmt.Sprintf("%s%d.", path, i), from[i], to[i]); at != "" {
				return at
			}
		}
	}
	return ""
}

var errNoDocument = errors.New("it is not a document with named fields")

// document decodes a document with named fields.
func document(b []byte) (Doc, error) {
	v, err := codec.Document(b)
	if err != nil {
		return nil, err
	}
	d, ok := v.(map[string]any)
	if !ok {
		return nil, errNoDocument
	}
	return d, nil
}

// upcaster brings what older versions of a kind stored about a machine to the kind's
// version. It is not for several goroutines.
type upcaster struct {
	kind *kind
	id   string

	from uint64 // the version at which path starts; 0 = there is no path yet
	path []*hop
}

// hops returns the path from a version to the kind's. It remembers the last one,
// because records in a row mostly have the same version.
func (u *upcaster) hops(from uint64) ([]*hop, error) {
	if from == u.kind.packed {
		return nil, nil
	}
	if from != u.from || u.from == 0 {
		path, err := u.kind.path(unpackVersion(from))
		if err != nil {
			return nil, err
		}
		u.from, u.path = from, path
	}
	return u.path, nil
}

// state returns the encoded state b of a version as the kind's version has it. Where
// there is nothing to do that is b itself.
func (u *upcaster) state(seq, version uint64, b []byte) ([]byte, error) {
	path, err := u.hops(version)
	if err != nil || len(path) == 0 {
		return b, err
	}
	up := make([]*Migration, 0, len(path))
	for _, h := range path {
		if h.state != nil {
			up = append(up, h.state)
		}
	}
	return u.run(seq, up, b, (*Migration).up)
}

// downcast returns the encoded state b of the kind's version as an older version has
// it.
func (u *upcaster) downcast(seq uint64, to Version, b []byte) ([]byte, error) {
	path, err := u.hops(to.pack())
	if err != nil {
		return nil, err
	}
	down := make([]*Migration, 0, len(path))
	for i := len(path) - 1; i >= 0; i-- {
		if m := path[i].state; m != nil {
			down = append(down, m)
		}
	}
	b, err = u.run(seq, down, b, (*Migration).down)
	var m *MigrationError
	if errors.As(err, &m) {
		m.From, m.To = m.To, m.From
	}
	return b, err
}

// event returns the name and the encoded event b of a version as the kind's version
// has them. The name is empty if the event was dropped.
func (u *upcaster) event(seq, version uint64, name string, b []byte) (string, []byte, error) {
	path, err := u.hops(version)
	if err != nil {
		return "", nil, err
	}
	last := renamed(path, name)
	if len(path) == 0 || last == "" {
		return last, b, nil
	}
	var up []*Migration
	for _, h := range path {
		m := h.events[name]
		if m == nil {
			continue
		}
		if m.Up != nil {
			up = append(up, m)
		}
		if m.Rename != "" {
			name = m.Rename
		}
	}
	b, err = u.run(seq, up, b, (*Migration).up)
	return last, b, err
}

// run applies Up or Down of each migration in list to the encoded document b.
func (u *upcaster) run(seq uint64, list []*Migration, b []byte, way func(*Migration, Doc) (Doc, error)) ([]byte, error) {
	if len(list) == 0 {
		return b, nil
	}
	d, err := document(b)
	for i, m := range list {
		if err == nil {
			d, err = way(m, d)
		}
		if err == nil {
			if b, err = codec.Marshal(d); err == nil && i+1 < len(list) {
				d, err = document(b) // so that the next one gets the promised types, whatever this one put in
			}
		}
		if err != nil {
			return nil, &MigrationError{Kind: u.kind.name, ID: u.id, Seq: seq, Event: m.Event, From: m.From, To: m.To, Err: err}
		}
	}
	return b, nil
}

// checkSame returns an error if migrations made two different states, a and b, of one.
func (u *upcaster) checkSame(seq, version uint64, a, b []byte) error {
	if how := differences(a, b); len(how) > 0 {
		return u.failed(seq, version, "", fmt.Errorf("it is not deterministic: %s", strings.Join(how, "; ")))
	}
	return nil
}

// failed returns the error for a state or an event that was upcast, and that the
// kind's functions refuse.
func (u *upcaster) failed(seq, version uint64, event string, err error) error {
	return &MigrationError{Kind: u.kind.name, ID: u.id, Seq: seq, Event: event, From: unpackVersion(version), To: u.kind.version, Err: err}
}

// up calls Up. A panic is an error.
func (m *Migration) up(d Doc) (_ Doc, err error) {
	defer guard("Up", &err)
	return notNil(m.Up(d))
}

// down calls Down. A panic is an error.
func (m *Migration) down(d Doc) (_ Doc, err error) {
	if m.Down == nil {
		return nil, fmt.Errorf("%w: it has no Down", ErrNoMigration)
	}
	defer guard("Down", &err)
	return notNil(m.Down(d))
}

var errNilDoc = errors.New("it returned a nil document")

func notNil(d Doc, err error) (Doc, error) {
	if err == nil && d == nil {
		err = errNilDoc
	}
	return d, err
}
