package bolt

import (
	"cmp"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// journalView is what a look found in the ring. The file has the machine up to
// where its first write in the ring goes on, so
//
//	head       the newest write's
//	snapshots  the file's, but for those the ring drops or replaces, merged with the ring's
//	events     the file's up to there, then the ring's
type journalView struct {
	refs   []entryRef
	writes []format.StepWrite
	snaps  []memtableSnapshot // by seq; those to be delivered and those that hide one of the file
	next   int                // of snaps, in the order of delivery, the first that is left
	newest bool
	events bool // those of the ring are delivered

	newestAt uint64 // behind the newest snapshot of the ring, where only the newest is wanted
}

type memtableSnapshot struct {
	seq  uint64
	b    []byte
	skip bool // it is dropped, or not wanted
}

// take is the first thing a look does.
func (r *journalView) take(o *memtable, machine string) {
	r.refs = o.refs(machine, r.refs[:0])
}

// reset keeps only the room.
func (r *journalView) reset() journalView {
	clear(r.refs)
	clear(r.snaps)
	for i := range r.writes {
		r.writes[i].Parse(nil)
		clear(r.writes[i].Events[:cap(r.writes[i].Events)])
		clear(r.writes[i].Snaps[:cap(r.writes[i].Snaps)])
	}
	if cap(r.writes) > 256 {
		return journalView{}
	}
	return journalView{refs: r.refs[:0], writes: r.writes[:0], snaps: r.snaps[:0]}
}

// begin leaves out what the transaction has already (R10), and sorts the rest.
func (r *journalView) begin(tx *txn, want *engine.LoadRange) error {
	r.writes, r.snaps, r.next, r.events, r.newestAt = r.writes[:0], r.snaps[:0], 0, false, 0
	r.newest = want.Newest
	if len(r.refs) == 0 {
		return nil
	}
	folded, _, err := parseJournalState(tx)
	if err != nil {
		return err
	}
	for _, ref := range r.refs {
		if ref.lsn <= folded {
			continue
		}
		if len(r.writes) < cap(r.writes) {
			r.writes = r.writes[:len(r.writes)+1]
		} else {
			r.writes = append(r.writes, format.StepWrite{})
		}
		if err := r.writes[len(r.writes)-1].Parse(ref.write); err != nil {
			return err
		}
	}
	if len(r.writes) > 0 && want.Snapshot != engine.NoSnapshot {
		r.sortSnapshots(want)
	}
	return nil
}

func (r *journalView) sortSnapshots(want *engine.LoadRange) {
	for i := range r.writes {
		for _, seq := range r.writes[i].Drop {
			r.snaps = append(r.snaps, memtableSnapshot{seq: seq, skip: true})
		}
		for _, s := range r.writes[i].Snaps {
			r.snaps = append(r.snaps, memtableSnapshot{seq: s.Seq, b: s.Bytes})
		}
	}
	slices.SortStableFunc(r.snaps, func(a, b memtableSnapshot) int { return cmp.Compare(a.seq, b.seq) })
	last := r.snaps[:0]
	for i, s := range r.snaps { // the last word counts
		if i+1 == len(r.snaps) || r.snaps[i+1].seq != s.seq {
			last = append(last, s)
		}
	}
	r.snaps = last
	found := false
	for i := len(r.snaps) - 1; i >= 0; i-- {
		s := &r.snaps[i]
		switch {
		case s.skip:
		case s.seq > want.SnapshotTo || found && want.Snapshot == engine.NewestSnapshot:
			s.skip = true
		default:
			found = true
			if want.Snapshot == engine.NewestSnapshot {
				want.After, r.newestAt = max(want.After, s.seq), s.seq+1
			}
		}
	}
	if r.newest {
		slices.Reverse(r.snaps)
	}
}

// order compares seqs in the order of delivery.
func (r *journalView) order(a, b uint64) int {
	if r.newest {
		a, b = b, a
	}
	return cmp.Compare(a, b)
}

// hides tells whether the ring drops or replaces the file's snapshot.
func (r *journalView) hides(seq uint64) bool {
	_, found := slices.BinarySearchFunc(r.snaps, seq, func(s memtableSnapshot, seq uint64) int { return r.order(s.seq, seq) })
	return found
}

// snapshotsFrom is where the file's snapshots begin to be of interest.
func (r *journalView) snapshotsFrom() uint64 { return r.newestAt }

// passed says that the file has a newer snapshot than the ring, where only the
// newest is wanted.
func (r *journalView) passed() { r.next = len(r.snaps) }

// snapshots delivers the ring's that come before the file's at seq.
func (r *journalView) snapshots(seq uint64, give func(engine.Item) error) error {
	for ; r.next < len(r.snaps) && r.order(r.snaps[r.next].seq, seq) < 0; r.next++ {
		if err := r.snapshot(give); err != nil {
			return err
		}
	}
	return nil
}

func (r *journalView) snapshot(give func(engine.Item) error) error {
	s := &r.snaps[r.next]
	if s.skip {
		return nil
	}
	return give(engine.Item{Part: engine.PartSnapshot, Seq: s.seq, Last: s.seq, Bytes: s.b})
}

// beforeEvents delivers what comes before the file's events.
func (r *journalView) beforeEvents(want *engine.LoadRange, give func(engine.Item) error) error {
	for ; r.next < len(r.snaps); r.next++ {
		if err := r.snapshot(give); err != nil {
			return err
		}
	}
	if !r.newest || r.events {
		return nil
	}
	return r.deliver(want, give)
}

// rest delivers what is left when the file is read.
func (r *journalView) rest(want *engine.LoadRange, give func(engine.Item) error) error {
	if err := r.beforeEvents(want, give); err != nil || r.events {
		return err
	}
	return r.deliver(want, give)
}

// deliver gives the ring's events.
func (r *journalView) deliver(want *engine.LoadRange, give func(engine.Item) error) error {
	r.events = true
	if !want.Events {
		return nil
	}
	for i := range r.writes {
		w := &r.writes[i]
		if r.newest {
			w = &r.writes[len(r.writes)-1-i]
		}
		for j := range w.Events {
			if r.newest {
				j = len(w.Events) - 1 - j
			}
			back := uint64(len(w.Events) - 1 - j)
			seq := w.Seq - back
			if seq <= want.After || seq > want.To {
				continue
			}
			if err := give(engine.Item{Part: engine.PartEvent, Seq: seq, Last: seq, Pos: w.Pos - back, Bytes: w.Events[j].Bytes}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *journalView) any() bool { return len(r.writes) > 0 }

func (r *journalView) head() storedHead { return headOfWrite(&r.writes[len(r.writes)-1]) }

// fileEnd is the seq that the file has the machine up to.
func (r *journalView) fileEnd() uint64 { return r.writes[0].Expect }
