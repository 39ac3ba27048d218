package savepoint

import (
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/internal/codec"
)

// StructMigration makes the Up or the Down of a [Migration] from a function of structs: the
// state, or the event, as it was and as it is to be. Keep the old struct in the
// program, under another name, as long as there are files with it. A field of
// the document that Old does not have is an error: it would be lost.
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

// droppedFields names a field of a document that another one lacks.
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

// document reads encoded fields.
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

// upcaster brings what older versions of a kind stored about a machine to the
// version of now.
type upcaster struct {
	kind *kind
	id   string

	from uint64 // where path begins; 0 = it is not known yet
	path []*hop
}

// hops are the way from a version.
func (l *upcaster) hops(from uint64) ([]*hop, error) {
	if from == l.kind.packed {
		return nil, nil
	}
	if from != l.from || l.from == 0 {
		path, err := l.kind.path(unpackVersion(from))
		if err != nil {
			return nil, err
		}
		l.from, l.path = from, path
	}
	return l.path, nil
}

// state is the encoded state that a version stored, as the kind's version has
// it. Where nothing has to be done it is b itself.
func (l *upcaster) state(seq, version uint64, b []byte) ([]byte, error) {
	legs, err := l.hops(version)
	if err != nil || len(legs) == 0 {
		return b, err
	}
	up := make([]*Migration, 0, len(legs))
	for _, leg := range legs {
		if leg.state != nil {
			up = append(up, leg.state)
		}
	}
	return l.run(seq, up, b, (*Migration).up)
}

// lower is the way back: an encoded state of the kind's version as an older one
// has it.
func (l *upcaster) lower(seq uint64, to Version, b []byte) ([]byte, error) {
	legs, err := l.hops(to.pack())
	if err != nil {
		return nil, err
	}
	down := make([]*Migration, 0, len(legs))
	for i := len(legs) - 1; i >= 0; i-- {
		if m := legs[i].state; m != nil {
			down = append(down, m)
		}
	}
	b, err = l.run(seq, down, b, (*Migration).down)
	var m *MigrationError
	if errors.As(err, &m) {
		m.From, m.To = m.To, m.From
	}
	return b, err
}

// event is an event that a version stored, and its name, as the kind's version
// has them. The name is empty where it was dropped.
func (l *upcaster) event(seq, version uint64, name string, b []byte) (string, []byte, error) {
	legs, err := l.hops(version)
	if err != nil {
		return "", nil, err
	}
	last := renamed(legs, name)
	if len(legs) == 0 || last == "" {
		return last, b, nil
	}
	var up []*Migration
	for _, leg := range legs {
		m := leg.events[name]
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
	b, err = l.run(seq, up, b, (*Migration).up)
	return last, b, err
}

// run takes encoded fields through migrations, one after the other.
func (l *upcaster) run(seq uint64, list []*Migration, b []byte, way func(*Migration, Doc) (Doc, error)) ([]byte, error) {
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
				d, err = document(b) // whatever types it put in
			}
		}
		if err != nil {
			return nil, &MigrationError{Kind: l.kind.name, ID: l.id, Seq: seq, Event: m.Event, From: m.From, To: m.To, Err: err}
		}
	}
	return b, nil
}

// failed says that what was lifted is not what the kind's functions take.
func (l *upcaster) failed(seq, version uint64, event string, err error) error {
	return &MigrationError{Kind: l.kind.name, ID: l.id, Seq: seq, Event: event, From: unpackVersion(version), To: l.kind.version, Err: err}
}

func (m *Migration) up(d Doc) (_ Doc, err error) {
	defer guard("Up", &err)
	return ownDoc(m.Up(d))
}

func (m *Migration) down(d Doc) (_ Doc, err error) {
	if m.Down == nil {
		return nil, fmt.Errorf("%w: it has no Down", ErrNoMigration)
	}
	defer guard("Down", &err)
	return ownDoc(m.Down(d))
}

var errNilDoc = errors.New("it gave no document")

func ownDoc(d Doc, err error) (Doc, error) {
	if err == nil && d == nil {
		err = errNilDoc
	}
	return d, err
}
