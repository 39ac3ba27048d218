package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// loader is one Load. Stored values are copied out in short transactions,
// each at most the option readBytes and a value, and checked, decoded and
// delivered outside of them.
//
// A look that fits one transaction, 4 MiB of compressed values, is of one
// moment. A longer one reads on in further transactions: what was appended since
// the first is left out, and if anything of what is still to be read was
// removed or replaced since, the look ends with engine.ErrChanged instead of a mixture,
// or, while nothing is delivered yet, begins again.
//
// What is in the ring only is taken before the first transaction and kept, as
// [memtable] tells; [journalView] says how the two come together.
type loader struct {
	e    *Engine
	key  string
	want engine.LoadRange
	last uint64 // the head's seq; All if the head is damaged

	rawHead  []byte
	head     storedHead
	headErr  error
	fileHead storedHead // as the first transaction had it
	number   uint64

	part     engine.Part // being read
	from, to uint64      // seqs of its stored values still to be read
	done     bool
	fileTo   uint64 // the last event that is taken from the file

	journal   journalView
	delivered bool

	buf     []byte
	values  []chunk
	seek    []byte
	joiner  format.Joiner
	scratch []byte
	entries []format.Entry
}

// chunk is one stored value, or one piece of it, in a look's buffer.
type chunk struct {
	part     engine.Part
	seq      uint64
	piece    uint32
	from, to int
	next     uint64 // seq of the value behind it, 0 if there is none
}

// Load reads a machine; [loader] tells of its consistency. When the head is
// damaged, the items are those of the number it gives twice, if it does.
func (e *Engine) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	if err := ctx.Err(); err != nil {
		return engine.Head{}, err
	}
	l := e.loaders.Get().(*loader)
	defer e.freeLoader(l)
	l.e, l.key, l.want = e, machine, want
	for {
		l.journal.take(e.memtable, machine)
		if err := e.view(l.first); err != nil {
			return engine.Head{}, err
		}
		if l.headErr == nil && l.number == 0 {
			return engine.Head{}, nil
		}
		err := l.deliverAll(ctx, fn)
		if !errors.Is(err, engine.ErrChanged) || l.delivered {
			return l.result(err)
		}
		if err := ctx.Err(); err != nil {
			return engine.Head{}, err
		}
		l.restart(want)
	}
}

// result is the answer.
func (l *loader) result(err error) (engine.Head, error) {
	h := l.head.public()
	h.Bytes = append([]byte{}, h.Bytes...)
	switch {
	case err != nil && !errors.Is(err, engine.Stop):
		return h, err
	case l.headErr != nil:
		return h, &engine.Damage{Machine: l.key, Part: "head", Why: l.headErr}
	}
	return h, nil
}

// restart makes l ready for a new beginning.
func (l *loader) restart(want engine.LoadRange) {
	e, key := l.e, l.key
	*l = l.reset()
	l.e, l.key, l.want = e, key, want
}

// reset keeps only the room.
func (l *loader) reset() loader {
	clear(l.entries)
	return loader{rawHead: l.rawHead[:0], buf: l.buf[:0], scratch: l.scratch[:0], seek: l.seek[:0],
		values: l.values[:0], entries: l.entries[:0], journal: l.journal.reset()}
}

func (e *Engine) freeLoader(l *loader) {
	*l = l.reset()
	for _, b := range []*[]byte{&l.rawHead, &l.buf, &l.scratch} {
		if cap(*b) > maxKept {
			*b = nil
		}
	}
	e.loaders.Put(l)
}

// deliverAll gives fn what the first transaction found, and reads on.
func (l *loader) deliverAll(ctx context.Context, fn func(engine.Item) error) error {
	for {
		if err := l.deliver(ctx, fn); err != nil {
			return err
		}
		if l.done {
			return nil
		}
		if err := l.e.view(l.further); err != nil {
			return err
		}
	}
}

// first reads the head and begins with the items.
func (l *loader) first(tx *txn) error {
	if err := l.journal.begin(tx, &l.want); err != nil {
		return err
	}
	b := tx.machines.get([]byte(l.key))
	if b == nil && !l.journal.any() {
		l.done = true
		return nil
	}
	l.rawHead = append(l.rawHead[:0], b...)
	file, fileErr := parseHead(l.rawHead, []byte(l.key), l.e.opt.maxStep+valueSlack)
	l.fileHead = file
	if l.journal.any() { // its newest write has the head, its first one says where the file ends
		l.head, l.number, l.last = l.journal.head(), l.journal.head().number, l.journal.fileEnd()
		l.want.To = min(l.want.To, l.head.seq)
		l.want.SnapshotTo = min(l.want.SnapshotTo, l.head.seq)
	} else {
		l.head, l.headErr = file, fileErr
		l.number, l.last = l.head.number, l.head.seq
		if l.headErr != nil {
			l.last = engine.All
			l.head = storedHead{number: l.number}
		}
		l.want.To = min(l.want.To, l.last)
		l.want.SnapshotTo = min(l.want.SnapshotTo, l.last)
	}
	if l.number == 0 || b == nil {
		l.done = true
		return nil
	}
	l.fileTo = min(l.want.To, l.last)
	l.part, l.from, l.to = engine.PartSnapshot, l.journal.snapshotsFrom(), min(l.want.SnapshotTo, l.last)
	if l.want.Snapshot == engine.NoSnapshot || l.from > l.to {
		l.beginEvents(tx)
	}
	return l.read(tx)
}

// further reads on, if what is still to be read is what it was.
func (l *loader) further(tx *txn) error {
	b := tx.machines.get([]byte(l.key))
	if l.headErr != nil {
		if !bytes.Equal(b, l.rawHead) {
			return engine.ErrChanged
		}
		return l.read(tx)
	}
	h, err := parseHead(b, []byte(l.key), l.e.opt.maxStep+valueSlack)
	if err != nil {
		return errors.Join(engine.ErrChanged, err)
	}
	if h.number != l.number || l.want.Events && h.trims != l.fileHead.trims ||
		l.part == engine.PartSnapshot && h.edits != l.fileHead.edits {
		return engine.ErrChanged
	}
	return l.read(tx)
}

// beginEvents finds the stored values that hold the wanted events: the first of
// them begins at or before the first event.
func (l *loader) beginEvents(tx *txn) {
	l.part, l.from, l.to = engine.PartEvent, 0, l.fileTo
	if !l.want.Events || l.fileTo <= l.want.After {
		l.done = true
		return
	}
	l.from = l.want.After + 1
	l.seek = appendValueAfter(l.seek[:0], l.number, l.from)
	k, _ := tx.events.cursor().before(l.seek)
	if n, seq, _, ok := splitValueKey(k); ok && n == l.number {
		l.from = seq
	}
}

// read copies stored values until there are enough for one transaction.
func (l *loader) read(tx *txn) error {
	l.buf, l.values = l.buf[:0], l.values[:0]
	for !l.done && len(l.buf) < l.e.opt.readBytes {
		t := &tx.events
		if l.part == engine.PartSnapshot {
			t = &tx.snapshots
		}
		newest := l.want.Newest || l.part == engine.PartSnapshot && l.want.Snapshot == engine.NewestSnapshot
		var more bool
		if newest {
			more = l.readDown(t)
		} else {
			more = l.readUp(t)
		}
		if more {
			continue
		}
		if l.part == engine.PartEvent {
			l.done = true
		} else {
			l.beginEvents(tx)
		}
	}
	return nil
}

// readUp copies values from l.from on; more is false when there are no more.
func (l *loader) readUp(t *tree) (more bool) {
	cur := t.cursor()
	before := -1 // the first piece of the value before
	l.seek = appendValueKey(l.seek[:0], l.number, l.from)
	for k, v := cur.seek(l.seek); ; k, v = cur.next() {
		if k == nil || !bytes.HasPrefix(k, l.seek[:8]) {
			return false
		}
		_, seq, piece, ok := splitValueKey(k)
		if !ok {
			continue
		}
		if before < 0 || l.values[before].seq != seq {
			if before >= 0 {
				l.values[before].next = seq
			}
			if seq > l.to {
				return false
			}
			if len(l.buf) >= l.e.opt.readBytes && before >= 0 {
				l.from = seq
				return true
			}
			before = len(l.values)
		}
		l.add(seq, piece, v)
	}
}

// readDown copies values from l.to down.
func (l *loader) readDown(t *tree) (more bool) {
	cur := t.cursor()
	next := uint64(0)
	l.seek = appendValueAfter(l.seek[:0], l.number, l.to)
	k, _ := cur.seek(l.seek)
	if n, seq, _, ok := splitValueKey(k); ok && n == l.number {
		next = seq
	}
	var v []byte
	if k == nil {
		k, v = cur.last()
	} else {
		k, v = cur.prev()
	}
	for ; ; k, v = cur.before(appendValueKey(l.seek[:0], l.number, l.to+1)) {
		n, seq, _, ok := splitValueKey(k)
		if !ok || n != l.number || seq < l.from {
			return false
		}
		if l.part == engine.PartSnapshot && l.journal.hides(seq) {
			if seq == 0 {
				return false
			}
			l.to = seq - 1
			continue
		}
		first := len(l.values)
		if len(k) == valueKeyLen { // no pieces behind it
			l.add(seq, 0, v)
		} else {
			l.addPieces(cur, seq)
		}
		l.values[first].next = next
		next = seq
		if l.part == engine.PartSnapshot && l.want.Snapshot == engine.NewestSnapshot {
			l.want.After = max(l.want.After, seq)
			l.journal.passed()
			return false
		}
		if seq == 0 {
			return false
		}
		l.to = seq - 1
		if len(l.buf) >= l.e.opt.readBytes {
			return true
		}
	}
}

// addPieces copies all pieces of a value.
func (l *loader) addPieces(cur cursor, seq uint64) {
	behind := appendValueAfter(nil, l.number, seq)
	for k, v := cur.seek(appendValueKey(nil, l.number, seq)); k != nil && bytes.Compare(k, behind) < 0; k, v = cur.next() {
		if _, _, piece, ok := splitValueKey(k); ok {
			l.add(seq, piece, v)
		}
	}
}

func (l *loader) add(seq uint64, piece uint32, v []byte) {
	from := len(l.buf)
	l.buf = append(l.buf, v...)
	l.values = append(l.values, chunk{part: l.part, seq: seq, piece: piece, from: from, to: len(l.buf)})
}

// deliver gives fn the items of the values read.
func (l *loader) deliver(ctx context.Context, fn func(engine.Item) error) error {
	give := func(it engine.Item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.delivered = true
		return fn(it)
	}
	for i := 0; i < len(l.values); {
		first := &l.values[i]
		n := i + 1
		for n < len(l.values) && l.values[n].seq == first.seq && l.values[n].part == first.part {
			n++
		}
		if first.part == engine.PartSnapshot {
			if err := l.journal.snapshots(first.seq, give); err != nil {
				return err
			}
			if l.journal.hides(first.seq) {
				i = n
				continue
			}
		} else if err := l.journal.beforeEvents(&l.want, give); err != nil {
			return err
		}
		payload, err := l.whole(l.values[i:n])
		i = n
		if first.part == engine.PartSnapshot {
			it := engine.Item{Part: engine.PartSnapshot, Seq: first.seq, Last: first.seq, Bytes: payload}
			if err != nil {
				it.Bytes, it.Err = nil, &engine.Damage{Machine: l.key, Part: "snapshot", Seq: first.seq, Why: err}
			}
			if err := give(it); err != nil {
				return err
			}
			continue
		}
		var block format.Block
		if err == nil {
			block, err = format.ParseBlock(payload, first.seq)
		}
		if err != nil {
			err = l.damaged(first, err, give)
		} else {
			err = l.events(&block, give)
		}
		if err != nil {
			return err
		}
	}
	if l.done {
		return l.journal.rest(&l.want, give)
	}
	return nil
}

// whole checks the pieces of one value and decodes it.
func (l *loader) whole(pieces []chunk) ([]byte, error) {
	limit := l.e.opt.maxStep + valueSlack
	l.joiner.Reset()
	for i := range pieces {
		if err := l.joiner.Add(pieces[i].piece, l.buf[pieces[i].from:pieces[i].to], limit); err != nil {
			return nil, err
		}
	}
	h, payload, err := l.joiner.Whole()
	if err != nil {
		return nil, err
	}
	want := format.TypeBlock
	if pieces[0].part == engine.PartSnapshot {
		want = format.TypeSnapshot
	}
	if h.Type != want || h.Number != l.number || h.Seq != pieces[0].seq {
		return nil, fmt.Errorf("value is %s %d of machine number %d, not %s %d of %d", h.Type, h.Seq, h.Number, want, pieces[0].seq, l.number)
	}
	if h.Codec == format.Shared && h.Type == format.TypeSnapshot {
		payload, l.scratch, err = l.e.decodeShared(l.scratch, payload, h.Raw)
	} else {
		payload, l.scratch, err = format.Decode(l.scratch, h.Codec, payload, h.Raw)
	}
	return payload, err
}

// events delivers the wanted events of a block.
func (l *loader) events(b *format.Block, give func(engine.Item) error) error {
	if l.want.Newest {
		return l.eventsDown(b, give)
	}
	for e, ok := b.Next(); ok; e, ok = b.Next() {
		if err := l.event(&e, give); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) eventsDown(b *format.Block, give func(engine.Item) error) error {
	l.entries = l.entries[:0]
	for e, ok := b.Next(); ok; e, ok = b.Next() {
		l.entries = append(l.entries, e)
	}
	for i := range l.entries {
		if err := l.event(&l.entries[len(l.entries)-1-i], give); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) event(e *format.Entry, give func(engine.Item) error) error {
	if e.Seq <= l.want.After || e.Seq > l.fileTo {
		return nil
	}
	return give(engine.Item{Part: engine.PartEvent, Seq: e.Seq, Last: e.Seq, Pos: e.Pos, Bytes: e.Bytes})
}

// damaged delivers the place of a damaged block, as far as it is wanted: up to
// the next block, or to the head.
func (l *loader) damaged(v *chunk, why error, give func(engine.Item) error) error {
	seq, last := max(v.seq, l.want.After+1), l.fileTo
	if v.next > 0 {
		last = min(last, v.next-1)
	} else if l.headErr != nil {
		last = max(seq, v.seq)
	}
	if last < seq {
		return nil
	}
	return give(engine.Item{Part: engine.PartEvent, Seq: seq, Last: last,
		Err: &engine.Damage{Machine: l.key, Part: "event", Seq: v.seq, Why: why}})
}
