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

// Query says which records to find. A record is found if it matches every field
// that is not zero. Names and phases are compared as they were stored, without
// migrations.
type Query struct {
	Kind         string    // of the machine; it need not be registered
	ID           string    // of the machine; needs Kind
	Since, Until time.Time // Since <= time of the record <= Until
	From, To     string    // the phases before and after the record
	Name         string    // of the event
	Actor        string
	Origin       Origin
	// Correlation has no index. A query by Correlation alone reads the whole file.
	Correlation string

	Newest bool   // newest first; otherwise oldest first
	Limit  int    // how many records a page has at most; 0 = 100
	Cursor string // Page.Next of the previous page; empty = the first page
}

// defaultQueryLimit is the Limit of a query that sets none.
const defaultQueryLimit = 100

// Page is one page of what a Query found.
type Page[T any] struct {
	Records []T
	// Next is the Cursor of the next page, empty after the last one. It stays valid
	// when the file is opened again and when records are appended: no record
	// comes twice, and none is left out. Records that are appended later do not
	// appear if the query is newest first; otherwise they come last.
	Next string
	// Damaged holds an error for each record that may belong to the page and cannot
	// be read: a [*CorruptError], an error that matches [ErrNewer], or one that
	// matches [ErrBadEvent] if the kind does not list the event.
	Damaged []error
}

// Query finds durable records of all kinds, in the order of their positions. That
// is the order in which they were acknowledged; records of one machine are in the
// order of seq. Machines under [SnapshotOnly] have no records.
//
// The file has an index with a summary of every few thousand records. A query
// reads the records whose summary may match, and compares each of them. The error
// matches ErrBadCursor if the cursor belongs to another query, ErrUnsupported if
// the engine cannot search.
func (db *DB) Query(ctx context.Context, q Query) (Page[AnyRecord], error) {
	return find(ctx, db, &q, db.decodeRecord)
}

// Query finds records of the store's kind, as [DB.Query] does. Query.Kind may be
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

// recordDecoder makes the caller's record from an envelope.
type recordDecoder[T any] func(kind, id string, seq, pos uint64, env *record.Envelope) (T, error)

func find[T any](ctx context.Context, db *DB, q *Query, decode recordDecoder[T]) (Page[T], error) {
	c := pageCollector[T]{db: db, q: q, decode: decode}
	if err := c.collect(ctx); err != nil {
		return Page[T]{}, fmt.Errorf("query: %w", err)
	}
	return c.page, nil
}

// pageCollector collects one page of a query.
type pageCollector[T any] struct {
	db     *DB
	q      *Query
	decode recordDecoder[T]

	low, high int64  // bounds of the time, both inclusive
	after     cursor // where the page starts; pos 0 = at the first record
	last      cursor // the newest record of the page
	page      Page[T]
}

func (c *pageCollector[T]) collect(ctx context.Context) error {
	q := c.q
	if c.db.closed.Load() {
		return ErrClosed
	}
	switch {
	case q.Limit < 0:
		return fmt.Errorf("limit is %d: use a number above zero, or 0 for %d", q.Limit, defaultQueryLimit)
	case q.ID != "" && q.Kind == "":
		return errors.New("ID is set without Kind: set both")
	}
	orDefault(&q.Limit, defaultQueryLimit)
	c.low, c.high = math.MinInt64, math.MaxInt64
	if !q.Since.IsZero() {
		c.low = micros(q.Since)
		if stored(c.low).Before(q.Since) { // records have no part of a microsecond
			c.low++
		}
	}
	if !q.Until.IsZero() {
		c.high = micros(q.Until)
	}
	if q.Cursor != "" {
		if err := c.after.parse(q.Cursor, q.sum()); err != nil {
			return err
		}
	}
	c.last.query = q.sum()
	if q.ID != "" {
		return c.readMachine(ctx)
	}
	return c.queryEngine(ctx)
}

// queryEngine collects the page from all machines.
func (c *pageCollector[T]) queryEngine(ctx context.Context) error {
	q := c.q
	e, ok := c.db.eng.(engine.Querier)
	if !ok {
		return fmt.Errorf("%w: the engine cannot search", ErrUnsupported)
	}
	eq := engine.Query{Newest: q.Newest, MinTime: c.low, MaxTime: c.high, Name: q.Name, From: q.From, To: q.To,
		Actor: q.Actor, Origin: uint8(q.Origin)}
	if q.Newest {
		eq.Before = c.after.pos
	} else {
		eq.After = c.after.pos
	}
	if q.Kind != "" {
		n, err := c.db.kindNumber(ctx, q.Kind)
		if err != nil || n == 0 {
			return err
		}
		eq.Kind = n
	}
	return e.Query(ctx, eq, c.add)
}

// readMachine collects the page from the records of one machine.
func (c *pageCollector[T]) readMachine(ctx context.Context) error {
	q := c.q
	if err := checkID(q.ID); err != nil {
		return err
	}
	key := keyOf(q.Kind, q.ID)
	head, err := c.db.eng.Load(ctx, key, engine.LoadRange{}, nil)
	if err != nil && !errors.Is(err, engine.ErrDamaged) {
		return err
	}
	want := engine.LoadRange{Events: true, To: engine.All, Newest: q.Newest}
	if c.after.pos > 0 && c.after.number == head.Number {
		if q.Newest {
			want.To = c.after.seq - 1
		} else {
			want.After = c.after.seq
		}
	}
	c.last.number = head.Number
	_, err = c.db.eng.Load(ctx, key, want, func(it engine.Item) error {
		if it.Err == nil && c.after.pos > 0 && (it.Pos > c.after.pos) == q.Newest {
			return nil // the cursor is of an earlier machine with this id, purged since
		}
		return c.add(engine.Record{Machine: key, Seq: it.Seq, Pos: it.Pos, Bytes: it.Bytes, Err: it.Err})
	})
	if errors.Is(err, engine.ErrDamaged) { // the head
		c.addDamaged(key, err)
		err = nil
	}
	return err
}

// add adds a record to the page if it matches. It is a callback of the engine and
// returns engine.Stop when the page is full.
func (c *pageCollector[T]) add(r engine.Record) error {
	if r.Err != nil {
		c.addDamaged(r.Machine, r.Err)
		return nil
	}
	kind, id, _ := splitKey(r.Machine)
	var env record.Envelope
	err := env.Parse(r.Bytes, nil)
	if err == nil && !c.matches(kind, &env) {
		return nil
	}
	var rec T
	if err == nil {
		env.Payload = append([]byte(nil), env.Payload...)
		rec, err = c.decode(kind, id, r.Seq, r.Pos, &env)
	}
	if err != nil {
		c.addDamaged(r.Machine, corruptRecord(kind, id, r.Seq, err))
		return nil
	}
	c.page.Records = append(c.page.Records, rec)
	c.last.pos, c.last.seq = r.Pos, r.Seq
	if len(c.page.Records) < c.q.Limit {
		return nil
	}
	c.page.Next = c.last.String()
	return engine.Stop
}

// corruptRecord wraps an error of decoding a record, unless it says already what
// is wrong.
func corruptRecord(kindName, id string, seq uint64, err error) error {
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrBadEvent) {
		return err
	}
	return corrupt(&kind{name: kindName}, id, "event", seq, err)
}

func (c *pageCollector[T]) addDamaged(machine string, err error) {
	name, id, _ := splitKey(machine)
	c.page.Damaged = append(c.page.Damaged, c.db.wrapEngineError(&kind{name: name}, id, err))
}

// matches compares everything but the machine's id.
func (c *pageCollector[T]) matches(kind string, e *record.Envelope) bool {
	q := c.q
	return (q.Kind == "" || q.Kind == kind) && e.Time >= c.low && e.Time <= c.high &&
		(q.From == "" || q.From == e.From) && (q.To == "" || q.To == e.To) && (q.Name == "" || q.Name == e.Name) &&
		(q.Actor == "" || q.Actor == e.Actor) && (q.Origin == 0 || q.Origin == Origin(e.Origin)) &&
		(q.Correlation == "" || q.Correlation == e.Correlation)
}

// kindNumber returns the number of a kind, registered or not; 0 if the file does
// not know the kind.
func (db *DB) kindNumber(ctx context.Context, name string) (uint32, error) {
	if k := db.kinds.find(name); k != nil {
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

// cursor is where a page of a Query ended. Its text is Page.Next: callers may keep
// it, so later programs must be able to read it.
type cursor struct {
	query  uint32 // Query.sum of the query
	pos    uint64 // of the last record of the page
	seq    uint64 // of that record
	number uint64 // of the machine, if the query is about one
}

// cursorShape is the first byte of every cursor; another layout gets another one.
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
		return fmt.Errorf("%w: %.40q: pass the Next of a Page unchanged", ErrBadCursor, text)
	}
	if c.query = binary.BigEndian.Uint32(b[1:]); c.query != query {
		return fmt.Errorf("%w: it belongs to another query: only Limit may change between two pages", ErrBadCursor)
	}
	b = b[5:]
	for _, field := range []*uint64{&c.pos, &c.seq, &c.number} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return fmt.Errorf("%w: %.40q is cut off", ErrBadCursor, text)
		}
		*field, b = v, b[n:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %.40q has bytes after its end", ErrBadCursor, text)
	}
	return nil
}

// sum returns a checksum of what the query asks for, without Limit and Cursor.
func (q *Query) sum() uint32 {
	return crc32.Checksum(fmt.Appendf(nil, "%q %q %d %d %q %q %q %q %d %q %t", q.Kind, q.ID, q.Since.UnixNano(), q.Until.UnixNano(),
		q.From, q.To, q.Name, q.Actor, q.Origin, q.Correlation, q.Newest), crc32.MakeTable(crc32.Castagnoli))
}
