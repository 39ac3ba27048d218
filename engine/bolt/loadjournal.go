package bolt

import (
	"cmp"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// journalView is what a load found in the memtable. The file has the machine up to
// the seq where its first write in the memtable continues, so the load delivers
//
//	head       that of the newest write
//	snapshots  the file's, except those that a write drops or replaces, merged with those of the writes
//	events     the file's up to that seq, then those of the writes
type journalView struct {
	refs   []entryRef
	writes []format.StepWrite // of refs, without those that the transaction has
	snaps  []memtableSnapshot // in the order of delivery; those to deliver, and those that hide one of the file
	next   int                // index in snaps of the next one to deliver
	newest bool               // the newest item is delivered first
	events bool               // the events of writes are delivered

	newestAt uint64 // seq after the newest snapshot of writes, if only the newest is wanted
}

// memtableSnapshot is a snapshot that a write stores or drops.
type memtableSnapshot struct {
	seq  uint64
	b    []byte
	skip bool // it is dropped, or not wanted
}

// take copies the refs of a machine. A load calls it before its first transaction.
func (v *journalView) take(t *memtable, machine string) {
	v.refs = t.refs(machine, v.refs[:0])
}

// reset returns an empty view with the buffers of v.
func (v *journalView) reset() journalView {
	clear(v.refs)
	clear(v.snaps)
	for i := range v.writes {
		v.writes[i].Parse(nil)
		clear(v.writes[i].Events[:cap(v.writes[i].Events)])
		clear(v.writes[i].Snaps[:cap(v.writes[i].Snaps)])
	}
	if cap(v.writes) > 256 {
		return journalView{}
	}
	return journalView{refs: v.refs[:0], writes: v.writes[:0], snaps: v.snaps[:0]}
}

// begin parses the writes that the transaction does not have (R10). If only the
// newest snapshot is wanted and a write has one, it moves want.After to it.
func (v *journalView) begin(tx *txn, want *engine.LoadRange) error {
	v.writes, v.snaps, v.next, v.events, v.newestAt = v.writes[:0], v.snaps[:0], 0, false, 0
	v.newest = want.Newest
	if len(v.refs) == 0 {
		return nil
	}
	checkpointed, _, err := parseJournalState(tx)
	if err != nil {
		return err
	}
	for _, ref := range v.refs {
		if ref.lsn <= checkpointed {
			continue
		}
		if len(v.writes) < cap(v.writes) { // with the buffers of an earlier write
			v.writes = v.writes[:len(v.writes)+1]
		} else {
			v.writes = append(v.writes, format.StepWrite{})
		}
		if err := v.writes[len(v.writes)-1].Parse(ref.write); err != nil {
			return err
		}
	}
	if len(v.writes) > 0 && want.Snapshot != engine.NoSnapshot {
		v.collectSnapshots(want)
	}
	return nil
}

// collectSnapshots sets snaps.
func (v *journalView) collectSnapshots(want *engine.LoadRange) {
	for i := range v.writes {
		for _, seq := range v.writes[i].Drop {
			v.snaps = append(v.snaps, memtableSnapshot{seq: seq, skip: true})
		}
		for _, s := range v.writes[i].Snaps {
			v.snaps = append(v.snaps, memtableSnapshot{seq: s.Seq, b: s.Bytes})
		}
	}
	slices.SortStableFunc(v.snaps, func(a, b memtableSnapshot) int { return cmp.Compare(a.seq, b.seq) })
	last := v.snaps[:0]
	for i, s := range v.snaps { // the last write wins
		if i+1 == len(v.snaps) || v.snaps[i+1].seq != s.seq {
			last = append(last, s)
		}
	}
	v.snaps = last
	found := false
	for i := len(v.snaps) - 1; i >= 0; i-- {
		s := &v.snaps[i]
		switch {
		case s.skip:
		case s.seq > want.SnapshotTo || found && want.Snapshot == engine.NewestSnapshot:
			s.skip = true
		default:
			found = true
			if want.Snapshot == engine.NewestSnapshot {
				want.After, v.newestAt = max(want.After, s.seq), s.seq+1
			}
		}
	}
	if v.newest {
		slices.Reverse(v.snaps)
	}
}

// order compares seqs in the order of delivery.
func (v *journalView) order(a, b uint64) int {
	if v.newest {
		a, b = b, a
	}
	return cmp.Compare(a, b)
}

// hides reports whether a write drops or replaces the file's snapshot at seq.
func (v *journalView) hides(seq uint64) bool {
	_, found := slices.BinarySearchFunc(v.snaps, seq, func(s memtableSnapshot, seq uint64) int { return v.order(s.seq, seq) })
	return found
}

// snapshotsFrom returns the seq from which snapshots of the file are wanted.
func (v *journalView) snapshotsFrom() uint64 { return v.newestAt }

// skipSnapshots skips all snapshots of writes: only the newest is wanted, and the
// file has a newer one.
func (v *journalView) skipSnapshots() { v.next = len(v.snaps) }

// snapshotsBefore emits the snapshots of writes that come before one of the file
// at seq.
func (v *journalView) snapshotsBefore(seq uint64, emit emitFunc) error {
	for ; v.next < len(v.snaps) && v.order(v.snaps[v.next].seq, seq) < 0; v.next++ {
		if err := v.emitSnapshot(emit); err != nil {
			return err
		}
	}
	return nil
}

// emitSnapshot emits the next snapshot, unless it is skipped.
func (v *journalView) emitSnapshot(emit emitFunc) error {
	s := &v.snaps[v.next]
	if s.skip {
		return nil
	}
	return emit(engine.Item{Part: engine.PartSnapshot, Seq: s.seq, Last: s.seq, Bytes: s.b})
}

// beforeEvents emits what comes before the file's events: the other snapshots,
// and newest first the events of writes.
func (v *journalView) beforeEvents(want *engine.LoadRange, emit emitFunc) error {
	for ; v.next < len(v.snaps); v.next++ {
		if err := v.emitSnapshot(emit); err != nil {
			return err
		}
	}
	if !v.newest || v.events {
		return nil
	}
	return v.emitEvents(want, emit)
}

// rest emits what is left when everything of the file is delivered.
func (v *journalView) rest(want *engine.LoadRange, emit emitFunc) error {
	if err := v.beforeEvents(want, emit); err != nil || v.events {
		return err
	}
	return v.emitEvents(want, emit)
}

// emitEvents emits the wanted events of all writes.
func (v *journalView) emitEvents(want *engine.LoadRange, emit emitFunc) error {
	v.events = true
	if !want.Events {
		return nil
	}
	for i := range v.writes {
		w := &v.writes[i]
		if v.newest {
			w = &v.writes[len(v.writes)-1-i]
		}
		for k := range w.Events {
			if v.newest {
				k = len(w.Events) - 1 - k
			}
			back := uint64(len(w.Events) - 1 - k)
			seq := w.Seq - back
			if seq <= want.After || seq > want.To {
				continue
			}
			if err := emit(engine.Item{Part: engine.PartEvent, Seq: seq, Last: seq, Pos: w.Pos - back, Bytes: w.Events[k].Bytes}); err != nil {
				return err
			}
		}
	}
	return nil
}

// any reports whether the memtable has writes of the machine that the file does not.
func (v *journalView) any() bool { return len(v.writes) > 0 }

// head returns the head after the newest write.
func (v *journalView) head() storedHead { return headOfWrite(&v.writes[len(v.writes)-1]) }

// fileEnd returns the seq up to which the file has the machine.
func (v *journalView) fileEnd() uint64 { return v.writes[0].Expect }
