package bolt

import (
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// changes collects what the accepted steps of a group store besides heads. The
// bytes are borrowed until end: from the callers of Commit, from journal entries,
// or from the blocks that a trim stores again.
type changes struct {
	events       []pendingEvent
	snapshots    []pendingSnapshot
	indexEntries []format.IndexEntry // of new events, in the order of their positions
	restored     []format.IndexEntry // of restored events, whose positions are older
}

// pendingEvent is an event to be stored under number. It is dropped if the machine
// is purged later in the group: then m has another number.
type pendingEvent struct {
	m      *machineState
	number uint64
	kind   uint32
	schema uint64
	entry  format.Entry
}

// pendingSnapshot is a snapshot to be stored, or with drop to be removed.
type pendingSnapshot struct {
	m      *machineState
	number uint64
	seq    uint64
	kind   uint32
	schema uint64
	bytes  []byte
	drop   bool
}

// add collects the changes of a write that the ledger has just accepted for m.
func (c *changes) add(w *engine.Write, m *machineState) {
	h := &m.head
	c.trim(m, w.TrimTo)
	if n := len(w.Restore); n > 0 {
		c.trim(m, w.Restore[n-1].Seq)
		h.trims++ // a load that is under way has not seen these events
	}
	for i := range w.Restore {
		o := &w.Restore[i]
		c.events = append(c.events, pendingEvent{m, h.number, w.Kind, w.Schema,
			format.Entry{Seq: o.Seq, Pos: o.Pos, Time: o.Terms.Time, Bytes: o.Bytes}})
		c.restored = append(c.restored, format.IndexEntry{Pos: o.Pos, Number: h.number, Seq: o.Seq, Time: o.Terms.Time, Terms: hashesOf(w.Kind, o.Bytes)})
	}
	for i := range w.Events {
		back := uint64(len(w.Events) - 1 - i)
		c.indexEntries = append(c.indexEntries, format.IndexEntry{Pos: h.pos - back, Number: h.number, Seq: w.Seq - back,
			Time: w.Events[i].Terms.Time, Terms: hashesOf(w.Kind, w.Events[i].Bytes)})
		if w.Seq-back <= w.TrimTo {
			continue
		}
		c.events = append(c.events, pendingEvent{m, h.number, w.Kind, w.Schema,
			format.Entry{Seq: w.Seq - back, Pos: h.pos - back, Time: w.Events[i].Terms.Time, Bytes: w.Events[i].Bytes}})
	}
	for _, seq := range w.Drop {
		c.snapshots = append(c.snapshots, pendingSnapshot{m: m, number: h.number, seq: seq, drop: true})
	}
	for i := range w.Snapshots {
		s := &w.Snapshots[i]
		c.snapshots = append(c.snapshots, pendingSnapshot{m: m, number: h.number, seq: s.Seq, kind: w.Kind, schema: w.Schema, bytes: s.Bytes})
	}
}

// trim removes the events of a machine up to seq to: those collected so far at
// once, those in the file when the group is stored.
func (c *changes) trim(m *machineState, to uint64) {
	if to == 0 {
		return
	}
	m.trimTo = max(m.trimTo, to)
	c.events = slices.DeleteFunc(c.events, func(ev pendingEvent) bool { return ev.m == m && ev.entry.Seq <= to })
}

// end forgets all changes and keeps their memory.
func (c *changes) end() {
	clear(c.events)
	clear(c.snapshots)
	c.events, c.snapshots = c.events[:0], c.snapshots[:0]
	c.indexEntries, c.restored = c.indexEntries[:0], c.restored[:0]
}
