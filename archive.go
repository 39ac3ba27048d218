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

// putSegment calls Put of the archive; a panic is returned as an error.
func putSegment(ctx context.Context, a archive.Archive, s *archive.Segment) (err error) {
	defer guard("Archive.Put", &err)
	return a.Put(ctx, s)
}

// Unarchive puts the segments of a machine back from Options.Archive, newest
// first, until the archive has no older one: Events and At show their records as
// before, with the positions they had. Records that were appended meanwhile stay.
// Retention does not touch the machine for a day, or until the file is opened
// again. If the archive has nothing of the machine, the error is ErrNotFound.
func (s *Store[S]) Unarchive(ctx context.Context, id string) (*report.Compact, error) {
	start := time.Now()
	rep := &report.Compact{Kind: s.kind.name, ID: id}
	u := unarchiver{db: s.db, kind: s.kind, id: id, rep: rep}
	err := u.run(ctx)
	rep.Took = time.Since(start)
	if err != nil {
		return rep, fmt.Errorf("unarchive %s %.60q: %w", s.kind.name, id, err)
	}
	return rep, nil
}

// unarchiver puts the segments of one machine back.
type unarchiver struct {
	db   *DB
	kind *kind
	id   string
	rep  *report.Compact // counts what is back
}

// run puts segments back until the archive has no older one.
func (u *unarchiver) run(ctx context.Context) error {
	db := u.db
	if db.closed.Load() {
		return ErrClosed
	}
	if err := db.writable(); err != nil {
		return err
	}
	if db.opt.Archive == nil {
		return fmt.Errorf("%w: set Options.Archive", ErrUnsupported)
	}
	db.retention.spare(keyOf(u.kind.name, u.id))
	for {
		number, base, err := u.base(ctx)
		if err != nil || base == nil {
			return err
		}
		s, err := u.get(ctx, base)
		if errors.Is(err, ErrNotFound) && u.rep.Segments > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.putBack(ctx, number, base, s); err != nil {
			return err
		}
	}
}

// base returns the machine's number and the snapshot that its log starts at, which
// is nil if the log is complete.
func (u *unarchiver) base(ctx context.Context) (number uint64, base *record.Snapshot, err error) {
	db := u.db
	if _, err := db.awaitDurable(ctx, u.kind, u.id); err != nil {
		return 0, nil, err
	}
	head, h, err := db.storedHead(ctx, u.kind, u.id, 0, func(*record.Snapshot) {})
	if err != nil {
		return 0, nil, err
	}
	if u.rep.Base = h.Base; h.Base == 0 {
		return head.Number, nil, nil
	}
	if _, _, err = db.storedHead(ctx, u.kind, u.id, h.Base, func(s *record.Snapshot) { base = s }); err != nil {
		return 0, nil, err
	}
	if base == nil || base.Seq != h.Base {
		return 0, nil, &CorruptError{Kind: u.kind.name, ID: u.id, Part: "snapshot", Seq: h.Base, Why: errNotThere}
	}
	return head.Number, base, nil
}

// get asks the archive for the segment that ends at base. If it has none, the error
// matches ErrNotFound. A panic of the archive is returned as an error.
func (u *unarchiver) get(ctx context.Context, base *record.Snapshot) (s *archive.Segment, err error) {
	defer guard("Archive.Get", &err)
	s, err = u.db.opt.Archive.Get(ctx, u.kind.name, u.id, base.Seq, fmt.Sprintf("%x", base.Digest))
	switch {
	case errors.Is(err, archive.ErrNotFound):
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	case err == nil && s == nil:
		err = errors.New("Archive.Get returned neither a segment nor an error")
	}
	return s, err
}

// putBack puts one segment under the base of the log.
func (u *unarchiver) putBack(ctx context.Context, number uint64, base *record.Snapshot, s *archive.Segment) error {
	start, db := time.Now(), u.db
	m, err := db.acquireIdle(ctx, u.kind, u.id, true)
	if err != nil {
		return err
	}
	ack := newAck(opUnarchive, start)
	w, h, bytes, err := u.write(ctx, number, base, s)
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
	u.rep.Base = h.Base
	u.rep.Segments++
	u.rep.Records += len(w.Restore)
	u.rep.Bytes += bytes
	return db.dropUnused(ctx, m)
}

// write returns the write that puts a segment back, and the bytes of its records.
// The caller holds the machine.
func (u *unarchiver) write(ctx context.Context, number uint64, base *record.Snapshot, s *archive.Segment) (w engine.Write, h *record.Head, bytes int64, err error) {
	head, h, err := u.db.storedHead(ctx, u.kind, u.id, 0, func(*record.Snapshot) {})
	if err != nil {
		return w, nil, 0, err
	}
	if head.Number != number || h.Base != base.Seq {
		return w, nil, 0, fmt.Errorf("%w: it was purged or compacted meanwhile", ErrConflict)
	}
	before, err := u.check(s, base, h.Gaps)
	if err != nil {
		return w, nil, 0, fmt.Errorf("%w: the segment %d to %d: %w", ErrCorrupt, s.After, s.To, err)
	}
	w = engine.Write{Expect: head.Seq, Seq: head.Seq, Token: head.Token}
	for i := range s.Records {
		r := &s.Records[i]
		var env record.Envelope
		if err := env.Parse(r.Bytes, nil); err != nil {
			return w, nil, 0, fmt.Errorf("%w: record %d: %w", ErrCorrupt, r.Seq, err)
		}
		w.Restore = append(w.Restore, engine.StoredEvent{Seq: r.Seq, Pos: r.Pos, Event: engine.Event{Bytes: r.Bytes,
			Terms: engine.Terms{Name: env.Name, From: env.From, To: env.To, Actor: env.Actor, Origin: env.Origin, Time: env.Time}}})
		bytes += int64(len(r.Bytes))
	}
	loose := *base
	loose.Pinned = false
	w.Snapshots = []engine.Snapshot{{Seq: before.Seq, Bytes: s.Base}, {Seq: loose.Seq, Bytes: loose.Append(nil, keyOf(u.kind.name, u.id))}}
	h.Base = before.Seq
	h.Bytes += uint64(bytes)
	return w, h, bytes, nil
}

// check proves that a segment is the one that ends at base, and returns the
// snapshot it starts with. Only what a recovery gave up may be missing.
func (u *unarchiver) check(s *archive.Segment, base *record.Snapshot, gaps []record.Gap) (before record.Snapshot, err error) {
	if err := before.Parse(s.Base, keyOf(u.kind.name, u.id)); err != nil {
		return before, err
	}
	if s.Kind != u.kind.name || s.ID != u.id || s.To != base.Seq || before.Seq != s.After || s.After >= s.To {
		return before, fmt.Errorf("it is the segment %d to %d of %s %q, with a base at %d", s.After, s.To, s.Kind, s.ID, before.Seq)
	}
	digest, next, last, gapped := before.Digest, s.After+1, uint64(0), false
	for i := range s.Records {
		a := &s.Records[i]
		var env record.Envelope
		if err := env.Parse(a.Bytes, nil); err != nil {
			return before, fmt.Errorf("record %d: %w", a.Seq, err)
		}
		if a.Seq <= last || a.Seq > s.To {
			return before, fmt.Errorf("record %d comes after %d", a.Seq, last)
		}
		if last = a.Seq; a.Seq <= s.After {
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
	if s.Digest != fmt.Sprintf("%x", base.Digest) || next != s.To+1 || !gapped && digest != base.Digest {
		return before, fmt.Errorf("its records end at %d with the digest %x, not at %d with %x", next-1, digest, s.To, base.Digest)
	}
	return before, nil
}
