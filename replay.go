package savepoint

import (
	"fmt"
	"reflect"

	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// The library's own events.
const (
	replacedName = "_replaced" // holds the whole state; Envelope.Reason says why
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

// replay applies records to a state, one after the other. Its methods do not check
// that seqs are consecutive: their callers do.
type replay struct {
	kind *kind
	id   string

	st   any             // *State[S], after record seq
	seq  uint64          // the newest record that was applied or skipped
	env  record.Envelope // of that record
	meta Meta            // what Apply got with it

	events   codec.Decoder
	typ      *eventType // of the newest event
	scratch  []any      // what events are decoded into, by the place of their type
	upcaster upcaster
}

// upcasterFor returns the upcaster of the replay's machine.
func (r *replay) upcasterFor() *upcaster {
	r.upcaster.kind, r.upcaster.id = r.kind, r.id
	return &r.upcaster
}

// begin sets the state to what enc encodes, the state after record seq.
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
	if err := r.apply(seq, &r.env); err != nil {
		return fmt.Errorf("record %d (%s): %w", seq, r.env.Name, err)
	}
	r.seq = seq
	return nil
}

// skip reads record seq without applying it.
func (r *replay) skip(seq uint64, b []byte) error {
	if err := r.env.Parse(b, &r.env); err != nil {
		return fmt.Errorf("record %d: %w", seq, err)
	}
	r.seq = seq
	return nil
}

// apply applies the envelope of record seq.
func (r *replay) apply(seq uint64, e *record.Envelope) error {
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

// event decodes an event that will be applied once. Where the prototype is a value,
// Apply gets a copy of the event, so one scratch value serves all events of a
// type. The decoder allocates new maps, slices and pointers for each event.
func (r *replay) event(t *eventType, payload []byte) (any, error) {
	if t.typ.Kind() == reflect.Pointer {
		return t.decode(payload)
	}
	if r.scratch == nil {
		r.scratch = make([]any, len(r.kind.types))
	}
	ev := r.scratch[t.place]
	if ev == nil {
		ev = reflect.New(t.typ).Interface()
		r.scratch[t.place] = ev
	}
	if err := r.events.Unmarshal(payload, ev); err != nil {
		return nil, fmt.Errorf("decode event %q: %w", t.name, err)
	}
	return ev, nil
}
