package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/liap-tui/savepoint/engine"
)

// machine holds everything that is stored of one machine.
type machine struct {
	key       string
	head      engine.Head
	kind      uint32            // of the newest write
	schema    uint64            // of the newest write
	snapshots []engine.Snapshot // by seq
	events    []event           // by seq; seqs may be missing
}

type event struct {
	seq, pos uint64
	bytes    []byte
}

// apply stores a write; head.Pos is already that of record w.Seq.
func (m *machine) apply(w *engine.Write) {
	m.head.Seq = w.Seq
	m.head.Token = w.Token
	m.kind, m.schema = w.Kind, w.Schema
	m.head.Bytes = bytes.Clone(w.Head)
	m.appendEvents(w.Events)
	m.trim(w.TrimTo)
	m.restore(w.Restore)
	if len(w.Drop)+len(w.Snapshots) > 0 {
		m.snapshots = slices.DeleteFunc(slices.Clone(m.snapshots), func(s engine.Snapshot) bool {
			return slices.Contains(w.Drop, s.Seq)
		})
	}
	for _, s := range w.Snapshots {
		m.put(engine.Snapshot{Seq: s.Seq, Bytes: bytes.Clone(s.Bytes)})
	}
}

func (m *machine) appendEvents(events []engine.Event) {
	for i, ev := range events {
		back := uint64(len(events) - 1 - i)
		m.events = append(m.events, event{m.head.Seq - back, m.head.Pos - back, bytes.Clone(ev.Bytes)})
	}
}

// trim removes the events up to seq to. If fewer events stay than were removed,
// they move to a new array, so that the memory of the removed ones is freed.
func (m *machine) trim(to uint64) {
	n := m.eventsTo(to)
	if n == 0 {
		return
	}
	m.events = m.events[n:]
	if len(m.events) < n {
		m.events = slices.Clone(m.events)
	}
}

// restore replaces all events up to the last of the restored ones by these.
func (m *machine) restore(restored []engine.StoredEvent) {
	if len(restored) == 0 {
		return
	}
	rest := m.events[m.eventsTo(restored[len(restored)-1].Seq):]
	m.events = make([]event, 0, len(restored)+len(rest))
	for _, o := range restored {
		m.events = append(m.events, event{o.Seq, o.Pos, bytes.Clone(o.Bytes)})
	}
	m.events = append(m.events, rest...)
}

// put stores a snapshot. apply has copied the list of snapshots before.
func (m *machine) put(s engine.Snapshot) {
	i, found := slices.BinarySearchFunc(m.snapshots, s.Seq, bySeq)
	if found {
		m.snapshots[i] = s
		return
	}
	m.snapshots = slices.Insert(m.snapshots, i, s)
}

func bySeq(s engine.Snapshot, seq uint64) int { return cmp.Compare(s.Seq, seq) }

// eventsTo returns the number of events up to and including seq to.
func (m *machine) eventsTo(to uint64) int {
	n, found := slices.BinarySearchFunc(m.events, to, func(ev event, seq uint64) int { return cmp.Compare(ev.seq, seq) })
	if found {
		n++
	}
	return n
}

// deliver calls fn with the items that want selects.
func (m *machine) deliver(ctx context.Context, want engine.LoadRange, fn func(engine.Item) error) error {
	var lent lender
	defer lent.end()
	give := func(it engine.Item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		it.Last = it.Seq
		it.Bytes = lent.lend(it.Bytes)
		return fn(it)
	}
	snapshots := m.wantedSnapshots(want)
	if want.Snapshot == engine.NewestSnapshot && len(snapshots) > 0 {
		want.After = max(want.After, snapshots[0].Seq)
	}
	for i := range snapshots {
		s := snapshots[indexOf(i, len(snapshots), want.Newest)]
		if err := give(engine.Item{Part: engine.PartSnapshot, Seq: s.Seq, Bytes: s.Bytes}); err != nil {
			return err
		}
	}
	events := m.wantedEvents(want)
	for i := range events {
		ev := events[indexOf(i, len(events), want.Newest)]
		if err := give(engine.Item{Part: engine.PartEvent, Seq: ev.seq, Pos: ev.pos, Bytes: ev.bytes}); err != nil {
			return err
		}
	}
	return nil
}

// indexOf returns the index of the i-th of n items in the order of delivery.
func indexOf(i, n int, newest bool) int {
	if newest {
		return n - 1 - i
	}
	return i
}

func (m *machine) wantedSnapshots(want engine.LoadRange) []engine.Snapshot {
	if want.Snapshot == engine.NoSnapshot {
		return nil
	}
	n, found := slices.BinarySearchFunc(m.snapshots, want.SnapshotTo, bySeq)
	if found {
		n++
	}
	if want.Snapshot == engine.NewestSnapshot && n > 1 {
		return m.snapshots[n-1 : n]
	}
	return m.snapshots[:n]
}

func (m *machine) wantedEvents(want engine.LoadRange) []event {
	if !want.Events || want.To <= want.After {
		return nil
	}
	return m.events[m.eventsTo(want.After):m.eventsTo(want.To)]
}

// lender lends copies that are valid no longer than promised: it overwrites a copy
// when the next one is lent, and at the end.
type lender struct{ buf []byte }

func (l *lender) lend(b []byte) []byte {
	l.overwrite()
	l.buf = append(l.buf[:0], b...)
	return l.buf[:len(b):len(b)]
}

func (l *lender) end() { l.overwrite() }

func (l *lender) overwrite() {
	for i := range l.buf {
		l.buf[i] = 0xDB
	}
}
