package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/liap-tui/savepoint/engine"
)

// machine is all that is kept of one machine.
type machine struct {
	key       string
	head      engine.Head
	kind      uint32
	schema    uint64
	snapshots []engine.Snapshot // by seq
	events    []event           // by seq; there may be holes
}

type event struct {
	seq, pos uint64
	bytes    []byte
}

// apply takes the write in; head.Pos is already that of record w.Seq.
func (m *machine) apply(w *engine.Write) {
	m.head.Seq = w.Seq
	m.head.Token = w.Token
	m.kind, m.schema = w.Kind, w.Schema
	m.head.Bytes = bytes.Clone(w.Head)
	m.appendEvents(w.Events)
	m.trim(w.TrimTo)
	m.putBack(w.Restore)
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

// trim removes the events up to seq to. The few that stay move to an array of
// their own, so that the removed ones can be collected.
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

// putBack puts older events in the place of those up to the last of them.
func (m *machine) putBack(older []engine.StoredEvent) {
	if len(older) == 0 {
		return
	}
	rest := m.events[m.eventsTo(older[len(older)-1].Seq):]
	m.events = make([]event, 0, len(older)+len(rest))
	for _, o := range older {
		m.events = append(m.events, event{o.Seq, o.Pos, bytes.Clone(o.Bytes)})
	}
	m.events = append(m.events, rest...)
}

// put stores a snapshot in a list that apply has already made its own.
func (m *machine) put(s engine.Snapshot) {
	i, found := slices.BinarySearchFunc(m.snapshots, s.Seq, bySeq)
	if found {
		m.snapshots[i] = s
		return
	}
	m.snapshots = slices.Insert(m.snapshots, i, s)
}

func bySeq(s engine.Snapshot, seq uint64) int { return cmp.Compare(s.Seq, seq) }

// eventsTo counts the events up to and including seq to.
func (m *machine) eventsTo(to uint64) int {
	n, found := slices.BinarySearchFunc(m.events, to, func(ev event, seq uint64) int { return cmp.Compare(ev.seq, seq) })
	if found {
		n++
	}
	return n
}

// deliver gives fn the items that want names.
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
		s := snapshots[turn(i, len(snapshots), want.Newest)]
		if err := give(engine.Item{Part: engine.PartSnapshot, Seq: s.Seq, Bytes: s.Bytes}); err != nil {
			return err
		}
	}
	events := m.wantedEvents(want)
	for i := range events {
		ev := events[turn(i, len(events), want.Newest)]
		if err := give(engine.Item{Part: engine.PartEvent, Seq: ev.seq, Pos: ev.pos, Bytes: ev.bytes}); err != nil {
			return err
		}
	}
	return nil
}

// turn is the place of the i-th of n items.
func turn(i, n int, newest bool) int {
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

// lender lends copies that do not live longer than promised: the next one, and
// the end, overwrite them.
type lender struct{ buf []byte }

func (l *lender) lend(b []byte) []byte {
	l.spoil()
	l.buf = append(l.buf[:0], b...)
	return l.buf[:len(b):len(b)]
}

func (l *lender) end() { l.spoil() }

func (l *lender) spoil() {
	for i := range l.buf {
		l.buf[i] = 0xDB
	}
}
