package bolt

import (
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
	"github.com/liap-tui/savepoint/internal/format"
)

// commitJournal is Commit with a ring: the group becomes one record of it. What the
// ring has no place for, or no words, goes round it (R4): purges, trims,
// events put back, a machine whose head is damaged, a group larger than a segment, a full ring.
// The caller holds writing.
func (e *Engine) commitJournal(steps []engine.Step, out []engine.Result) error {
	if err := e.writableErr(); err != nil {
		return err
	}
	r := e.journal
	if r.targetSize.Load() > 0 {
		return e.commitDirect(steps, out, true)
	}
	if ok, larger := r.journalable(steps); !ok {
		return e.commitDirect(steps, out, larger)
	}
	g := &e.group
	defer g.end()
	damaged, err := r.prepare(steps)
	if err != nil {
		return err
	}
	if damaged {
		return e.commitDirect(steps, out, false)
	}
	if r.encode(steps, out); !g.dirty {
		return nil
	}
	r.pack()
	if r.overBudget() {
		r.awaitCheckpoint()
	}
	place, err := r.journal.Load().Append(&r.group)
	if errors.Is(err, journal.ErrFull) && !r.grows() {
		// A fold that is under way makes room.
		r.awaitCheckpoint()
		place, err = r.journal.Load().Append(&r.group)
	}
	if errors.Is(err, journal.ErrFull) || errors.Is(err, journal.ErrTooLarge) {
		return e.commitDirect(steps, out, true)
	}
	if err != nil {
		for i := range out {
			out[i].Pos = nil
		}
		err = fmt.Errorf("%w: %w", engine.ErrInDoubt, err)
		e.halt(err)
		return err
	}
	e.memtable.add(journalEntry{place.LSN, r.keep(r.payload)}, r.cuts)
	r.settled(g)
	e.versions.add(g.versionChanges())
	if r.checkpointDue() {
		r.wakeCheckpointer()
	}
	return nil
}

// awaitCheckpoint waits for the fold that is under way, if there is one.
func (r *journalWriter) awaitCheckpoint() {
	r.checkpointing.Lock()
	defer r.checkpointing.Unlock()
}

// journalable tells whether the ring's records can say what the steps ask for, and a
// segment has room for it; if not, whether those of a larger ring would.
func (r *journalWriter) journalable(steps []engine.Step) (ok, larger bool) {
	size := 0
	for i := range steps {
		for j := range steps[i].Writes {
			w := &steps[i].Writes[j]
			if w.Purge || w.TrimTo > 0 || len(w.Restore) > 0 {
				return false, false
			}
			size += len(w.Machine) + len(w.Head)
			for k := range w.Events {
				size += len(w.Events[k].Bytes)
			}
			for k := range w.Snapshots {
				size += len(w.Snapshots[k].Bytes)
			}
		}
	}
	ok = int64(size) < r.place.head.Segment
	return ok, !ok
}

// prepare begins the group with the heads of its machines: those written lately,
// those in the overlay, the others from the file.
func (r *journalWriter) prepare(steps []engine.Step) (damaged bool, err error) {
	g := &r.e.group
	g.begin(r.e.counters)
	g.checksOnly = true
	var missing []*machineState
	for i := range steps {
		for j := range steps[i].Writes {
			key := steps[i].Writes[j].Machine
			if g.machines[key] != nil || key == "" || len(key) > maxKey {
				continue
			}
			m := g.newMachine(key)
			if m.mem = r.heads.get(key); m.mem == nil {
				m.mem = &memtableMachine{}
				h, ok, err := r.memtableHead(key)
				if err != nil {
					return false, err
				}
				if !ok {
					missing = append(missing, m)
					continue
				}
				m.mem.head = h
			}
			m.head, m.before, m.exists, m.stored = m.mem.head, m.mem.head, true, true
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	err = r.e.view(func(tx *txn) error {
		g.tx = tx
		for _, m := range missing {
			g.read(m)
			m.head.bytes, m.before.bytes = nil, nil
			damaged = damaged || m.lost
		}
		g.tx = nil
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("%w: %w", engine.ErrNothingStored, err)
	}
	return damaged, nil
}

func (r *journalWriter) memtableHead(key string) (storedHead, bool, error) {
	ref, ok := r.e.memtable.newest(key)
	if !ok {
		return storedHead{}, false, nil
	}
	var w format.StepWrite
	if err := w.Parse(ref.write); err != nil {
		return storedHead{}, false, fmt.Errorf("%w: %w", engine.ErrNothingStored, err)
	}
	h := headOfWrite(&w)
	h.bytes = nil
	return h, true, nil
}

// encode takes the steps and puts the accepted ones into the payload.
func (r *journalWriter) encode(steps []engine.Step, out []engine.Result) {
	g := &r.e.group
	if cap(r.payload) > maxKept {
		r.payload = nil
	}
	r.cuts = r.cuts[:0]
	head := format.GroupHeader{Number: g.counters.number, Pos: g.counters.pos, Machines: g.counters.machines}
	b := head.Append(r.payload[:0])
	sw := r.write // its room
	for i := range steps {
		s := &steps[i]
		if out[i].Err = g.take(s); out[i].Err != nil {
			continue
		}
		out[i].Pos = g.positions(s)
		b = format.AppendStepLen(b, len(s.Writes))
		for j := range s.Writes {
			w := &s.Writes[j]
			m := g.owners[j]
			h := &m.head
			sw = format.StepWrite{Machine: append(sw.Machine[:0], w.Machine...), Kind: w.Kind, Schema: w.Schema,
				Number: h.number, Pos: h.pos, Expect: w.Expect, Seq: w.Seq, Token: w.Token[:], Head: w.Head,
				Drop: w.Drop, Events: sw.Events[:0], Snaps: sw.Snaps[:0]}
			for k := range w.Events {
				sw.Events = append(sw.Events, format.StepEvent{Time: w.Events[k].Terms.Time, Bytes: w.Events[k].Bytes})
			}
			for k := range w.Snapshots {
				sw.Snaps = append(sw.Snaps, format.StepSnapshot{Seq: w.Snapshots[k].Seq, Bytes: w.Snapshots[k].Bytes})
			}
			from := len(b)
			b = sw.Append(b)
			r.cuts = append(r.cuts, writeSpan{w.Machine, m.mem, from + 4, len(b)})
		}
	}
	clear(sw.Events[:cap(sw.Events)]) // the caller's bytes
	clear(sw.Snaps[:cap(sw.Snaps)])
	r.write = format.StepWrite{Machine: sw.Machine, Events: sw.Events, Snaps: sw.Snaps}
	r.payload = b
}

// pack makes the payload a record: compressed where that takes fewer blocks of
// the ring, which is what the disk writes.
func (r *journalWriter) pack() {
	if len(r.group.Payload()) > maxKept {
		r.group = journal.Group{}
	}
	r.group.Reset()
	if n := len(r.payload); !r.e.opt.noCompression && journal.Span(n) > journal.Align && int64(n) <= r.place.head.Segment {
		r.group.Build(func(dst []byte) []byte { return format.PackGroup(dst, r.payload) })
		if journal.Span(r.group.Len()) < journal.Span(n) {
			return
		}
		r.group.Reset()
	}
	r.group.Write(r.payload)
}

// keep copies a payload to memory that stays until it is folded.
func (r *journalWriter) keep(payload []byte) []byte {
	const chunk = 256 << 10
	if len(payload) > chunk/4 {
		return append([]byte(nil), payload...)
	}
	if cap(r.chunk)-len(r.chunk) < len(payload) {
		r.chunk = make([]byte, 0, chunk)
	}
	at := len(r.chunk)
	r.chunk = append(r.chunk, payload...)
	return r.chunk[at:len(r.chunk):len(r.chunk)]
}

// settled counts a group that is durable.
func (r *journalWriter) settled(g *batch) {
	for _, m := range g.touched {
		if m.changed && m.exists {
			if m.mem == nil {
				m.mem = &memtableMachine{}
			}
			m.mem.head = m.head
			m.mem.head.bytes = nil
			r.heads.put(m.key, m.mem)
		}
	}
	clear(r.cuts)
	r.e.counters = g.counters
	r.e.machines.Store(int64(g.counters.machines))
}

// commitDirect stores, in one transaction, everything that is in the ring only,
// then the steps, then the lsn they take as folded (R4): the buckets never hold
// anything newer than something that is only in the ring. With larger the same
// transaction puts a larger ring in place of the one that is empty then, if it
// may be larger; where the disk has no room for it, it stays.
func (e *Engine) commitDirect(steps []engine.Step, out []engine.Result, larger bool) error {
	r := e.journal
	r.checkpointing.Lock()
	defer r.checkpointing.Unlock()
	var next *journalState
	if larger && r.grows() {
		var err error
		if next, err = r.larger(); err != nil {
			return fmt.Errorf("%w: a larger journal: %w", engine.ErrNothingStored, err)
		}
	}
	if larger {
		r.targetSize.Store(0)
	}
	err := e.commitDirectGrowing(steps, out, next)
	if next != nil && errors.Is(err, engine.ErrDiskFull) {
		r.maxSize = r.place.size()
		err = e.commitDirectGrowing(steps, out, nil)
	}
	return err
}

// commitDirectGrowing is commitDirect with the ring to come, if there is one.
func (e *Engine) commitDirectGrowing(steps []engine.Step, out []engine.Result, next *journalState) error {
	r, g := e.journal, &e.group
	g.end()
	defer g.end()
	clear(out)
	groups, _ := e.memtable.freeze()
	lsn := r.journal.Load().Next()
	var versions versionCounts
	err := e.update(func(tx *txn) error {
		if err := g.checkpoint(tx, groups, e); err != nil {
			return err
		}
		if g.counters != e.counters {
			err := fmt.Errorf("%w: counters are %+v, not %+v", errJournalDiffers, g.counters, e.counters)
			e.halt(err)
			return err
		}
		taken := false
		for i := range steps {
			if out[i].Err = g.take(&steps[i]); out[i].Err == nil {
				out[i].Pos = g.positions(&steps[i])
				taken = true
			}
		}
		if !taken {
			return errNoStep
		}
		err := g.store()
		if err == nil {
			versions, err = readVersions(tx)
		}
		if err != nil {
			return err
		}
		if next != nil {
			return next.put(tx, lsn)
		}
		return putJournalState(tx, lsn, r.place.salt)
	})
	if errors.Is(err, errNoStep) {
		return nil
	}
	if err != nil {
		for i := range out {
			out[i].Pos = nil
		}
		return err
	}
	e.memtable.reset()
	r.heads.clear()
	r.settled(g)
	e.versions.set(versions)
	if next != nil {
		err = r.begin(next)
	} else {
		err = r.journal.Load().Bypass(lsn)
	}
	if err != nil { // the ring ends; these steps are durable
		e.halt(err)
	}
	return nil
}
