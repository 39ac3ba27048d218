package savepoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/archive"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
	"github.com/liap-tui/savepoint/report"
)

// reasonCompacted is why a snapshot became the base of a log.
const reasonCompacted = "compacted"

// archive stores in Options.Archive what the compaction removes.
func (c *compaction) archive(ctx context.Context) error {
	if c.db.opt.Archive == nil {
		return nil
	}
	err := putSegment(ctx, c.db.opt.Archive, &archive.Segment{Kind: c.kind.name, ID: c.id, After: c.from, To: c.to,
		Digest: fmt.Sprintf("%x", c.base.Digest), Base: c.before, Records: c.records})
	if err != nil {
		return fmt.Errorf("nothing is removed: the archive did not keep the records %d to %d: %w", c.from+1, c.to, err)
	}
	c.rep.Segments++
	return nil
}

func putSegment(ctx context.Context, a archive.Archive, c *archive.Segment) (err error) {
	defer guard("Archive.Put", &err)
	return a.Put(ctx, c)
}

func getSegment(ctx context.Context, a archive.Archive, kind, id string, to uint64, digest string) (c *archive.Segment, err error) {
	defer guard("Archive.Get", &err)
	c, err = a.Get(ctx, kind, id, to, digest)
	switch {
	case errors.Is(err, archive.ErrNotFound):
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	case err == nil && c == nil:
		err = errors.New("Archive.Get returned neither a segment nor an error")
	}
	return c, err
}

// Unarchive puts the segments of a machine back from Options.Archive, newest
// first, until the archive has no older one: Events and At show their records as
// before, with the positions they had. Records that were appended meanwhile stay.
// Retention does not touch the machine for a day, or until the file is opened
// again. If the archive has nothing of the machine, the error is ErrNotFound.
func (s *Store[S]) Unarchive(ctx context.Context, id string) (*report.Compact, error) {
	start := time.Now()
	rep := &report.Compact{Kind: s.kind.name, ID: id}
	err := s.db.unarchive(ctx, s.kind, id, rep)
	rep.Took = time.Since(start)
	if err != nil {
		return rep, fmt.Errorf("unarchive %s %.60q: %w", s.kind.name, id, err)
	}
	return rep, nil
}

func (db *DB) unarchive(ctx context.Context, k *kind, id string, rep *report.Compact) error {
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
		c, err := getSegment(ctx, db.opt.Archive, k.name, id, h.Base, fmt.Sprintf("%x", base.Digest))
		if errors.Is(err, ErrNotFound) && rep.Segments > 0 {
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

// checkSegment proves that a segment is the one that ends at base, and returns the
// snapshot it starts with. Only what a recovery gave up may be missing.
func checkSegment(c *archive.Segment, k *kind, id string, base *record.Snapshot, gaps []record.Gap) (before record.Snapshot, err error) {
	if err := before.Parse(c.Base, keyOf(k.name, id)); err != nil {
		return before, err
	}
	if c.Kind != k.name || c.ID != id || c.To != base.Seq || before.Seq != c.After || c.After >= c.To {
		return before, fmt.Errorf("it is the segment %d to %d of %s %q, with a base at %d", c.After, c.To, c.Kind, c.ID, before.Seq)
	}
	digest, next, last, gapped := before.Digest, c.After+1, uint64(0), false
	for i := range c.Records {
		a := &c.Records[i]
		var env record.Envelope
		if err := env.Parse(a.Bytes, nil); err != nil {
			return before, fmt.Errorf("record %d: %w", a.Seq, err)
		}
		if a.Seq <= last || a.Seq > c.To {
			return before, fmt.Errorf("record %d comes after %d", a.Seq, last)
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

// putBack puts one segment under the base of the log.
func (db *DB) putBack(ctx context.Context, k *kind, id string, number uint64, base *record.Snapshot, c *archive.Segment, rep *report.Compact) error {
	start := time.Now()
	m, err := db.acquireIdle(ctx, k, id, true)
	if err != nil {
		return err
	}
	ack := newAck(opUnarchive, start)
	w, h, bytes, err := db.withSegment(ctx, k, id, number, base, c)
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
	rep.Segments++
	rep.Records += len(w.Restore)
	rep.Bytes += bytes
	return db.rest(ctx, m)
}

// withSegment returns the write that puts a segment back. The machine is held.
func (db *DB) withSegment(ctx context.Context, k *kind, id string, number uint64, base *record.Snapshot, c *archive.Segment) (w engine.Write, h *record.Head, bytes int64, err error) {
	head, h, err := db.storedHead(ctx, k, id, 0, func(*record.Snapshot) {})
	if err != nil {
		return w, nil, 0, err
	}
	if head.Number != number || h.Base != base.Seq {
		return w, nil, 0, fmt.Errorf("%w: it was purged or compacted meanwhile", ErrConflict)
	}
	before, err := checkSegment(c, k, id, base, h.Gaps)
	if err != nil {
		return w, nil, 0, fmt.Errorf("%w: the segment %d to %d: %w", ErrCorrupt, c.After, c.To, err)
	}
	w = engine.Write{Expect: head.Seq, Seq: head.Seq, Token: head.Token}
	for i := range c.Records {
		a := &c.Records[i]
		var env record.Envelope
		if err := env.Parse(a.Bytes, nil); err != nil {
			return w, nil, 0, fmt.Errorf("%w: record %d: %w", ErrCorrupt, a.Seq, err)
		}
		w.Restore = append(w.Restore, engine.StoredEvent{Seq: a.Seq, Pos: a.Pos, Event: engine.Event{Bytes: a.Bytes,
			Terms: engine.Terms{Name: env.Name, From: env.From, To: env.To, Actor: env.Actor, Origin: env.Origin, Time: env.Time}}})
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

// rest drops a machine that nobody uses from memory.
func (db *DB) rest(ctx context.Context, m *machine) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	db.release(m)
	return nil
}
