package savepoint

import (
	"fmt"
	"reflect"

	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// The library's own events.
const (
	replacedName = "_replaced" // the whole state, and why
	deletedName  = "_deleted"
	markedName   = "_marked"
)

// Reasons of a replaced record.
const (
	reasonSaved    = "saved"
	reasonRestored = "restored"
	reasonForked   = "forked"
	reasonMigrated = "migrated"
	reasonCreated  = "created" // again, after a deletion
)

// replay brings a state forward, record by record.
type replay struct {
	kind *kind
	id   string

	st    any // *State[S]
	seq   uint64
	env   record.Envelope // of the newest record
	meta  Meta
	count int

	events   codec.Decoder
	typ      *eventType // of the newest event
	rooms    []any      // of the types of events that are copied when they are applied, by place
	upcaster upcaster
}

// upcasterFor is the replay's.
func (r *replay) upcasterFor() *upcaster {
	r.upcaster.kind, r.upcaster.id = r.kind, r.id
	return &r.upcaster
}

// begin starts at the state that enc is after record seq.
func (r *replay) begin(seq uint64, enc []byte) error {
	st, err := r.kind.decode(enc)
	if err != nil {
		return fmt.Errorf("state at %d: %w", seq, err)
	}
	r.st, r.seq = st, seq
	return nil
}

// next applies the record seq, whose canonical bytes are b.
func (r *replay) next(seq uint64, b []byte) error {
	if err := r.env.Parse(b, &r.env); err != nil {
		return fmt.Errorf("record %d: %w", seq, err)
	}
	if err := r.step(seq, &r.env); err != nil {
		return fmt.Errorf("record %d (%s): %w", seq, r.env.Name, err)
	}
	r.seq = seq
	r.count++
	return nil
}

// pass takes record seq into account without applying it.
func (r *replay) pass(seq uint64, b []byte) error {
	if err := r.env.Parse(b, &r.env); err != nil {
		return fmt.Errorf("record %d: %w", seq, err)
	}
	r.seq = seq
	return nil
}

// step applies one envelope.
func (r *replay) step(seq uint64, e *record.Envelope) error {
	name, payload := e.Name, e.Payload
	switch name {
	case replacedName:
		payload, err := r.upcasterFor().state(seq, e.Version, payload)
		if err != nil {
			return err
		}
		st, err := r.kind.decode(payload)
		if err != nil {
			return err
		}
		r.st = st
		return nil
	case deletedName, markedName:
		return nil
	}
	if e.Version != r.kind.packed {
		var err error
		if name, payload, err = r.upcasterFor().event(seq, e.Version, name, payload); err != nil || name == "" {
			return err
		}
	}
	if r.typ == nil || r.typ.name != name {
		if r.typ = r.kind.types[name]; r.typ == nil {
			return fmt.Errorf("kind %q has no event %q", r.kind.name, name)
		}
	}
	ev, err := r.event(r.typ, payload)
	if err != nil {
		return err
	}
	r.meta.set(r.kind.name, r.id, seq, e)
	r.meta.To, r.meta.Name, r.meta.Upcast = r.meta.From, name, r.kind.upcasts(e.Version)
	err = r.kind.apply(ev, r.kind.value(r.st), &r.meta)
	if err != nil && r.meta.Upcast {
		err = r.upcaster.failed(seq, e.Version, name, err)
	}
	return err
}

// event decodes an event to be applied once. Where the prototype is a value,
// Apply gets a copy of it, so one room serves all events of the type: what they
// refer to is made anew for each.
func (r *replay) event(t *eventType, payload []byte) (any, error) {
	if t.typ.Kind() == reflect.Pointer {
		return t.decode(payload)
	}
	if r.rooms == nil {
		r.rooms = make([]any, len(r.kind.types))
	}
	room := r.rooms[t.place]
	if room == nil {
		room = reflect.New(t.typ).Interface()
		r.rooms[t.place] = room
	}
	if err := r.events.Unmarshal(payload, room); err != nil {
		return nil, fmt.Errorf("decode event %q: %w", t.name, err)
	}
	return room, nil
}
