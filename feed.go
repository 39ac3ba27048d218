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

// AnyRecord is a record of any kind. If the kind is registered, Event is what the
// kind's [Record] has: an event in the prototype's form, *Replaced[S] or
// *Unchanged[S]. If it is not, or if the event's type cannot hold what was stored,
// Event is the stored document: a [Doc] if that has named fields, nil if it is
// empty.
type AnyRecord struct {
	Meta
	Event any
}

// Feed returns the records of all machines, in the order of their positions. It
// starts after position from: 0 is the start of the file, the Pos of the last
// record seen continues an earlier feed, also of an earlier process. When it has
// returned all durable records it waits for new ones. It ends with the cause of
// ctx; with one that matches ErrClosed when the database is closed; with one that
// matches ErrStopped when a failure of the disk has ended all writing; with
// ErrUnsupported if the engine does not keep the order.
//
// Positions ascend, but they are not consecutive: writes under [SnapshotOnly] use
// positions without a record, and the records of purged machines are left out.
// Two errors do not end the feed, if the caller's loop continues:
//
//   - ErrCompacted: records after from were removed by a compaction. It is returned
//     once, before the next record that is left, with the Meta of the first record
//     removed. What the caller builds from records is incomplete: build it from
//     states.
//   - *CorruptError: a record is damaged. Its Meta is returned with the error.
//
// While the loop's body runs, the feed holds no lock and no transaction: a slow
// body delays nobody, and it may call the database.
func (db *DB) Feed(ctx context.Context, from uint64) iter.Seq2[AnyRecord, error] {
	return func(yield func(AnyRecord, error) bool) {
		if err := db.feed(ctx, from, yield); !errors.Is(err, engine.Stop) {
			yield(AnyRecord{}, fmt.Errorf("feed from position %d: %w", from, err))
		}
	}
}

// feed yields records until something ends it. engine.Stop means that the caller
// left its loop.
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
	warned bool // ErrCompacted was returned
	page   recordPage
}

// next yields a page of records. If there are no further records, it waits for one.
func (r *feedReader) next(ctx context.Context, yield func(AnyRecord, error) bool) error {
	db := r.db
	if db.closed.Load() {
		return ErrClosed
	}
	sub := db.notifier.subscribe("") // before the read: no commit after it is missed
	defer db.notifier.unsubscribe("", sub)
	stopped := db.committer.stopped.Load() // before the read: what is durable by now will be read
	r.page.reset()
	upTo, err := r.engine.Feed(ctx, r.at, r.page.add)
	for i := range r.page.records {
		rec := &r.page.records[i]
		lost := errors.Is(rec.Err, engine.ErrTrimmed)
		if lost && r.warned {
			continue
		}
		r.warned = r.warned || lost
		if !yield(r.decode(rec)) {
			return engine.Stop
		}
	}
	r.at = upTo
	if err == nil && len(r.page.records) == 0 {
		err = db.waitForCommit(ctx, sub, stopped)
	}
	return err
}

// waitForCommit waits until the subscription is notified. It returns an error if
// no notification can come any more: stopped is what ended all writing.
func (db *DB) waitForCommit(ctx context.Context, sub *subscription, stopped *error) error {
	if stopped != nil {
		return fmt.Errorf("%w: %w", ErrStopped, *stopped)
	}
	select {
	case <-sub.signal:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-db.background.Done():
		return ErrClosed
	}
}

// recordPage is a page of records with memory of their own.
type recordPage struct {
	records []engine.Record
	bytes   int
}

// Limits of a page. It is full when the first of them is reached.
const (
	recordPageLen   = 256
	recordPageBytes = 1 << 20
)

// add copies a record into the page. It is a callback of the engine and returns
// engine.Stop when the page is full.
func (p *recordPage) add(r engine.Record) error {
	r.Bytes = append([]byte(nil), r.Bytes...)
	p.records = append(p.records, r)
	if p.bytes += len(r.Bytes); p.bytes >= recordPageBytes || len(p.records) >= recordPageLen {
		return engine.Stop
	}
	return nil
}

func (p *recordPage) reset() {
	clear(p.records)
	p.records, p.bytes = p.records[:0], 0
}

// decode returns an engine's record in the caller's form.
func (r *feedReader) decode(rec *engine.Record) (AnyRecord, error) {
	name, id, ok := splitKey(rec.Machine)
	out := AnyRecord{Meta: Meta{Kind: name, ID: id, Seq: rec.Seq, Pos: rec.Pos}}
	k := &kind{name: name}
	switch {
	case errors.Is(rec.Err, engine.ErrTrimmed):
		return out, fmt.Errorf("%w: record %d of %s %q, at position %d, and perhaps more: build from states what was built from records", ErrCompacted, rec.Seq, name, id, rec.Pos)
	case rec.Err != nil:
		return out, r.db.wrapEngineError(k, id, rec.Err)
	case !ok:
		return out, &CorruptError{Kind: name, ID: id, Part: "head", Seq: rec.Seq, Why: fmt.Errorf("%.60q is not the key of a machine", rec.Machine)}
	}
	var env record.Envelope
	if err := env.Parse(rec.Bytes, nil); err != nil {
		return out, corrupt(k, id, "event", rec.Seq, err)
	}
	return r.db.decodeRecord(name, id, rec.Seq, rec.Pos, &env)
}

// decodeRecord returns the record of an envelope: in the form of its kind if that
// is registered and can read it, otherwise with a document.
func (db *DB) decodeRecord(name, id string, seq, pos uint64, env *record.Envelope) (out AnyRecord, err error) {
	if k := db.kinds.find(name); k != nil {
		meta, ev, err := k.asRecord(&upcaster{kind: k, id: id}, seq, pos, env)
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

// SaveFeedPos stores how far a reader of the feed has come, under a name of 1 to
// 255 bytes. It is durable on return. Each call costs a transaction of the engine:
// call it after many records, and expect those after the last call once more
// after a crash.
func (db *DB) SaveFeedPos(ctx context.Context, name string, pos uint64) error {
	note, err := feedNoteName(name)
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

// FeedPos returns the position that SaveFeedPos stored last under a name, 0 if it
// never stored one.
func (db *DB) FeedPos(ctx context.Context, name string) (uint64, error) {
	note, err := feedNoteName(name)
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
