package savepoint

import (
	"context"
	"fmt"
	"iter"

	"github.com/liap-tui/savepoint/internal/record"
)

// Record is an event as it was stored, or, where Meta.Lifted is set, as the
// kind's version has it. The library's own are [*Replaced], [*Deleted],
// [*Marked] and [*Dropped].
type Record[S any] struct {
	Meta
	Event Event[S] // in the prototype's form, the caller's own
}

// Replaced is the library's event behind saved, restored, forked, migrated and
// created states; Meta.Reason says which.
type Replaced[S any] struct{ State S }

// Apply puts the whole state in the place of the other.
func (r *Replaced[S]) Apply(s *S, _ Meta) error { *s = r.State; return nil }

// Deleted is the library's event of a deletion.
type Deleted[S any] struct{}

// Apply changes nothing: a later event begins with a new state.
func (*Deleted[S]) Apply(*S, Meta) error { return nil }

// Marked is the library's event of an error mark: Meta.Marked and Meta.Error
// say where and what.
type Marked[S any] struct{}

// Apply changes nothing.
func (*Marked[S]) Apply(*S, Meta) error { return nil }

// Dropped stands for an event that a migration dropped. Meta.Name is the name it
// had.
type Dropped[S any] struct{}

// Apply changes nothing.
func (*Dropped[S]) Apply(*S, Meta) error { return nil }

// Range says which records of a machine to read. The zero value means all,
// oldest first.
type Range struct {
	After  uint64 // only records with a greater seq
	To     uint64 // only records up to and including this seq; 0 = all
	Newest bool   // newest first
	Limit  int    // at most so many; 0 = all
}

// Events reads the machine's records. It shows what was written before the
// call. Records that are damaged, or that a recovery gave up, come as a
// *GapError with the range, and the reading goes on behind them; any other
// error ends it.
func (s *Store[S]) Events(ctx context.Context, id string, r Range) iter.Seq2[Record[S], error] {
	return func(yield func(Record[S], error) bool) {
		m, err := s.db.settle(ctx, s.kind, id)
		if err != nil {
			yield(Record[S]{}, fmt.Errorf("events of %s %.60q: %w", s.kind.name, id, err))
			return
		}
		w := walk{db: s.db, kind: s.kind, machine: m, r: r, lift: lifter{kind: s.kind, id: id}}
		for {
			entries, more, err := w.page(ctx)
			for i := range entries {
				rec, err := entry[S](&w, &entries[i])
				if !yield(rec, err) {
					return
				}
			}
			if err != nil {
				yield(Record[S]{}, fmt.Errorf("events of %s %.60q: %w", s.kind.name, id, s.db.explain(s.kind, id, err)))
				return
			}
			if !more {
				return
			}
		}
	}
}

// entry is one record in its typed form.
func entry[S any](w *walk, e *walked) (Record[S], error) {
	if e.gap != nil {
		return Record[S]{Meta: Meta{Kind: w.kind.name, ID: w.machine.id, Seq: e.gap.From}}, e.gap
	}
	rec, err := typed[S](&w.lift, e.seq, e.pos, &e.env)
	rec.Took = e.took
	return rec, err
}

// typed is the record of an envelope in its typed form.
func typed[S any](l *lifter, seq, pos uint64, env *record.Envelope) (rec Record[S], err error) {
	k, id := l.kind, l.id
	rec.Meta = metaOf(k, id, seq, pos, env)
	defer guard("the decoding of a record", &err)
	switch env.Name {
	case replacedName:
		b, err := l.state(seq, env.Version, env.Payload)
		if err != nil {
			return rec, corrupt(k, id, "event", seq, err)
		}
		st, err := k.decode(b)
		if err != nil {
			return rec, corrupt(k, id, "event", seq, err)
		}
		rec.Event = &Replaced[S]{State: st.(*State[S]).Value}
	case deletedName:
		rec.Event = &Deleted[S]{}
	case markedName:
		rec.Event = &Marked[S]{}
	default:
		name, b, err := l.event(seq, env.Version, env.Name, env.Payload)
		if err != nil {
			return rec, corrupt(k, id, "event", seq, err)
		}
		if name == "" {
			rec.Event = &Dropped[S]{}
			return rec, nil
		}
		rec.Name = name
		t := k.types[name]
		if t == nil {
			return rec, fmt.Errorf("%w: record %d: kind %q has no event %q", ErrBadEvent, seq, k.name, name)
		}
		ev, err := t.decode(b)
		if err != nil {
			return rec, corrupt(k, id, "event", seq, err)
		}
		rec.Event = ev.(Event[S])
	}
	return rec, nil
}
