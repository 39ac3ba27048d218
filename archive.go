package savepoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// reasonCompacted is why a snapshot became the base of a log.
const reasonCompacted = "compacted"

// Archive keeps what compactions take out of the file. [ArchiveDir] is a ready
// one. Its methods are called from several goroutines, outside of any lock; a
// panic counts as an error.
type Archive interface {
	// Put keeps a chapter durably: the records are removed once it answers nil,
	// and stay if it does not. The same chapter, or a longer one with the same
	// beginning, may come again. The chapter is lent until Put returns.
	Put(ctx context.Context, c *ArchiveSegment) error
	// Get gives the chapter that ends with record to, where the digest of the
	// machine's records is digest. Where there is none the error matches
	// ErrNotFound.
	Get(ctx context.Context, kind, id string, to uint64, digest string) (*ArchiveSegment, error)
}

// ArchiveSegment is a stretch of a machine's log that leaves the file. The one before it
// ends where this one begins.
type ArchiveSegment struct {
	Kind, ID string
	After    uint64 // its records are After+1 to To
	To       uint64
	Digest   string           // of the machine's records up to To, 32 hex digits
	Base     []byte           // the snapshot After, as the file has it: where a replay begins
	Records  []ArchivedRecord // in the order of their seq; what a recovery gave up may be missing
}

// ArchivedRecord is a record that leaves the file.
type ArchivedRecord struct {
	Meta
	Bytes []byte // the record as the file has it, exact

	payload []byte
}

// Event is the event as a document, to be looked at.
func (a *ArchivedRecord) Event() (any, error) {
	return codec.Document(a.payload)
}

// parse reads what Bytes say of the record seq at pos.
func (a *ArchivedRecord) parse(kind, id string, seq, pos uint64) error {
	var env record.Envelope
	if err := env.Parse(a.Bytes, nil); err != nil {
		return fmt.Errorf("record %d: %w", seq, err)
	}
	a.Meta, a.payload = metaStored(kind, id, seq, pos, &env), env.Payload
	return nil
}

// archive has the archive keep what a compaction removes.
func (c *compaction) archive(ctx context.Context) error {
	if c.db.opt.Archive == nil {
		return nil
	}
	err := putChapter(ctx, c.db.opt.Archive, &ArchiveSegment{Kind: c.kind.name, ID: c.id, After: c.from, To: c.to,
		Digest: fmt.Sprintf("%x", c.base.Digest), Base: c.before, Records: c.records})
	if err != nil {
		return fmt.Errorf("nothing is removed: the archive did not keep the records %d to %d: %w", c.from+1, c.to, err)
	}
	c.rep.Chapters++
	return nil
}

func putChapter(ctx context.Context, a Archive, c *ArchiveSegment) (err error) {
	defer guard("Archive.Put", &err)
	return a.Put(ctx, c)
}

func getChapter(ctx context.Context, a Archive, kind, id string, to uint64, digest string) (c *ArchiveSegment, err error) {
	defer guard("Archive.Get", &err)
	if c, err = a.Get(ctx, kind, id, to, digest); err == nil && c == nil {
		err = errors.New("Archive.Get answered nothing")
	}
	return c, err
}

// UnarchiveReport tells what Unarchive put back.
type UnarchiveReport struct {
	Kind, ID string
	Base     uint64 // the log begins right after this record
	Records  int    // put back
	Bytes    int64  // of those records, as encoded
	Chapters int
}

// Unarchive puts the chapters of a machine back from Options.Archive, newest
// first, down to where the archive has no older one: Events and At show them as
// before, with the positions they had. The machine may have gone on meanwhile.
// Retention leaves it alone for a day, or until the file is opened again. Where
// nothing of the machine is in the archive, it answers ErrNotFound.
func (s *Store[S]) Unarchive(ctx context.Context, id string) (*UnarchiveReport, error) {
	rep := &UnarchiveReport{Kind: s.kind.name, ID: id}
	err := s.db.unarchive(ctx, s.kind, id, rep)
	if err != nil {
		return rep, fmt.Errorf("unarchive %s %.60q: %w", s.kind.name, id, err)
	}
	return rep, nil
}

func (db *DB) unarchive(ctx context.Context, k *kind, id string, rep *UnarchiveReport) error {
	if db.closed.Load() {
		return ErrClosed
	}
	if err := db.writable(); err != nil {
		return err
	}
	if db.opt.Archive == nil {
		return fmt.Errorf("%w: set Options.Archive", ErrUnsupported)
	}
	db.retention.spare(keyOf(k.name, id))
	for {
		if _, err := db.awaitDurable(ctx, k, id); err != nil {
			return err
		}
		head, h, err := db.storedHead(ctx, k, id, 0, func(*record.Snapshot) {})
		if err != nil {
			return err
		}
		if rep.Base = h.Base; h.Base == 0 {
			return nil
		}
		var base *record.Snapshot
		if _, _, err = db.storedHead(ctx, k, id, h.Base, func(s *record.Snapshot) { base = s }); err != nil {
			return err
		}
		if base == nil || base.Seq != h.Base {
			return &CorruptError{Kind: k.name, ID: id, Part: "snapshot", Seq: h.Base, Why: errNotThere}
		}
		c, err := getChapter(ctx, db.opt.Archive, k.name, id, h.Base, fmt.Sprintf("%x", base.Digest))
		if errors.Is(err, ErrNotFound) && rep.Chapters > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if err := db.putBack(ctx, k, id, head.Number, base, c, rep); err != nil {
			return err
		}
	}
}

// check proves that a chapter is what ends at base, and gives the snapshot it
// begins with. Only what a recovery gave up may be missing.
func (c *ArchiveSegment) check(k *kind, id string, base *record.Snapshot, gaps []record.Gap) (before record.Snapshot, err error) {
	if err := before.Parse(c.Base, keyOf(k.name, id)); err != nil {
		return before, err
	}
	if c.Kind != k.name || c.ID != id || c.To != base.Seq || before.Seq != c.After || c.After >= c.To {
		return before, fmt.Errorf("it is the chapter %d to %d of %s %q, with a base at %d", c.After, c.To, c.Kind, c.ID, before.Seq)
	}
	digest, next, last, gapped := before.Digest, c.After+1, uint64(0), false
	for i := range c.Records {
		a := &c.Records[i]
		if err := a.parse(k.name, id, a.Seq, a.Pos); err != nil {
			return before, err
		}
		if a.Seq <= last || a.Seq > c.To {
			return before, fmt.Errorf("record %d stands behind %d", a.Seq, last)
		}
		if last = a.Seq; a.Seq <= c.After {
			continue // of a time when the kind kept no records
		}
		for gapped = gapped || gaveUp(a.Seq, gaps); next < a.Seq && gaveUp(next, gaps); next++ {
			gapped = true
		}
		if next != a.Seq {
			return before, fmt.Errorf("record %d is missing", next)
		}
		next++
		digest = digest.Next(a.Bytes)
	}
	if c.Digest != fmt.Sprintf("%x", base.Digest) || next != c.To+1 || !gapped && digest != base.Digest {
		return before, fmt.Errorf("its records end at %d with the digest %x, not at %d with %x", next-1, digest, c.To, base.Digest)
	}
	return before, nil
}

// putBack puts one chapter under the base of the log.
func (db *DB) putBack(ctx context.Context, k *kind, id string, number uint64, base *record.Snapshot, c *ArchiveSegment, rep *UnarchiveReport) error {
	start := time.Now()
	m, err := db.acquireIdle(ctx, k, id, true)
	if err != nil {
		return err
	}
	ack := newAck(opUnarchive, start)
	w, h, bytes, err := db.withChapter(ctx, k, id, number, base, c)
	if err == nil {
		err = db.fits(&w, bytes)
	}
	if err != nil {
		db.queue.Release()
		db.release(m)
		return err
	}
	db.pushHead(m, h, w, ack)
	if _, err := ack.Wait(ctx); err != nil {
		return err
	}
	rep.Base = h.Base
	rep.Chapters++
	rep.Records += len(w.Restore)
	rep.Bytes += bytes
	return db.rest(ctx, m)
}

// withChapter is the write that puts a chapter back. The machine is held.
func (db *DB) withChapter(ctx context.Context, k *kind, id string, number uint64, base *record.Snapshot, c *ArchiveSegment) (w engine.Write, h *record.Head, bytes int64, err error) {
	head, h, err := db.storedHead(ctx, k, id, 0, func(*record.Snapshot) {})
	if err != nil {
		return w, nil, 0, err
	}
	if head.Number != number || h.Base != base.Seq {
		return w, nil, 0, fmt.Errorf("%w: it was purged or compacted meanwhile", ErrConflict)
	}
	before, err := c.check(k, id, base, h.Gaps)
	if err != nil {
		return w, nil, 0, fmt.Errorf("%w: the chapter %d to %d: %w", ErrCorrupt, c.After, c.To, err)
	}
	w = engine.Write{Expect: head.Seq, Seq: head.Seq, Token: head.Token}
	for i := range c.Records {
		a := &c.Records[i]
		w.Restore = append(w.Restore, engine.StoredEvent{Seq: a.Seq, Pos: a.Pos, Event: engine.Event{Bytes: a.Bytes,
			Terms: engine.Terms{Name: a.Name, From: a.From, To: a.To, Actor: a.Actor, Origin: uint8(a.Origin), Time: micros(a.Time)}}})
		bytes += int64(len(a.Bytes))
	}
	loose := *base
	loose.Pinned = false
	key := keyOf(k.name, id)
	w.Snapshots = []engine.Snapshot{{Seq: before.Seq, Bytes: c.Base}, {Seq: loose.Seq, Bytes: loose.Append(nil, key)}}
	h.Base = before.Seq
	h.Bytes += uint64(bytes)
	return w, h, bytes, nil
}

// rest lets a machine that nobody uses leave the memory.
func (db *DB) rest(ctx context.Context, m *machine) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	db.release(m)
	return nil
}
