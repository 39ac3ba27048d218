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

// Record is an event with its Meta. The event is as it was stored or, if
// Meta.Upcast is set, as migrations have made it of an older version. The
// library's own events are [*Replaced] and [*Unchanged].
type Record[S any] struct {
	Meta
	Event Event[S] // in the prototype's form; it belongs to the caller
}

// Replaced is the library's event that holds a whole state: one that was saved,
// restored, forked, migrated or created. Meta.Reason says which.
type Replaced[S any] struct{ State S }

// Apply replaces the state by the one that the event holds.
func (r *Replaced[S]) Apply(s *S, _ Meta) error { *s = r.State; return nil }

// Unchanged is the library's event that changes no state. Meta.Name says what it
// is: "_deleted" is a deletion; "_marked" is an error mark, see [Store.Mark], with
// the record in Meta.Marked and the text in Meta.Error; any other name is the one
// under which an event was stored that a migration dropped.
type Unchanged[S any] struct{}

// Apply changes nothing. An event after a deletion is applied to a new state.
func (*Unchanged[S]) Apply(*S, Meta) error { return nil }

// EventRange says which records of a machine to read. The zero value means all
// records, oldest first.
type EventRange struct {
	After  uint64 // only records with a greater seq
	To     uint64 // only records up to and including this seq; 0 = no bound
	Newest bool   // newest first
	Limit  int    // how many records at most; 0 = no limit
}

// Events returns the machine's records, at least those written before the call.
// Records before the base of the log are left out. No lock is held while the
// loop's body runs.
//
// Two kinds of errors come with the Meta of a record, and the reading goes on
// after them: a *GapError for records that are damaged or that a recovery gave up,
// and the error of a single record that this program cannot read, for example
// ErrNewer or a *MigrationError. Any other error ends the reading: it matches
// ErrNotFound if there is no machine.
func (s *Store[S]) Events(ctx context.Context, id string, r EventRange) iter.Seq2[Record[S], error] {
	return func(yield func(Record[S], error) bool) {
		m, err := s.db.awaitDurable(ctx, s.kind, id)
		if err != nil {
			yield(Record[S]{}, fmt.Errorf("events of %s %.60q: %w", s.kind.name, id, err))
			return
		}
		log := logReader{db: s.db, kind: s.kind, machine: m, want: r, upcaster: upcaster{kind: s.kind, id: id}}
		for {
			entries, more, err := log.page(ctx)
			for i := range entries {
				rec, err := entry[S](&log, &entries[i])
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

// entry returns a log entry as the caller's record, or its gap as the error.
func entry[S any](r *logReader, e *logEntry) (Record[S], error) {
	if e.gap != nil {
		return Record[S]{Meta: Meta{Kind: r.kind.name, ID: r.machine.id, Seq: e.gap.From}}, e.gap
	}
	rec, err := typed[S](&r.upcaster, e.seq, e.pos, &e.env)
	rec.Took = e.sincePrevious
	return rec, err
}

// typed returns the record of an envelope with an event of the kind's types, upcast
// if need be.
func typed[S any](u *upcaster, seq, pos uint64, env *record.Envelope) (rec Record[S], err error) {
	k, id := u.kind, u.id
	rec.Meta = metaOf(k, id, seq, pos, env)
	defer guard("the decoding of a record", &err)
	switch env.Name {
	case replacedName:
		b, err := u.state(seq, env.Version, env.Payload)
		if err != nil {
			return rec, corrupt(k, id, "event", seq, err)
		}
		st, err := k.decode(b)
		if err != nil {
			return rec, corrupt(k, id, "event", seq, err)
		}
		rec.Event = &Replaced[S]{State: st.(*State[S]).Value}
	case deletedName, markedName:
		rec.Event = &Unchanged[S]{}
	default:
		name, b, err := u.event(seq, env.Version, env.Name, env.Payload)
		if err != nil {
			return rec, corrupt(k, id, "event", seq, err)
		}
		if name == "" {
			rec.Event = &Unchanged[S]{}
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

// eventsPage is how many records one load copies.
const eventsPage = 512

// logReader reads a machine's records page by page, in one direction. Every seq after
// the base is in a record or in a gap that it returns: none is left out.
type logReader struct {
	db       *DB
	kind     *kind
	machine  *machine // only its key and id are used
	want     EventRange
	upcaster upcaster

	begun    bool        // the fields below are set
	number   uint64      // of the machine
	head     record.Head // its base is raised when a compaction is seen
	damage   error       // of the head; the newest record is unknown then
	low, top uint64      // every seq in (low, top] must be there
	next     uint64      // the seq expected next, in the direction of reading
	returned int         // how many records; gaps do not count
	previous *logEntry   // the record returned last; nil after a gap
}

// logEntry is one record, or a gap.
type logEntry struct {
	seq, pos      uint64
	env           record.Envelope
	sincePrevious time.Duration
	gap           *GapError
}

// begin reads the head and sets the bounds.
func (r *logReader) begin(ctx context.Context) error {
	head, err := r.db.eng.Load(ctx, r.machine.key, engine.LoadRange{}, nil)
	if err != nil && !errors.Is(err, engine.ErrDamaged) {
		return err
	}
	if err == nil {
		if head.Number == 0 {
			return notFoundError(newMachine(r.kind, r.machine.id))
		}
		err = r.head.Parse(head.Bytes, r.machine.key)
	}
	r.begun, r.number = true, head.Number
	r.top = r.want.To
	if r.top == 0 {
		r.top = engine.All
	}
	if err == nil {
		r.top = min(r.top, head.Seq)
	} else {
		r.damage = &CorruptError{Kind: r.kind.name, ID: r.machine.id, Part: "head", Seq: head.Seq, Why: err}
		r.head.Base = engine.All // no record is known to be missing
	}
	r.low = max(r.want.After, r.head.Base)
	r.next = r.want.After + 1
	if r.want.Newest {
		r.next = r.top
	}
	return nil
}

// page returns the next entries. more reports whether there may be further ones.
func (r *logReader) page(ctx context.Context) (out []logEntry, more bool, err error) {
	if r.db.closed.Load() {
		return nil, false, ErrClosed
	}
	if !r.begun {
		if err := r.begin(ctx); err != nil {
			return nil, false, err
		}
	}
	if r.full() || r.top <= r.want.After {
		return nil, false, nil
	}
	want := engine.LoadRange{Events: true, After: r.want.After, To: r.top, Newest: r.want.Newest}
	if r.want.Newest {
		want.To = r.next
	} else {
		want.After = r.next - 1
	}
	n := 0
	head, err := r.db.eng.Load(ctx, r.machine.key, want, func(it engine.Item) error {
		if n++; n > eventsPage || r.full() {
			more = !r.full()
			return engine.Stop
		}
		out = r.add(out, it)
		return nil
	})
	if errors.Is(err, engine.ErrDamaged) {
		err = nil // the head is; r.damage is returned at the end
	}
	if errors.Is(err, engine.ErrChanged) { // the records added are right; the next page reads the rest
		err, more = nil, true
	}
	if err == nil && !more && !r.full() {
		if r.want.Newest {
			out = r.addMissing(out, r.low+1, r.next)
		} else {
			out = r.addMissing(out, r.next, r.top)
		}
		err = r.damage
	}
	if slices.ContainsFunc(out, isMissing) {
		out = r.dropCompacted(head, out)
	}
	return out, more, err
}

// isMissing reports whether an entry is a gap of records that must be there and are
// not.
func isMissing(e logEntry) bool { return e.gap != nil && e.gap.Why == errNotThere }

// dropCompacted removes from the gaps of a page what a compaction has removed. at is
// the head that the page's load returned: the records of a later moment may be
// others, since an archive may put them back.
func (r *logReader) dropCompacted(at engine.Head, out []logEntry) []logEntry {
	var h record.Head
	if h.Parse(at.Bytes, r.machine.key) != nil || h.Base <= r.head.Base {
		return out
	}
	r.head.Base = h.Base
	r.low = max(r.low, h.Base)
	return slices.DeleteFunc(out, func(e logEntry) bool {
		if !isMissing(e) || e.gap.From > h.Base {
			return false
		}
		e.gap.From = h.Base + 1 // the entry shares it
		return e.gap.From > e.gap.To
	})
}

// full reports whether the limit is reached.
func (r *logReader) full() bool { return r.want.Limit > 0 && r.returned >= r.want.Limit }

// add appends an item, and before it a gap for what is missing since the last one.
func (r *logReader) add(out []logEntry, it engine.Item) []logEntry {
	e := logEntry{seq: it.Seq, pos: it.Pos}
	err, last := it.Err, it.Seq
	if err == nil {
		err = e.env.Parse(append([]byte(nil), it.Bytes...), nil)
	} else {
		last = min(max(it.Seq, it.Last), r.top)
	}
	if r.want.Newest {
		out = r.addMissing(out, last+1, r.next)
		r.next = it.Seq - 1
	} else {
		out = r.addMissing(out, r.next, it.Seq-1)
		r.next = last + 1
	}
	if gap, ok := r.gapAround(it.Seq); ok {
		return r.addGap(out, gap.From, gap.To, nil)
	}
	if err != nil {
		return r.addGap(out, it.Seq, last, err)
	}
	if r.want.Newest {
		if len(out) > 0 && out[len(out)-1].gap == nil && out[len(out)-1].seq == it.Seq+1 {
			out[len(out)-1].sincePrevious = between(&e, &out[len(out)-1])
		}
	} else if r.previous != nil && r.previous.seq+1 == it.Seq {
		e.sincePrevious = between(r.previous, &e)
	}
	r.previous = &logEntry{seq: e.seq, env: record.Envelope{Time: e.env.Time}}
	r.returned++
	return append(out, e)
}

// between returns the time from record a to record b, 0 if the clock was set back.
func between(a, b *logEntry) time.Duration {
	return max(0, time.Duration(b.env.Time-a.env.Time)*time.Microsecond)
}

// addMissing appends a gap for the records from to to, if they must be there.
func (r *logReader) addMissing(out []logEntry, from, to uint64) []logEntry {
	from = max(from, r.low+1)
	if to == engine.All || from > to {
		return out
	}
	if gap, ok := r.gapAround(from); ok {
		return r.addGap(out, gap.From, gap.To, nil)
	}
	return r.addGap(out, from, to, errNotThere)
}

var errNotThere = errors.New("the records are missing")

// addGap appends a gap, unless it is there already. Damage next to damage becomes one
// gap. A nil why is a gap that a recovery left.
func (r *logReader) addGap(out []logEntry, from, to uint64, why error) []logEntry {
	r.previous = nil
	from, to = max(from, r.want.After+1), min(to, r.top)
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

// gapAround returns the gap that a recovery left around seq, if there is one.
func (r *logReader) gapAround(seq uint64) (record.Gap, bool) {
	for _, g := range r.head.Gaps {
		if seq >= g.From && seq <= g.To {
			return g, true
		}
	}
	return record.Gap{}, false
}
