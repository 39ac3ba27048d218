package bolt

import (
	"cmp"
	"slices"

	"github.com/liap-tui/savepoint/internal/format"
)

// blockWriter stores events in blocks. A block is as long as it can be, because a
// long one compresses well, and one value is found and checked faster than many:
//
//  1. A block of several events is one value: the events that do not fit go to
//     the next block.
//  2. The newest block of a machine is extended by its next events while its
//     value has at most growingBlock bytes. So each event is written only a few
//     times, whether it is stored alone or in a checkpoint.
//  3. A block that is damaged, or of another kind or schema version, is not
//     extended.
type blockWriter struct {
	buckets *bucketWriter

	full    int            // bytes before compression that lately filled a value; 0 = not known yet
	run     []pendingEvent // the events of one machine, by seq
	entries []format.Entry // of the block that is being built
	open    []byte         // the block that is being extended, decoded; entries point into it

	order []int32         // indexes of events, grouped by machine
	busy  []*machineState // the machines that have events, by number
}

const (
	longestBlock  = 16 << 10 // bytes of events, before compression
	growingBlock  = 4 << 10
	shortestBlock = 1 << 10 // the lowest value of blockWriter.full
)

// blockFill is how many bytes after compression a block aims at.
const blockFill = format.LongestValue - format.HeaderLen - 20

// end drops everything that belongs to the caller or to the transaction.
func (w *blockWriter) end() {
	clear(w.run[:cap(w.run)])
	clear(w.busy[:cap(w.busy)])
	clear(w.entries[:cap(w.entries)])
	w.entries = w.entries[:0]
	if cap(w.open) > maxKept {
		w.open = nil
	}
}

// store puts events into blocks, machine by machine.
func (w *blockWriter) store(events []pendingEvent) error {
	bySeq := func(a, b pendingEvent) int { return cmp.Compare(a.entry.Seq, b.entry.Seq) }
	at := 0
	for _, m := range w.byMachine(events) {
		w.run = w.run[:0]
		for _, i := range w.order[at : at+m.events] {
			w.run = append(w.run, events[i])
		}
		at += m.events
		if !slices.IsSortedFunc(w.run, bySeq) { // some are restored events
			slices.SortFunc(w.run, bySeq)
		}
		for run := w.run; len(run) > 0; {
			n := 1
			for n < len(run) && run[n].follows(&run[n-1]) {
				n++
			}
			if err := w.storeRun(run[:n]); err != nil {
				return err
			}
			run = run[n:]
		}
	}
	return nil
}

// byMachine returns the machines that have events, by number, and sets w.order to
// the indexes of their events: machine by machine, in the order they were added.
// Events of a machine that was purged since are left out.
func (w *blockWriter) byMachine(events []pendingEvent) []*machineState {
	w.busy = w.busy[:0]
	for i := range events {
		ev := &events[i]
		if ev.number != ev.m.head.number {
			continue
		}
		if ev.m.events++; ev.m.events == 1 {
			w.busy = append(w.busy, ev.m)
		}
	}
	slices.SortFunc(w.busy, func(a, b *machineState) int { return cmp.Compare(a.head.number, b.head.number) })
	all := 0
	for _, m := range w.busy {
		m.next, all = all, all+m.events
	}
	w.order = slices.Grow(w.order[:0], all)[:all]
	for i := range events {
		if ev := &events[i]; ev.number == ev.m.head.number {
			w.order[ev.m.next] = int32(i)
			ev.m.next++
		}
	}
	return w.busy
}

// follows reports whether e may be stored after before in one block. A restored
// event may have a later position than the event after it: then it may not.
func (e *pendingEvent) follows(before *pendingEvent) bool {
	return e.number == before.number && e.entry.Seq == before.entry.Seq+1 && e.entry.Pos > before.entry.Pos &&
		e.kind == before.kind && e.schema == before.schema
}

// storeRun stores consecutive events of one machine, and extends its newest block
// if that is allowed.
func (w *blockWriter) storeRun(run []pendingEvent) error {
	w.entries = w.entries[:0]
	size := w.reopen(&run[0])
	for i := range run {
		more := format.BlockSize(run[i].entry.Bytes)
		for len(w.entries) > 0 && size+more > w.aim() {
			n, err := w.putBlock(&run[0], w.entries)
			if err != nil {
				return err
			}
			for _, e := range w.entries[:n] {
				size -= format.BlockSize(e.Bytes)
			}
			w.entries = slices.Delete(w.entries, 0, n)
		}
		w.entries, size = append(w.entries, run[i].entry), size+more
	}
	for len(w.entries) > 0 {
		n, err := w.putBlock(&run[0], w.entries)
		if err != nil {
			return err
		}
		w.entries = slices.Delete(w.entries, 0, n)
	}
	return nil
}

// aim returns how many bytes, before compression, are expected to fill a value.
func (w *blockWriter) aim() int {
	if w.full == 0 {
		return longestBlock / 2
	}
	return w.full
}

// putBlock puts a block of as many entries as fit into one value, at least one, and
// returns how many. Machine, kind and schema version are those of like.
func (w *blockWriter) putBlock(like *pendingEvent, entries []format.Entry) (n int, err error) {
	b := w.buckets
	for n = len(entries); ; {
		b.payload = format.AppendBlock(b.payload[:0], entries[:n])
		h := format.Header{Type: format.TypeBlock, Kind: like.kind, Number: like.number, Seq: entries[0].Seq, Schema: like.schema}
		payload := b.encode(&h, b.payload, nil)
		if n > 1 && len(payload) > blockFill/4 { // a shorter one says little about the rate of compression
			w.full = min(max(len(b.payload)*blockFill/len(payload), shortestBlock), longestBlock)
		}
		if n == 1 || format.Pieces(len(payload)) == 1 {
			return n, b.putEncoded(&b.tx.events, h, payload)
		}
		n = min(max(n*blockFill/len(payload), 1), n-1)
	}
}

// reopen takes the entries of the block that the event first extends, if there is
// one, and returns their size. The extended block is put under the same key.
func (w *blockWriter) reopen(first *pendingEvent) (size int) {
	m, seq := first.m, first.entry.Seq
	if first.number != m.before.number || m.trimBlocks || seq != m.before.seq+1 {
		return 0
	}
	b := w.buckets
	b.key = appendValueAfter(b.key[:0], first.number, seq)
	k, v := b.tx.events.cursor().before(b.key)
	number, begin, piece, ok := splitValueKey(k)
	if !ok || number != first.number || piece != 0 {
		return 0
	}
	h, payload, err := format.ParseValue(v, growingBlock)
	if err != nil || h.Type != format.TypeBlock || h.Number != number || h.Seq != begin || h.Flags != 0 ||
		h.Kind != first.kind || h.Schema != first.schema {
		return 0
	}
	payload, w.open, err = format.Decode(w.open, h.Codec, payload, h.Raw)
	if err != nil {
		return 0
	}
	block, err := format.ParseBlock(payload, begin)
	if err != nil || block.Last+1 != seq {
		return 0
	}
	for e, ok := block.Next(); ok; e, ok = block.Next() {
		w.entries = append(w.entries, e)
		size += format.BlockSize(e.Bytes)
	}
	return size
}
