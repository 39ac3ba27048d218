package savepoint

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// Query says which records to find, of all machines. A field that is zero does
// not filter; a record has to match all others. Names, phases and the rest are
// compared as they were stored, also where a migration has changed them since.
type Query struct {
	Kind         string    // only machines of this kind, registered or not
	ID           string    // only this machine; needs Kind
	Since, Until time.Time // Since <= time <= Until
	From, To     string    // the phases before and after
	Name         string    // of the event
	Actor        string
	Origin       Origin
	// Correlation is compared with every record that the other fields leave; on
	// its own it reads the whole file.
	Correlation string

	Newest bool   // newest first; else oldest first
	Limit  int    // at most so many; 0 = 100
	Cursor string // Page.Next of the page before
}

// defaultQueryLimit is the Limit of queries that have none.
const defaultQueryLimit = 100

// Page is what a Query found.
type Page[T any] struct {
	Records []T
	// Next is the Cursor for the page that follows, empty at the end. It stays
	// good over restarts, and over records that are appended meanwhile: no record
	// comes twice, none is left out. Newest first those appended since do not
	// show, oldest first they come at the end.
	Next string
	// Damaged are the errors of records that may belong to the page and cannot be
	// read: a [*CorruptError], or what matches [ErrNewer], or [ErrBadEvent] where the
	// kind does not know the event.
	Damaged []error
}

// Query finds records of all kinds, in the order of their positions. It shows
// what is durable. The order of positions is that of acknowledgement; within a
// machine it is that of seq. Machines under [SnapshotOnly] have no records.
//
// The file has an index of what its records are about, by stretches of some
// thousand records: a query reads those stretches that may have what it asks
// for, and checks the records themselves. A cursor of another query answers
// ErrBadCursor, an engine that cannot search ErrUnsupported.
func (db *DB) Query(ctx context.Context, q Query) (Page[AnyRecord], error) {
	return find(ctx, db, &q, db.shown)
}

// Query finds records of the store's kind, as [DB.Query] does. Kind may be left
// empty.
func (s *Store[S]) Query(ctx context.Context, q Query) (Page[Record[S]], error) {
	if q.Kind != "" && q.Kind != s.kind.name {
		return Page[Record[S]]{}, fmt.Errorf("query of %s: it asks for kind %.60q: leave Kind empty, or use DB.Query", s.kind.name, q.Kind)
	}
	q.Kind = s.kind.name
	return find(ctx, s.db, &q, func(_, id string, seq, pos uint64, env *record.Envelope) (Record[S], error) {
		return typed[S](&upcaster{kind: s.kind, id: id}, seq, pos, env)
	})
}

// shower makes a record of an envelope.
type shower[T any] func(kind, id string, seq, pos uint64, env *record.Envelope) (T, error)

func find[T any](ctx context.Context, db *DB, q *Query, show shower[T]) (Page[T], error) {
	f := finder[T]{db: db, q: q, show: show}
	if err := f.find(ctx); err != nil {
		return Page[T]{}, fmt.Errorf("query: %w", err)
	}
	return f.page, nil
}

// finder collects one page.
type finder[T any] struct {
	db   *DB
	q    *Query
	show shower[T]

	low, high int64  // of the time, both inclusive
	after     cursor // where the page begins; pos 0 = at the beginning
	last      cursor // where it ends
	page      Page[T]
}

func (f *finder[T]) find(ctx context.Context) error {
	q := f.q
	if f.db.closed.Load() {
		return ErrClosed
	}
	switch {
	case q.Limit < 0:
		return fmt.Errorf("limit is %d: use a number above zero, or 0 for %d", q.Limit, defaultQueryLimit)
	case q.ID != "" && q.Kind == "":
		return errors.New("an ID needs its Kind")
	}
	orDefault(&q.Limit, defaultQueryLimit)
	f.low, f.high = math.MinInt64, math.MaxInt64
	if !q.Since.IsZero() {
		f.low = micros(q.Since)
		if stored(f.low).Before(q.Since) { // records have no part of a microsecond
			f.low++
		}
	}
	if !q.Until.IsZero() {
		f.high = micros(q.Until)
	}
	if q.Cursor != "" {
		if err := f.after.parse(q.Cursor, q.sum()); err != nil {
			return err
		}
	}
	f.last.query = q.sum()
	if q.ID != "" {
		return f.ofMachine(ctx)
	}
	return f.ofAll(ctx)
}

// ofAll asks the engine.
func (f *finder[T]) ofAll(ctx context.Context) error {
	q := f.q
	e, ok := f.db.eng.(engine.Querier)
	if !ok {
		return fmt.Errorf("%w: the engine cannot search", ErrUnsupported)
	}
	eq := engine.Query{Newest: q.Newest, MinTime: f.low, MaxTime: f.high, Name: q.Name, From: q.From, To: q.To,
		Actor: q.Actor, Origin: uint8(q.Origin)}
	if q.Newest {
		eq.Before = f.after.pos
	} else {
		eq.After = f.after.pos
	}
	if q.Kind != "" {
		n, err := f.db.kindNumber(ctx, q.Kind)
		if err != nil || n == 0 {
			return err
		}
		eq.Kind = n
	}
	return e.Query(ctx, eq, f.take)
}

// ofMachine reads the machine.
func (f *finder[T]) ofMachine(ctx context.Context) error {
	q := f.q
	if err := checkID(q.ID); err != nil {
		return err
	}
	key := keyOf(q.Kind, q.ID)
	head, err := f.db.eng.Load(ctx, key, engine.LoadRange{}, nil)
	if err != nil && !errors.Is(err, engine.ErrDamaged) {
		return err
	}
	want := engine.LoadRange{Events: true, To: engine.All, Newest: q.Newest}
	if f.after.pos > 0 && f.after.number == head.Number {
		if q.Newest {
			want.To = f.after.seq - 1
		} else {
			want.After = f.after.seq
		}
	}
	f.last.number = head.Number
	_, err = f.db.eng.Load(ctx, key, want, func(it engine.Item) error {
		if it.Err == nil && f.after.pos > 0 && (it.Pos > f.after.pos) == q.Newest {
			return nil // of the machine that was purged since
		}
		return f.take(engine.Record{Machine: key, Seq: it.Seq, Pos: it.Pos, Bytes: it.Bytes, Err: it.Err})
	})
	if errors.Is(err, engine.ErrDamaged) { // the head
		f.damaged(key, err)
		err = nil
	}
	return err
}

// take looks at one record. It ends when the page is full.
func (f *finder[T]) take(r engine.Record) error {
	if r.Err != nil {
		f.damaged(r.Machine, r.Err)
		return nil
	}
	kind, id, _ := splitKey(r.Machine)
	var env record.Envelope
	err := env.Parse(r.Bytes, nil)
	if err == nil && !f.matches(kind, &env) {
		return nil
	}
	var rec T
	if err == nil {
		env.Payload = append([]byte(nil), env.Payload...)
		rec, err = f.show(kind, id, r.Seq, r.Pos, &env)
	}
	if err != nil {
		f.damaged(r.Machine, corruptRecord(kind, id, r.Seq, err))
		return nil
	}
	f.page.Records = append(f.page.Records, rec)
	f.last.pos, f.last.seq = r.Pos, r.Seq
	if len(f.page.Records) < f.q.Limit {
		return nil
	}
	f.page.Next = f.last.String()
	return engine.Stop
}

// corruptRecord wraps what is not said to be damage yet.
func corruptRecord(kindName, id string, seq uint64, err error) error {
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrBadEvent) {
		return err
	}
	return corrupt(&kind{name: kindName}, id, "event", seq, err)
}

func (f *finder[T]) damaged(machine string, err error) {
	name, id, _ := splitKey(machine)
	f.page.Damaged = append(f.page.Damaged, f.db.wrapEngineError(&kind{name: name}, id, err))
}

// matches compares all but the machine.
func (f *finder[T]) matches(kind string, e *record.Envelope) bool {
	q := f.q
	return (q.Kind == "" || q.Kind == kind) && e.Time >= f.low && e.Time <= f.high &&
		(q.From == "" || q.From == e.From) && (q.To == "" || q.To == e.To) && (q.Name == "" || q.Name == e.Name) &&
		(q.Actor == "" || q.Actor == e.Actor) && (q.Origin == 0 || q.Origin == Origin(e.Origin)) &&
		(q.Correlation == "" || q.Correlation == e.Correlation)
}

// kindNumber is the number of a kind, registered or not; 0 if the file does not
// know it.
func (db *DB) kindNumber(ctx context.Context, name string) (uint32, error) {
	if k := db.kind(name); k != nil {
		return k.number, nil
	}
	b, err := db.eng.Note(ctx, kindNoteName(name))
	if err != nil || b == nil {
		return 0, err
	}
	var n kindNote
	if err := codec.Unmarshal(b, &n); err != nil {
		return 0, fmt.Errorf("%w: the note of kind %.60q: %w", ErrCorrupt, name, err)
	}
	return n.Number, nil
}

// cursor is where a page of a Query ended. Its text says so, and which query it
// belongs to; that of older programs stays readable.
type cursor struct {
	query  uint32 // the sum of what was asked
	pos    uint64 // of the last record of the page
	seq    uint64 // and its seq
	number uint64 // of its machine, where the query is about one
}

const cursorShape = 1

func (c *cursor) String() string {
	b := binary.BigEndian.AppendUint32([]byte{cursorShape}, c.query)
	for _, n := range []uint64{c.pos, c.seq, c.number} {
		b = binary.AppendUvarint(b, n)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (c *cursor) parse(text string, query uint32) error {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 8 || b[0] != cursorShape {
		return fmt.Errorf("%w: %.40q: pass what Page.Next was", ErrBadCursor, text)
	}
	if c.query = binary.BigEndian.Uint32(b[1:]); c.query != query {
		return fmt.Errorf("%w: it belongs to another query: ask the same again, only Limit may change", ErrBadCursor)
	}
	b = b[5:]
	for _, n := range []*uint64{&c.pos, &c.seq, &c.number} {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			return fmt.Errorf("%w: %.40q is cut off", ErrBadCursor, text)
		}
		*n, b = v, b[k:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %.40q goes on behind its end", ErrBadCursor, text)
	}
	return nil
}

// sum tells queries apart by what they ask, not by Limit and Cursor.
func (q *Query) sum() uint32 {
	return crc32.Checksum(fmt.Appendf(nil, "%q %q %d %d %q %q %q %q %d %q %t", q.Kind, q.ID, q.Since.UnixNano(), q.Until.UnixNano(),
		q.From, q.To, q.Name, q.Actor, q.Origin, q.Correlation, q.Newest), crc32.MakeTable(crc32.Castagnoli))
}
