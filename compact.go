package savepoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// CompactReport tells what a compaction removed. It counts what is not there any
// more, by looking again. The file keeps its size; the pages are used again.
type CompactReport struct {
	Kind, ID  string
	Base      uint64 // the log begins right after this record
	Records   int    // gone
	Bytes     int64  // of those records, as encoded, before the file's compression
	Snapshots int    // gone
	Chapters  int    // handed to the archive
	Took      time.Duration
}

// Compact removes the machine's records up to a point: the state there becomes
// the base of the log. Points before it answer ErrCompacted from then on, tagged
// snapshots excepted; seq, head, keys and what the machine is are as before.
// A point at or before the base leaves everything as it is.
//
// Nothing is removed unless a replay of the whole log gives what is stored, and
// a replay from the new base does too; nor before Options.Archive, if there is
// one, has kept what goes. An error says how far it came: the report, which is
// there with an error too, counts what is gone. Under the snapshot-only strategy
// there are no records: ErrUnsupported.
func (s *Store[S]) Compact(ctx context.Context, id string, p Point) (*CompactReport, error) {
	rep, err := s.db.compact(ctx, s.kind, id, p)
	if err != nil {
		return rep, fmt.Errorf("compact %s %.60q to %s: %w", s.kind.name, id, p, err)
	}
	return rep, nil
}

func (db *DB) compact(ctx context.Context, k *kind, id string, p Point) (*CompactReport, error) {
	start := time.Now()
	rep := &CompactReport{Kind: k.name, ID: id}
	if err := db.writable(); err != nil {
		return rep, err
	}
	if !k.strategy.keepsEvents() {
		return rep, fmt.Errorf("%w: snapshot-only keeps no records; SnapshotPolicy says how many snapshots stay", ErrUnsupported)
	}
	if _, err := db.awaitDurable(ctx, k, id); err != nil {
		return rep, err
	}
	to, err := db.resolve(ctx, k, id, p)
	if err != nil {
		return rep, err
	}
	err = db.compactTo(ctx, k, id, to, rep)
	rep.Took = time.Since(start)
	return rep, err
}

// compactTo removes chapter after chapter up to record to.
func (db *DB) compactTo(ctx context.Context, k *kind, id string, to uint64, rep *CompactReport) error {
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

// chapterBytes is about how many bytes of records one compaction removes at
// once.
const chapterBytes = 16 << 20

// compaction is one new base of one machine on its way. It is planned without
// the machine's lock: what it looks at are records, which do not change.
type compaction struct {
	db   *DB
	kind *kind
	id   string
	rep  *CompactReport

	number uint64 // of the machine
	from   uint64 // the base before
	to     uint64 // the new one
	base   record.Snapshot
	bytes  uint64 // of the records from the old base to the new one

	records   []ArchivedRecord // that go
	before    []byte           // the snapshot of the old base
	snapshots []uint64         // that go

	m   *machine
	ack *Ack
}

// planCompaction proves that the log may begin anew at record to, or where a
// chapter ends before it, and has the archive keep what goes. It answers nil
// where the log begins there already.
func (db *DB) planCompaction(ctx context.Context, k *kind, id string, to uint64, rep *CompactReport) (*compaction, error) {
	m, err := db.awaitDurable(ctx, k, id)
	if err != nil {
		return nil, err
	}
	c := &compaction{db: db, kind: k, id: id, rep: rep, to: to, m: m}
	v := &verifier{db: db, kind: k, m: m, rep: &VerifyReport{Kind: k.name, ID: id}}
	snaps, err := v.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	c.number, c.from = v.number, v.head.Base
	rep.Base = c.from
	if c.to = beforeGap(c.to, v.head.Gaps); c.to <= c.from || c.to > v.rep.Head {
		return nil, nil
	}
	err = c.plan(ctx, snaps, v)
	if err != nil && db.cutMeanwhile(ctx, k, id, logStart{c.number, c.from}, err) {
		err = fmt.Errorf("%w: another compaction was first: %w", ErrConflict, err)
	}
	if err != nil || c.to <= c.from {
		return nil, err
	}
	return c, c.archive(ctx)
}

// plan reads what goes, and makes and proves the new base.
func (c *compaction) plan(ctx context.Context, snaps []record.Snapshot, v *verifier) error {
	if err := c.read(ctx, v.head.Gaps); err != nil {
		return err
	}
	if err := c.rebase(ctx, snaps); err != nil || c.to <= c.from {
		return err
	}
	if err := v.through(ctx, snaps); err != nil {
		return err
	}
	if err := agrees(v.rep, "a replay of the log"); err != nil {
		return err
	}
	return c.prove(ctx, snaps, v)
}

// beforeGap moves a point that a recovery gave up back to where the log has a
// state.
func beforeGap(to uint64, gaps []record.Gap) uint64 {
	for _, g := range gaps {
		if to >= g.From && to <= g.To {
			return g.From - 1
		}
	}
	return to
}

func agrees(rep *VerifyReport, what string) error {
	if rep.OK() {
		return nil
	}
	return fmt.Errorf("nothing is removed: %s does not give what is stored: %s", what, rep.Divergences[0])
}

// read copies the records that go and moves to to the end of the chapter.
func (c *compaction) read(ctx context.Context, gaps []record.Gap) error {
	size, more := 0, false
	key := keyOf(c.kind.name, c.id)
	_, err := c.db.eng.Load(ctx, key, engine.LoadRange{Events: true, To: c.to}, func(it engine.Item) error {
		if it.Err != nil {
			if it.Seq > c.from && !gaveUp(it.Seq, gaps) {
				return corrupt(c.kind, c.id, "event", it.Seq, it.Err)
			}
			return nil // given up, and gone with the rest
		}
		if size >= chapterBytes && it.Seq > c.from && !gaveUp(it.Seq, gaps) && !gaveUp(it.Seq-1, gaps) {
			more = true
			return engine.Stop
		}
		a := ArchivedRecord{Bytes: append([]byte(nil), it.Bytes...)}
		if err := a.parse(c.kind.name, c.id, it.Seq, it.Pos); err != nil {
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

// gaveUp says whether a recovery gave the record up.
func gaveUp(seq uint64, gaps []record.Gap) bool {
	return slices.ContainsFunc(gaps, func(g record.Gap) bool { return seq >= g.From && seq <= g.To })
}

// rebase makes the new base. What an older version wrote is never stored in the
// form of this one but by a migration: where the record to is one of those, the
// newest snapshot before it becomes the base, as it is.
func (c *compaction) rebase(ctx context.Context, snaps []record.Snapshot) error {
	k := c.kind
	r, _, tried, err := c.db.rebuild(ctx, k, c.id, c.to, 0)
	if err != nil {
		return err
	}
	if len(tried) > 0 {
		return fmt.Errorf("nothing is removed: record %d cannot be reached straight: %s", c.to, tried[0])
	}
	if k.upcasts(r.head.Version) {
		c.back(snaps)
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

// back makes the newest snapshot at or before to the base.
func (c *compaction) back(snaps []record.Snapshot) {
	for i := range snaps {
		if snaps[i].Seq <= c.to {
			c.base = snaps[i]
		}
	}
	c.to = c.base.Seq
	c.base.Pinned, c.base.Bytes = true, 0
	c.records = slices.DeleteFunc(c.records, func(a ArchivedRecord) bool {
		if a.Seq > c.to && a.Seq > c.from {
			c.bytes -= uint64(len(a.Bytes))
		}
		return a.Seq > c.to
	})
}

// prove replays from the bytes of the new base to everything that is stored
// behind it.
func (c *compaction) prove(ctx context.Context, snaps []record.Snapshot, v *verifier) error {
	var base record.Snapshot
	if err := base.Parse(c.base.Append(nil, c.m.key), c.m.key); err != nil {
		return err
	}
	behind := []record.Snapshot{base}
	for i := range snaps {
		switch s := &snaps[i]; {
		case s.Seq == c.from:
			c.before = s.Append(nil, c.m.key)
		case s.Seq > c.to:
			behind = append(behind, *s)
		}
	}
	proof := &verifier{db: v.db, kind: c.kind, m: v.m, head: v.head, rep: &VerifyReport{Head: v.rep.Head}}
	if err := proof.through(ctx, behind); err != nil {
		return fmt.Errorf("nothing is removed: a replay from record %d: %w", c.to, err)
	}
	return agrees(proof.rep, fmt.Sprintf("a replay from record %d", c.to))
}

// push queues the new base and the removal. It takes the machine's lock.
func (c *compaction) push(ctx context.Context) error {
	start := time.Now()
	m, err := c.db.acquireIdle(ctx, c.kind, c.id, true)
	if err != nil {
		return err
	}
	c.m = m
	w, h, err := c.write(ctx)
	if err != nil {
		c.db.queue.Release()
		c.db.release(m)
		return err
	}
	c.ack = newAck(opCompact, start)
	c.db.pushHead(m, h, w, c.ack)
	return nil
}

// pushHead queues a write that changes a held machine's past, not its seq or its
// state, and gives the machine back.
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

// write is the engine's write, from the head as it is now. The machine is held.
func (c *compaction) write(ctx context.Context) (w engine.Write, h *record.Head, err error) {
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
		if o := &older[i]; o.version == e.version && len(o.tags) == 0 { // the last of a version stays, as ever
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

// storedHead is a machine's head as the engine has it, with its snapshots up to
// a seq; damaged ones are passed over.
func (db *DB) storedHead(ctx context.Context, k *kind, id string, to uint64, each func(*record.Snapshot)) (engine.Head, *record.Head, error) {
	key := keyOf(k.name, id)
	head, err := db.eng.Load(ctx, key, engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: to}, func(it engine.Item) error {
		var s record.Snapshot
		if it.Err == nil && s.Parse(it.Bytes, key) == nil {
			s.State = append([]byte(nil), s.State...)
			each(&s)
		}
		return nil
	})
	if err != nil {
		return head, nil, db.wrapEngineError(k, id, err)
	}
	if head.Number == 0 {
		return head, nil, notFoundError(newMachine(k, id))
	}
	h := &record.Head{}
	if err := h.Parse(head.Bytes, key); err != nil {
		return head, nil, corrupt(k, id, "head", head.Seq, err)
	}
	return head, h, nil
}

// wait waits for the answer and counts what is gone.
func (c *compaction) wait(ctx context.Context) error {
	if _, err := c.ack.Wait(ctx); err != nil {
		return err
	}
	if err := c.db.rest(ctx, c.m); err != nil {
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
