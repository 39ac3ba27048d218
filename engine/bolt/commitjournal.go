package bolt

import (
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
	"github.com/liap-tui/savepoint/internal/format"
)

// commit is [Engine.Commit] with a journal: the group becomes one record of it. A
// group bypasses the journal (R4, see commitDirect) if it does not fit, or if a
// journal record cannot express it: purges, trims, restored events, a machine
// whose head is damaged. The caller holds Engine.writing.
func (j *journalWriter) commit(steps []engine.Step, out []engine.Result) error {
	e := j.e
	if err := e.writableErr(); err != nil {
		return err
	}
	if j.targetSize.Load() > 0 {
		return j.commitDirect(steps, out, true)
	}
	if ok, larger := j.journalable(steps); !ok {
		return j.commitDirect(steps, out, larger)
	}
	l := &j.ledger
	defer l.end()
	damaged, err := j.prepare(steps)
	if err != nil {
		return err
	}
	if damaged {
		return j.commitDirect(steps, out, false)
	}
	j.record.build(l, steps, out)
	if !l.dirty {
		return nil
	}
	j.record.pack(e.opt.noCompression, j.place.head.Segment)
	if j.overBudget() {
		j.awaitCheckpoint()
	}
	place, err := j.journal.Load().Append(&j.record.group)
	if errors.Is(err, journal.ErrFull) && !j.grows() {
		j.awaitCheckpoint() // it frees space
		place, err = j.journal.Load().Append(&j.record.group)
	}
	if errors.Is(err, journal.ErrFull) || errors.Is(err, journal.ErrTooLarge) {
		return j.commitDirect(steps, out, true)
	}
	if err != nil {
		for i := range out {
			out[i].Pos = nil
		}
		err = fmt.Errorf("%w: %w", engine.ErrInDoubt, err)
		e.halt(err)
		return err
	}
	e.memtable.add(journalEntry{place.LSN, j.record.keep()}, j.record.spans)
	j.publish(l)
	e.versions.add(l.versionChanges())
	if j.checkpointDue() {
		j.checkpointer.wake()
	}
	return nil
}

// journalable reports whether a journal record can express the steps and fits into
// a segment. If not, larger reports whether a larger journal would help.
func (j *journalWriter) journalable(steps []engine.Step) (ok, larger bool) {
	size := 0
	for i := range steps {
		for k := range steps[i].Writes {
			w := &steps[i].Writes[k]
			if w.Purge || w.TrimTo > 0 || len(w.Restore) > 0 {
				return false, false
			}
			size += len(w.Machine) + len(w.Head)
			for n := range w.Events {
				size += len(w.Events[n].Bytes)
			}
			for n := range w.Snapshots {
				size += len(w.Snapshots[n].Bytes)
			}
		}
	}
	ok = int64(size) < j.place.head.Segment
	return ok, !ok
}

// prepare starts the group in the ledger with the heads of its machines: from the
// cache, else from the memtable, else from the file.
func (j *journalWriter) prepare(steps []engine.Step) (damaged bool, err error) {
	l := &j.ledger
	l.begin(j.e.counters)
	var missing []*machineState
	for i := range steps {
		for k := range steps[i].Writes {
			key := steps[i].Writes[k].Machine
			if l.machines[key] != nil || key == "" || len(key) > maxKey {
				continue
			}
			m := l.newMachine(key)
			if m.mem = j.heads.get(key); m.mem == nil {
				m.mem = &memtableMachine{}
				h, ok, err := j.memtableHead(key)
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
	err = j.e.view(func(tx *txn) error {
		l.tx = tx
		for _, m := range missing {
			l.read(m)
			m.head.bytes, m.before.bytes = nil, nil
			damaged = damaged || m.lost
		}
		l.tx = nil
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("%w: %w", engine.ErrNothingStored, err)
	}
	return damaged, nil
}

// memtableHead returns the head of a machine, without the caller's bytes, if the
// memtable has one.
func (j *journalWriter) memtableHead(key string) (h storedHead, ok bool, err error) {
	ref, ok := j.e.memtable.newest(key)
	if !ok {
		return storedHead{}, false, nil
	}
	var w format.StepWrite
	if err := w.Parse(ref.write); err != nil {
		return storedHead{}, false, fmt.Errorf("%w: %w", engine.ErrNothingStored, err)
	}
	h = headOfWrite(&w)
	h.bytes = nil
	return h, true, nil
}

// publish makes a durable group the state that the next group starts from.
func (j *journalWriter) publish(l *ledger) {
	for _, m := range l.touched {
		if m.changed && m.exists {
			if m.mem == nil {
				m.mem = &memtableMachine{}
			}
			m.mem.head = m.head
			m.mem.head.bytes = nil
			j.heads.put(m.key, m.mem)
		}
	}
	clear(j.record.spans)
	j.e.counters = l.counters
	j.e.machines.Store(int64(l.counters.machines))
}

// commitDirect stores, in one transaction, everything that only the journal holds,
// then the steps, then the LSN that is reserved for them as the checkpointed one
// (R4). So the buckets never hold anything newer than what only the journal
// holds. With larger the same transaction replaces the journal, which is empty
// then, by a larger one, if it may grow; if the disk has no space for that, the
// journal stays as it is.
func (j *journalWriter) commitDirect(steps []engine.Step, out []engine.Result, larger bool) error {
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	var next *journalState
	if larger && j.grows() {
		var err error
		if next, err = j.larger(); err != nil {
			return fmt.Errorf("%w: a larger journal: %w", engine.ErrNothingStored, err)
		}
	}
	if larger {
		j.targetSize.Store(0)
	}
	err := j.commitDirectGrowing(steps, out, next)
	if next != nil && errors.Is(err, engine.ErrDiskFull) {
		j.maxSize = j.place.size()
		err = j.commitDirectGrowing(steps, out, nil)
	}
	return err
}

// commitDirectGrowing is commitDirect with the journal that replaces the present
// one, nil if it stays.
func (j *journalWriter) commitDirectGrowing(steps []engine.Step, out []engine.Result, next *journalState) error {
	e, b := j.e, &j.e.batch
	defer b.end()
	clear(out)
	entries, _ := e.memtable.freeze()
	lsn := j.journal.Load().Next()
	var versions versionCounts
	err := e.update(func(tx *txn) error {
		if err := j.replay(tx, entries); err != nil {
			return err
		}
		if b.ledger.counters != e.counters {
			err := fmt.Errorf("%w: counters are %+v, not %+v", errJournalDiffers, b.ledger.counters, e.counters)
			e.halt(err)
			return err
		}
		if !b.takeAll(steps, out) {
			return errNoStep
		}
		err := b.store()
		if err == nil {
			versions, err = readVersions(tx)
		}
		if err != nil {
			return err
		}
		if next != nil {
			return next.put(tx, lsn)
		}
		return putJournalState(tx, lsn, j.place.salt)
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
	j.heads.clear()
	j.publish(&b.ledger)
	e.versions.set(versions)
	if next != nil {
		err = j.switchTo(next)
	} else {
		err = j.journal.Load().Bypass(lsn)
	}
	if err != nil { // the journal cannot be written any more, but these steps are durable
		e.halt(err)
	}
	return nil
}
