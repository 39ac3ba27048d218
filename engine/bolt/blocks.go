package bolt

import (
	"cmp"
	"slices"

	"github.com/liap-tui/savepoint/internal/format"
)

// A block is as long as it can be, because long ones compress well and one value
// is found and checked faster than many:
//
//  1. A block of several events is one value: what does not fit is cut.
//  2. The newest block of a machine goes on with the next events while it has
//     at most growingBlock bytes; so each event is written a few times at the
//     most, whether it comes alone or in a fold.
//  3. A block that is damaged, or of another kind or schema version, does not go
//     on.
const (
	longestBlock  = 16 << 10 // bytes of events, before compression
	growingBlock  = 4 << 10
	shortestBlock = 1 << 10 // what is tried at least
)

// blockFill is how many bytes after compression a block aims at.
const blockFill = format.LongestValue - format.HeaderLen - 20

// storeEvents puts the group's events into blocks.
func (g *batch) storeEvents() error {
	bySeq := func(a, b pendingEvent) int { return cmp.Compare(a.entry.Seq, b.entry.Seq) }
	at := 0
	for _, m := range g.byMachine() {
		g.run = g.run[:0]
		for _, i := range g.order[at : at+m.events] {
			g.run = append(g.run, g.events[i])
		}
		at += m.events
		if !slices.IsSortedFunc(g.run, bySeq) { // some were put back
			slices.SortFunc(g.run, bySeq)
		}
		for run := g.run; len(run) > 0; {
			n := 1
			for n < len(run) && run[n].follows(&run[n-1]) {
				n++
			}
			if err := g.storeRun(run[:n]); err != nil {
				return err
			}
			run = run[n:]
		}
	}
	return nil
}

// byMachine gives the machines that have events, by number, and brings the
// events' places into g.order: machine by machine, each one's as they came.
// Those of a machine that was purged are nobody's.
func (g *batch) byMachine() []*machineState {
	g.busy = g.busy[:0]
	for i := range g.events {
		ev := &g.events[i]
		if ev.number != ev.m.head.number {
			continue
		}
		if ev.m.events++; ev.m.events == 1 {
			g.busy = append(g.busy, ev.m)
		}
	}
	slices.SortFunc(g.busy, func(a, b *machineState) int { return cmp.Compare(a.head.number, b.head.number) })
	all := 0
	for _, m := range g.busy {
		m.next, all = all, all+m.events
	}
	g.order = slices.Grow(g.order[:0], all)[:all]
	for i := range g.events {
		if ev := &g.events[i]; ev.number == ev.m.head.number {
			g.order[ev.m.next] = int32(i)
			ev.m.next++
		}
	}
	return g.busy
}

// follows says whether an event may stand behind another in one block. Events that
// are put back may have later positions than those behind them.
func (e *pendingEvent) follows(before *pendingEvent) bool {
	return e.number == before.number && e.entry.Seq == before.entry.Seq+1 && e.entry.Pos > before.entry.Pos &&
		e.kind == before.kind && e.schema == before.schema
}

// storeRun puts consecutive events of one machine, behind those of its newest
// block if that goes on.
func (g *batch) storeRun(run []pendingEvent) error {
	g.entries = g.entries[:0]
	size := g.reopen(&run[0])
	for i := range run {
		room := format.BlockSize(run[i].entry.Bytes)
		for len(g.entries) > 0 && size+room > g.aim() {
			n, err := g.putBlock(&run[0], g.entries)
			if err != nil {
				return err
			}
			for _, e := range g.entries[:n] {
				size -= format.BlockSize(e.Bytes)
			}
			g.entries = slices.Delete(g.entries, 0, n)
		}
		g.entries, size = append(g.entries, run[i].entry), size+room
	}
	for len(g.entries) > 0 {
		n, err := g.putBlock(&run[0], g.entries)
		if err != nil {
			return err
		}
		g.entries = slices.Delete(g.entries, 0, n)
	}
	return nil
}

// aim is how many bytes, before compression, lately made a value full.
func (g *batch) aim() int {
	if g.full == 0 {
		return longestBlock / 2
	}
	return g.full
}

// putBlock puts a block of as many entries as fit a value, and tells how many.
// like says whose they are.
func (g *batch) putBlock(like *pendingEvent, entries []format.Entry) (n int, err error) {
	for n = len(entries); ; {
		g.block = format.AppendBlock(g.block[:0], entries[:n])
		h := format.Header{Type: format.TypeBlock, Kind: like.kind, Number: like.number, Seq: entries[0].Seq, Schema: like.schema}
		payload := g.encode(&h, g.block, nil)
		if n > 1 && len(payload) > blockFill/4 { // a short one says little
			g.full = min(max(len(g.block)*blockFill/len(payload), shortestBlock), longestBlock)
		}
		if n == 1 || format.Pieces(len(payload)) == 1 {
			return n, g.putEncoded(&g.tx.events, h, payload)
		}
		n = min(max(n*blockFill/len(payload), 1), n-1)
	}
}

// reopen takes the entries of the block that first goes on, if there is one, and
// tells their size. The block is put again under its key.
func (g *batch) reopen(first *pendingEvent) (size int) {
	m, seq := first.m, first.entry.Seq
	if first.number != m.before.number || m.trim || seq != m.before.seq+1 {
		return 0
	}
	g.key = appendValueAfter(g.key[:0], first.number, seq)
	k, v := g.tx.events.cursor().before(g.key)
	number, begin, piece, ok := splitValueKey(k)
	if !ok || number != first.number || piece != 0 {
		return 0
	}
	h, payload, err := format.ParseValue(v, growingBlock)
	if err != nil || h.Type != format.TypeBlock || h.Number != number || h.Seq != begin || h.Flags != 0 ||
		h.Kind != first.kind || h.Schema != first.schema {
		return 0
	}
	payload, g.open, err = format.Decode(g.open, h.Codec, payload, h.Raw)
	if err != nil {
		return 0
	}
	b, err := format.ParseBlock(payload, begin)
	if err != nil || b.Last+1 != seq {
		return 0
	}
	for e, ok := b.Next(); ok; e, ok = b.Next() {
		g.entries = append(g.entries, e)
		size += format.BlockSize(e.Bytes)
	}
	return size
}
