package savepoint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/engine"
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

// EventRange says which records of a machine to read. The zero value means all,
// oldest first.
type EventRange struct {
	After  uint64 // only records with a greater seq
	To     uint64 // only records up to and including this seq; 0 = all
	Newest bool   // newest first
	Limit  int    // at most so many; 0 = all
}

// Events reads the machine's records. It shows what was written before the
// call. Records that are damaged, or that a recovery gave up, come as a
// *GapError with the range, and the reading goes on behind them; any other
// error ends it.
func (s *Store[S]) Events(ctx context.Context, id string, r EventRange) iter.Seq2[Record[S], error] {
	return func(yield func(Record[S], error) bool) {
		m, err := s.db.awaitDurable(ctx, s.kind, id)
		if err != nil {
			yield(Record[S]{}, fmt.Errorf("events of %s %.60q: %w", s.kind.name, id, err))
			return
		}
		w := logReader{db: s.db, kind: s.kind, machine: m, r: r, upcaster: upcaster{kind: s.kind, id: id}}
		for {
			entries, more, err := w.page(ctx)
			for i := range entries {
				rec, err := entry[S](&w, &entries[i])
				if !yield(rec, err) {
					return
				}
			}
			if err != nil {
				yield(Record[S]{}, fmt.Errorf("events of %s %.60q: %w", s.kind.name, id, s.db.wrapEngineError(s.kind, id, err)))
				return
			}
			if !more {
				return
			}
		}
	}
}

// entry is one record in its typed form.
func entry[S any](w *logReader, e *logEntry) (Record[S], error) {
	if e.gap != nil {
		return Record[S]{Meta: Meta{Kind: w.kind.name, ID: w.machine.id, Seq: e.gap.From}}, e.gap
	}
	rec, err := typed[S](&w.upcaster, e.seq, e.pos, &e.env)
	rec.Took = e.sincePrevious
	return rec, err
}

// typed is the record of an envelope in its typed form.
func typed[S any](l *upcaster, seq, pos uint64, env *record.Envelope) (rec Record[S], err error) {
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

// eventsPage is how many records one look at the engine copies.
const eventsPage = 512

// logReader reads a machine's records page by page, in one direction. What it cannot
// show it names: every seq behind the base comes as a record or within a gap.
type logReader struct {
	db       *DB
	kind     *kind
	machine  *machine // only its key and id
	r        EventRange
	upcaster upcaster

	begun  bool
	number uint64 // of the machine
	head   record.Head
	damage error  // of the head: what is newest is unknown
	low    uint64 // every seq above it, up to top, has to be there
	top    uint64
	next   uint64 // the seq expected next, in the walk's direction
	given  int
	before *logEntry // the record shown last
}

// logEntry is one record, or a gap.
type logEntry struct {
	seq, pos      uint64
	env           record.Envelope
	sincePrevious time.Duration
	gap           *GapError
}

// begin reads the head.
func (w *logReader) begin(ctx context.Context) error {
	head, err := w.db.eng.Load(ctx, w.machine.key, engine.LoadRange{}, nil)
	if err != nil && !errors.Is(err, engine.ErrDamaged) {
		return err
	}
	if err == nil {
		if head.Number == 0 {
			return notFoundError(newMachine(w.kind, w.machine.id))
		}
		err = w.head.Parse(head.Bytes, w.machine.key)
	}
	w.begun, w.number = true, head.Number
	w.top = w.r.To
	if w.top == 0 {
		w.top = engine.All
	}
	if err == nil {
		w.top = min(w.top, head.Seq)
	} else {
		w.damage = &CorruptError{Kind: w.kind.name, ID: w.machine.id, Part: "head", Seq: head.Seq, Why: err}
		w.head.Base = engine.All // nothing is known of what has to be there
	}
	w.low = max(w.r.After, w.head.Base)
	w.next = w.r.After + 1
	if w.r.Newest {
		w.next = w.top
	}
	return nil
}

// page gives the next records; more says that there may be further ones.
func (w *logReader) page(ctx context.Context) (out []logEntry, more bool, err error) {
	if w.db.closed.Load() {
		return nil, false, ErrClosed
	}
	if !w.begun {
		if err := w.begin(ctx); err != nil {
			return nil, false, err
		}
	}
	if w.full() || w.top <= w.r.After {
		return nil, false, nil
	}
	want := engine.LoadRange{Events: true, After: w.r.After, To: w.top, Newest: w.r.Newest}
	if w.r.Newest {
		want.To = w.next
	} else {
		want.After = w.next - 1
	}
	n := 0
	head, err := w.db.eng.Load(ctx, w.machine.key, want, func(it engine.Item) error {
		if n++; n > eventsPage || w.full() {
			more = !w.full()
			return engine.Stop
		}
		out = w.take(out, it)
		return nil
	})
	if errors.Is(err, engine.ErrDamaged) {
		err = nil // of the head; it is told at the end
	}
	if errors.Is(err, engine.ErrChanged) { // what was taken is right; the rest is looked at anew
		err, more = nil, true
	}
	if err == nil && !more && !w.full() {
		if w.r.Newest {
			out = w.lost(out, w.low+1, w.next)
		} else {
			out = w.lost(out, w.next, w.top)
		}
		err = w.damage
	}
	if slices.ContainsFunc(out, missed) {
		out = w.cut(head, out)
	}
	return out, more, err
}

// missed says that records are not where they have to be.
func missed(e logEntry) bool { return e.gap != nil && e.gap.Why == errNotThere }

// cut takes out of the gaps what a compaction had removed by the moment of the
// page, which is that of its head: a moment later it may be there again.
func (w *logReader) cut(at engine.Head, out []logEntry) []logEntry {
	var h record.Head
	if h.Parse(at.Bytes, w.machine.key) != nil || h.Base <= w.head.Base {
		return out
	}
	w.head.Base = h.Base
	w.low = max(w.low, h.Base)
	return slices.DeleteFunc(out, func(e logEntry) bool {
		if !missed(e) || e.gap.From > h.Base {
			return false
		}
		e.gap.From = h.Base + 1 // the entry shares it
		return e.gap.From > e.gap.To
	})
}

func (w *logReader) full() bool { return w.r.Limit > 0 && w.given >= w.r.Limit }

// take adds an item, and before it what is missing between it and the last.
func (w *logReader) take(out []logEntry, it engine.Item) []logEntry {
	e := logEntry{seq: it.Seq, pos: it.Pos}
	err, last := it.Err, it.Seq
	if err == nil {
		err = e.env.Parse(append([]byte(nil), it.Bytes...), nil)
	} else {
		last = min(max(it.Seq, it.Last), w.top)
	}
	if w.r.Newest {
		out = w.lost(out, last+1, w.next)
		w.next = it.Seq - 1
	} else {
		out = w.lost(out, w.next, it.Seq-1)
		w.next = last + 1
	}
	if given, up := w.givenUp(it.Seq); up {
		return w.gap(out, given.From, given.To, nil)
	}
	if err != nil {
		return w.gap(out, it.Seq, last, err)
	}
	if w.r.Newest {
		if len(out) > 0 && out[len(out)-1].gap == nil && out[len(out)-1].seq == it.Seq+1 {
			out[len(out)-1].sincePrevious = between(&e, &out[len(out)-1])
		}
	} else if w.before != nil && w.before.seq+1 == it.Seq {
		e.sincePrevious = between(w.before, &e)
	}
	w.before = &logEntry{seq: e.seq, env: record.Envelope{Time: e.env.Time}}
	w.given++
	return append(out, e)
}

func between(a, b *logEntry) time.Duration {
	return max(0, time.Duration(b.env.Time-a.env.Time)*time.Microsecond)
}

// lost names the records from to to, if they have to be there.
func (w *logReader) lost(out []logEntry, from, to uint64) []logEntry {
	from = max(from, w.low+1)
	if to == engine.All || from > to {
		return out
	}
	if given, up := w.givenUp(from); up {
		return w.gap(out, given.From, given.To, nil)
	}
	return w.gap(out, from, to, errNotThere)
}

var errNotThere = errors.New("the records are not there")

// gap adds a gap once, and joins damage that goes on.
func (w *logReader) gap(out []logEntry, from, to uint64, why error) []logEntry {
	w.before = nil
	from, to = max(from, w.r.After+1), min(to, w.top)
	if n := len(out); n > 0 && out[n-1].gap != nil {
		g := out[n-1].gap
		if why == nil && g.Why == nil && g.From == from && g.To == to {
			return out
		}
		if why != nil && g.Why != nil && (g.To+1 == from || to+1 == g.From) {
			g.From, g.To = min(g.From, from), max(g.To, to)
			return out
		}
	}
	return append(out, logEntry{seq: from, gap: &GapError{From: from, To: to, Why: why}})
}

// givenUp finds the gap that a recovery left around seq.
func (w *logReader) givenUp(seq uint64) (record.Gap, bool) {
	for _, g := range w.head.Gaps {
		if seq >= g.From && seq <= g.To {
			return g, true
		}
	}
	return record.Gap{}, false
}
