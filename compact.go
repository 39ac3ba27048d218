package savepoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/archive"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
	"github.com/liap-tui/savepoint/report"
)

// Compact removes the machine's records up to a point. The state at the point
// becomes the base of the log. Seq, head, state and keys of the machine stay as
// they are. Earlier points match ErrCompacted afterwards, except where a tagged
// snapshot is kept. If the point is at the base or before it, nothing changes.
//
// Records are removed only after three steps have succeeded: a replay of the
// whole log agrees with everything that is stored, a replay from the new base
// does too, and Options.Archive, if it is set, has stored the records. A long log
// is removed in several segments, oldest first. The report is never nil; with an
// error it counts what was removed before it. Under SnapshotOnly the error is
// ErrUnsupported, since there are no records.
func (s *Store[S]) Compact(ctx context.Context, id string, p Point) (*report.Compact, error) {
	rep, err := s.db.compact(ctx, s.kind, id, p)
	if err != nil {
		return rep, fmt.Errorf("compact %s %.60q to %s: %w", s.kind.name, id, p, err)
	}
	return rep, nil
}

func (db *DB) compact(ctx context.Context, k *kind, id string, p Point) (*report.Compact, error) {
	start := time.Now()
	rep := &report.Compact{Kind: k.name, ID: id}
	if err := db.writable(); err != nil {
		return rep, err
	}
	if !k.strategy.keepsEvents() {
		return rep, fmt.Errorf("%w: snapshot-only keeps no records; SnapshotPolicy says how many snapshots stay", ErrUnsupported)
	}
	if _, err := db.awaitDurable(ctx, k, id); err != nil {
		return rep, err
	}
	to, err := db.resolvePoint(ctx, k, id, p)
	if err != nil {
		return rep, err
	}
	err = db.compactTo(ctx, k, id, to, rep)
	rep.Took = time.Since(start)
	return rep, err
}

// compactTo removes one segment after the other up to record to.
func (db *DB) compactTo(ctx context.Context, k *kind, id string, to uint64, rep *report.Compact) error {
	for n := 1; ; {
		c, err := db.planCompaction(ctx, k, id, to, rep)
		if c == nil && err == nil {
			return nil
		}
		if err == nil {
			err = c.push(ctx)
		}
		if errors.Is(err, ErrConflict) && n < maxAttempts {
			n++
			continue
		}
		if err != nil {
			return err
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
}

// segmentBytes is about how many bytes of records one compaction removes at
// once.
const segmentBytes = 16 << 20

// compaction stores a new base for the log of a machine and removes one segment before
// it. It is planned without the machine's lock, because records do not change;
// push compares with the head again.
type compaction struct {
	db   *DB
	kind *kind
	id   string
	rep  *report.Compact

	number uint64          // of the machine
	from   uint64          // the base before
	to     uint64          // the new base
	base   record.Snapshot // at to
	bytes  uint64          // of the records after from, up to to

	records   []archive.Record // to be removed
	before    []byte           // the snapshot at from
	snapshots []uint64         // to be removed

	m   *machine
	ack *Ack // of the write; nil until it is pushed
}

// planCompaction returns a compaction to record to, or to the end of a segment before
// it: the new base is proven, and the archive has stored the records. It returns
// nil if the log starts there already.
func (db *DB) planCompaction(ctx context.Context, k *kind, id string, to uint64, rep *report.Compact) (*compaction, error) {
	m, err := db.awaitDurable(ctx, k, id)
	if err != nil {
		return nil, err
	}
	c := &compaction{db: db, kind: k, id: id, rep: rep, to: to, m: m}
	v := &verifier{db: db, kind: k, m: m, rep: &report.Verify{Kind: k.name, ID: id}}
	snaps, err := v.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	c.number, c.from = v.start.number, v.head.Base
	rep.Base = c.from
	if c.to = beforeGap(c.to, v.head.Gaps); c.to <= c.from || c.to > v.rep.Head {
		return nil, nil
	}
	err = c.plan(ctx, snaps, v)
	if err != nil && db.logChanged(ctx, k, id, logStart{c.number, c.from}, err) {
		err = fmt.Errorf("%w: another compaction was first: %w", ErrConflict, err)
	}
	if err != nil || c.to <= c.from {
		return nil, err
	}
	return c, c.archive(ctx)
}

// plan reads the records, makes the new base and proves that nothing is lost.
func (c *compaction) plan(ctx context.Context, snaps []record.Snapshot, v *verifier) error {
	if err := c.readRecords(ctx, v.head.Gaps); err != nil {
		return err
	}
	if err := c.makeBase(ctx, snaps); err != nil || c.to <= c.from {
		return err
	}
	if err := v.compareAll(ctx, snaps); err != nil {
		return err
	}
	if err := checkAgreement(v.rep, "a replay of the log"); err != nil {
		return err
	}
	return c.proveBase(ctx, snaps, v)
}

// beforeGap returns to, or, if a recovery gave that record up, the record before the
// gap.
func beforeGap(to uint64, gaps []record.Gap) uint64 {
	for _, g := range gaps {
		if to >= g.From && to <= g.To {
			return g.From - 1
		}
	}
	return to
}

// checkAgreement returns an error if a replay found a divergence.
func checkAgreement(rep *report.Verify, what string) error {
	if rep.OK() {
		return nil
	}
	return fmt.Errorf("nothing is removed: %s differs from what is stored: %s", what, rep.Divergences[0])
}

// readRecords copies the records to be removed and sets to to the end of the segment.
func (c *compaction) readRecords(ctx context.Context, gaps []record.Gap) error {
	size, more := 0, false
	var env record.Envelope
	key := keyOf(c.kind.name, c.id)
	_, err := c.db.eng.Load(ctx, key, engine.LoadRange{Events: true, To: c.to}, func(it engine.Item) error {
		if it.Err != nil {
			if it.Seq > c.from && !gaveUp(it.Seq, gaps) {
				return corrupt(c.kind, c.id, "event", it.Seq, it.Err)
			}
			return nil // a recovery gave it up, and it is removed with the others
		}
		if size >= segmentBytes && it.Seq > c.from && !gaveUp(it.Seq, gaps) && !gaveUp(it.Seq-1, gaps) {
			more = true
			return engine.Stop
		}
		a := archive.Record{Seq: it.Seq, Pos: it.Pos, Bytes: append([]byte(nil), it.Bytes...)}
		if err := env.Parse(a.Bytes, nil); err != nil {
			return corrupt(c.kind, c.id, "event", it.Seq, err)
		}
		c.records = append(c.records, a)
		size += len(a.Bytes)
		if it.Seq > c.from {
			c.bytes += uint64(len(a.Bytes))
		}
		return ctx.Err()
	})
	if err != nil {
		return c.db.wrapEngineError(c.kind, c.id, err)
	}
	if more {
		c.to = c.records[len(c.records)-1].Seq
	}
	return nil
}

// gaveUp reports whether a recovery gave record seq up.
func gaveUp(seq uint64, gaps []record.Gap) bool {
	return slices.ContainsFunc(gaps, func(g record.Gap) bool { return seq >= g.From && seq <= g.To })
}

// makeBase makes the new base from the state at to. Only a migration may store what an
// older version wrote in the form of this one: if an older version wrote record
// to, the newest snapshot before it becomes the base unchanged.
func (c *compaction) makeBase(ctx context.Context, snaps []record.Snapshot) error {
	k := c.kind
	r, _, tried, err := c.db.rebuild(ctx, k, c.id, c.to, 0)
	if err != nil {
		return err
	}
	if len(tried) > 0 {
		return fmt.Errorf("nothing is removed: record %d cannot be rebuilt from its newest snapshot: %s", c.to, tried[0])
	}
	if k.upcasts(r.head.Version) {
		c.useSnapshot(snaps)
		return nil
	}
	enc, err := k.encode(k.value(r.st))
	if err != nil {
		return err
	}
	h := &r.head
	c.base = record.Snapshot{Kind: k.name, ID: c.id, Seq: c.to, Version: k.packed, Phase: h.Phase, Time: micros(c.db.opt.Now()),
		Created: h.Created, Updated: h.Updated, Deleted: h.Deleted, Pinned: true, Digest: h.Digest, Revision: h.Revision,
		RevisionName: h.RevisionName, Mark: h.Mark, Reason: reasonCompacted, State: enc}
	for i := range r.keys {
		c.base.Keys = append(c.base.Keys, r.keys[i].Key)
	}
	return nil
}

// useSnapshot makes the newest snapshot at or before to the new base.
func (c *compaction) useSnapshot(snaps []record.Snapshot) {
	for i := range snaps {
		if snaps[i].Seq <= c.to {
			c.base = snaps[i]
		}
	}
	c.to = c.base.Seq
	c.base.Pinned, c.base.Bytes = true, 0
	c.records = slices.DeleteFunc(c.records, func(a archive.Record) bool {
		if a.Seq > c.to && a.Seq > c.from {
			c.bytes -= uint64(len(a.Bytes))
		}
		return a.Seq > c.to
	})
}

// proveBase replays from the encoded new base and compares with all snapshots after
// it and with the head.
func (c *compaction) proveBase(ctx context.Context, snaps []record.Snapshot, v *verifier) error {
	var base record.Snapshot
	if err := base.Parse(c.base.Append(nil, c.m.key), c.m.key); err != nil {
		return err
	}
	after := []record.Snapshot{base}
	for i := range snaps {
		switch s := &snaps[i]; {
		case s.Seq == c.from:
			c.before = s.Append(nil, c.m.key)
		case s.Seq > c.to:
			after = append(after, *s)
		}
	}
	proof := &verifier{db: v.db, kind: c.kind, m: v.m, head: v.head, rep: &report.Verify{Head: v.rep.Head}}
	if err := proof.compareAll(ctx, after); err != nil {
		return fmt.Errorf("nothing is removed: a replay from record %d: %w", c.to, err)
	}
	return checkAgreement(proof.rep, fmt.Sprintf("a replay from record %d", c.to))
}

// push queues the write with the new base and the removal. It takes the machine's lock.
func (c *compaction) push(ctx context.Context) error {
	start := time.Now()
	m, err := c.db.acquireIdle(ctx, c.kind, c.id, true)
	if err != nil {
		return err
	}
	c.m = m
	w, h, err := c.engineWrite(ctx)
	if err != nil {
		c.db.queue.Release()
		c.db.release(m)
		return err
	}
	c.ack = newAck(opCompact, start)
	c.db.pushHead(m, h, w, c.ack)
	return nil
}

// pushHead queues a write that changes the past of a held machine, but not its seq
// or state, and releases the machine.
func (db *DB) pushHead(m *machine, h *record.Head, w engine.Write, ack *Ack) {
	w.Machine, w.Kind, w.Schema, w.Head = m.key, m.kind.number, h.Version, h.Append(nil, m.key)
	bytes := int64(len(w.Head))
	for i := range w.Snapshots {
		bytes += int64(len(w.Snapshots[i].Bytes))
	}
	for i := range w.Restore {
		bytes += int64(len(w.Restore[i].Bytes))
	}
	if m.known {
		m.h, m.snaps = *h, nil
	}
	m.newest = ack
	ack.head = publicHead(m.kind, m.id, w.Seq, h)
	db.pushWrite(ack, m, w, bytes)
	db.release(m)
}

// engineWrite returns the engine's write and the head after it, made from the stored
// head. The machine is held.
func (c *compaction) engineWrite(ctx context.Context) (w engine.Write, h *record.Head, err error) {
	var older []snapshotEntry
	head, h, err := c.db.storedHead(ctx, c.kind, c.id, c.to, func(s *record.Snapshot) {
		if s.Seq < c.to {
			older = append(older, entryOf(s))
		} else {
			c.base.Tags = s.Tags
		}
	})
	if err != nil {
		return w, nil, err
	}
	var drop []uint64
	for i, e := range append(older, entryOf(&c.base))[1:] {
		if o := &older[i]; o.version == e.version && len(o.tags) == 0 { // the last snapshot of each version stays
			drop = append(drop, o.seq)
		}
	}
	if head.Number != c.number || h.Base != c.from || beforeGap(c.to, h.Gaps) != c.to {
		return w, nil, fmt.Errorf("%w: it was purged, recovered or compacted meanwhile: nothing was removed", ErrConflict)
	}
	c.snapshots = drop
	h.Base = c.to
	h.Bytes -= min(h.Bytes, c.bytes)
	if h.Snapshot < c.to {
		h.Snapshot, h.SnapshotTime = c.to, c.base.Time
	}
	w = engine.Write{Expect: head.Seq, Seq: head.Seq, Token: head.Token, Drop: drop, TrimTo: c.to,
		Snapshots: []engine.Snapshot{{Seq: c.to, Bytes: c.base.Append(nil, c.m.key)}}}
	return w, h, nil
}

// wait waits until the write is durable and counts what was removed.
func (c *compaction) wait(ctx context.Context) error {
	if _, err := c.ack.Wait(ctx); err != nil {
		return err
	}
	if err := c.db.dropUnused(ctx, c.m); err != nil {
		return err
	}
	left, bytes, snapshots := map[uint64]bool{}, int64(0), 0
	_, err := c.db.eng.Load(ctx, c.m.key, engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: c.to - 1, Events: true, To: c.to}, func(it engine.Item) error {
		if it.Part == engine.PartEvent {
			left[it.Seq] = true
		} else if slices.Contains(c.snapshots, it.Seq) {
			snapshots++
		}
		return nil
	})
	if err != nil && !errors.Is(err, engine.ErrDamaged) {
		return err
	}
	records := 0
	for i := range c.records {
		if !left[c.records[i].Seq] {
			records++
			bytes += int64(len(c.records[i].Bytes))
		}
	}
	c.rep.Base = c.to
	c.rep.Records += records
	c.rep.Bytes += bytes
	c.rep.Snapshots += len(c.snapshots) - snapshots
	if n := len(c.records) - records; n > 0 {
		return fmt.Errorf("%d records up to %d are still there", n, c.to)
	}
	return nil
}
