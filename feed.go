package savepoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// AnyRecord is a record of any kind. Where its kind is registered, Event is what
// [Record] of that kind has: an event in the prototype's form, *Replaced[S],
// *Deleted[S], *Marked[S] or *Dropped[S]. Else, and where its type cannot take
// it, it is the document that was stored, a [Doc] if that has fields.
type AnyRecord struct {
	Meta
	Event any
}

// Feed gives the records of all machines in the order of their positions, those
// behind from, and then those that come: it ends with ctx, with ErrClosed when
// the database is closed, or, after a failure of the disk, with an error that
// matches ErrStopped. Only what is durable is shown. To go on later, also after
// a restart, pass the Pos of the last record seen; 0 is the beginning.
//
// Positions ascend, but they are not consecutive: machines under [SnapshotOnly]
// use some up without a record, and records of machines that were purged are
// passed over in silence, also those that have been purged since. Where records
// behind from were lost by a compaction, a single error that matches
// ErrCompacted tells so before the first record behind them, with the Meta of
// the first one lost: what is built from the feed has to be built anew from
// states. A damaged record comes as a *CorruptError. Both times the feed goes on
// if the caller does.
//
// While the loop's body runs, the feed holds neither a lock nor a transaction:
// a slow one holds nobody back, and it may use the database.
func (db *DB) Feed(ctx context.Context, from uint64) iter.Seq2[AnyRecord, error] {
	return func(yield func(AnyRecord, error) bool) {
		if err := db.feed(ctx, from, yield); !errors.Is(err, engine.Stop) {
			yield(AnyRecord{}, fmt.Errorf("feed from position %d: %w", from, err))
		}
	}
}

// feed yields until something ends it; [engine.Stop] is the caller.
func (db *DB) feed(ctx context.Context, at uint64, yield func(AnyRecord, error) bool) error {
	f, ok := db.eng.(engine.Feeder)
	if !ok {
		return fmt.Errorf("%w: the engine does not know the order of records", ErrUnsupported)
	}
	r := feedReader{db: db, engine: f, at: at}
	for {
		if err := r.next(ctx, yield); err != nil {
			return err
		}
	}
}

// feedReader is one Feed.
type feedReader struct {
	db     *DB
	engine engine.Feeder
	at     uint64
	warned bool // that records were lost
	page   recordPage
}

// next yields a page, or waits where there is none.
func (r *feedReader) next(ctx context.Context, yield func(AnyRecord, error) bool) error {
	db := r.db
	if db.closed.Load() {
		return ErrClosed
	}
	bell := db.notifier.subscribe("")
	defer db.notifier.unsubscribe("", bell)
	stopped := db.committer.stopped.Load() // before the look: it sees all that is durable then
	r.page.empty()
	upTo, err := r.engine.Feed(ctx, r.at, r.page.take)
	for i := range r.page.records {
		rec := &r.page.records[i]
		lost := errors.Is(rec.Err, engine.ErrTrimmed)
		if lost && r.warned {
			continue
		}
		r.warned = r.warned || lost
		if !yield(db.show(rec)) {
			return engine.Stop
		}
	}
	r.at = upTo
	if err == nil && len(r.page.records) == 0 {
		err = db.waitForCommit(ctx, bell, stopped)
	}
	return err
}

// waitForCommit waits for the bell, or tells why there is nothing to wait for.
func (db *DB) waitForCommit(ctx context.Context, b *subscription, stopped *error) error {
	if stopped != nil {
		return fmt.Errorf("%w: %w", ErrStopped, *stopped)
	}
	select {
	case <-b.signal:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-db.background.Done():
		return ErrClosed
	}
}

// recordPage is some records with memory of their own.
type recordPage struct {
	records []engine.Record
	bytes   int
}

// Limits of a page: the engine's callback ends with the first one that is reached.
const (
	recordPageLen   = 256
	recordPageBytes = 1 << 20
)

// take is the callback of an engine.
func (p *recordPage) take(r engine.Record) error {
	r.Bytes = append([]byte(nil), r.Bytes...)
	p.records = append(p.records, r)
	if p.bytes += len(r.Bytes); p.bytes >= recordPageBytes || len(p.records) >= recordPageLen {
		return engine.Stop
	}
	return nil
}

func (p *recordPage) empty() {
	clear(p.records)
	p.records, p.bytes = p.records[:0], 0
}

// show is a record as the caller sees it.
func (db *DB) show(r *engine.Record) (AnyRecord, error) {
	name, id, ok := splitKey(r.Machine)
	out := AnyRecord{Meta: Meta{Kind: name, ID: id, Seq: r.Seq, Pos: r.Pos}}
	k := &kind{name: name}
	switch {
	case errors.Is(r.Err, engine.ErrTrimmed):
		return out, fmt.Errorf("%w: record %d of %s %q, at position %d, and perhaps more: build from states what was built from records", ErrCompacted, r.Seq, name, id, r.Pos)
	case r.Err != nil:
		return out, db.wrapEngineError(k, id, r.Err)
	case !ok:
		return out, &CorruptError{Kind: name, ID: id, Part: "head", Seq: r.Seq, Why: fmt.Errorf("key %.60q is none of a machine", r.Machine)}
	}
	var env record.Envelope
	if err := env.Parse(r.Bytes, nil); err != nil {
		return out, corrupt(k, id, "event", r.Seq, err)
	}
	return db.shown(name, id, r.Seq, r.Pos, &env)
}

// shown is the record of an envelope.
func (db *DB) shown(name, id string, seq, pos uint64, env *record.Envelope) (out AnyRecord, err error) {
	if k := db.kind(name); k != nil {
		meta, ev, err := k.shown(&upcaster{kind: k, id: id}, seq, pos, env)
		if err == nil {
			return AnyRecord{meta, ev}, nil
		}
	}
	k := &kind{name: name, packed: env.Version}
	out.Meta = metaOf(k, id, seq, pos, env)
	if len(env.Payload) == 0 {
		return out, nil
	}
	doc, err := codec.Document(env.Payload)
	if err != nil {
		return out, corrupt(k, id, "event", seq, err)
	}
	if fields, ok := doc.(map[string]any); ok {
		doc = Doc(fields)
	}
	out.Event = doc
	return out, nil
}

// kind is the registered kind of a name, nil if there is none.
func (db *DB) kind(name string) *kind {
	return db.kinds.find(name)
}

// longestFeedName bounds the name of a feed's position.
const longestFeedName = 255

func feedNote(name string) (string, error) {
	if name == "" || len(name) > longestFeedName {
		return "", fmt.Errorf("%w: the name of a feed's position has %d bytes, not 1 to %d", ErrBadID, len(name), longestFeedName)
	}
	return "feed/" + name, nil
}

// SaveFeedPos keeps how far a reader of the feed has come, under a name of its
// own of 1 to 255 bytes. It is durable on return. It costs a transaction, so call
// it every now and then, and expect the records since once more after a crash.
func (db *DB) SaveFeedPos(ctx context.Context, name string, pos uint64) error {
	note, err := feedNote(name)
	if err == nil {
		err = db.writable()
	}
	if err == nil {
		err = db.setNote(ctx, note, binary.BigEndian.AppendUint64(nil, pos))
	}
	if err != nil {
		return fmt.Errorf("save the position of feed %.60q: %w", name, err)
	}
	return nil
}

// FeedPos is the position that SaveFeedPos kept last, 0 if it never did.
func (db *DB) FeedPos(ctx context.Context, name string) (uint64, error) {
	note, err := feedNote(name)
	var b []byte
	if err == nil {
		b, err = db.eng.Note(ctx, note)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("position of feed %.60q: %w", name, err)
	case b == nil:
		return 0, nil
	case len(b) != 8:
		return 0, fmt.Errorf("%w: position of feed %.60q has %d bytes", ErrCorrupt, name, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
