package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// loader is one Load. It copies stored values in short transactions, each at most
// the option readBytes and one value more, and checks, decodes and delivers them
// outside of them.
//
// A load that fits into one transaction, 4 MiB of compressed values, is of one
// moment. A longer one continues in further transactions: it leaves out what was
// appended since the first one. If anything that is still to be read was removed
// or replaced since, it starts again as long as nothing is delivered; later it
// ends with engine.ErrChanged instead of a mixture.
//
// What only the journal holds is copied before the first transaction (see
// [memtable]); [journalView] merges it with what the file has.
type loader struct {
	e    *Engine
	key  string
	want engine.LoadRange

	// What the first transaction found.
	rawHead  []byte
	fileHead storedHead // the head in the file
	head     storedHead // the head that Load returns: the journal's if it has a newer one
	headErr  error      // why the head is damaged; nil if it is not
	number   uint64
	last     uint64 // seq up to which the file has the machine; All if the head is damaged

	// What is still to be read from the file.
	part     engine.Part
	from, to uint64 // seqs of the stored values of part
	fileTo   uint64 // seq of the last event that is wanted from the file
	done     bool   // nothing is

	journal   journalView
	delivered bool // fn was called

	// Buffers that are reused by the next load.
	buf     []byte  // the bytes of values
	values  []chunk // what the last transaction copied
	seek    []byte
	decoded valueDecoder
}

// chunk is one stored value, or one piece of it, in a loader's buffer.
type chunk struct {
	part     engine.Part
	seq      uint64
	piece    uint32
	from, to int
	next     uint64 // seq of the next stored value of the machine, 0 if there is none
}

// valueDecoder has the buffers in which a loader joins and decodes one value.
type valueDecoder struct {
	joiner  format.Joiner
	scratch []byte
	entries []format.Entry // of a block that is delivered newest first
}

// giveItem hands an item to the caller of Load.
type giveItem func(engine.Item) error

// load is [Engine.Load].
func (l *loader) load(ctx context.Context, e *Engine, machine string, want engine.LoadRange, fn giveItem) (engine.Head, error) {
	l.e, l.key, l.want = e, machine, want
	give := func(it engine.Item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.delivered = true
		return fn(it)
	}
	for {
		l.journal.take(e.memtable, machine)
		if err := e.view(l.first); err != nil {
			return engine.Head{}, err
		}
		if l.headErr == nil && l.number == 0 {
			return engine.Head{}, nil
		}
		err := l.deliverAll(give)
		if !errors.Is(err, engine.ErrChanged) || l.delivered {
			return l.result(err)
		}
		if err := ctx.Err(); err != nil {
			return engine.Head{}, err
		}
		l.restart(want)
	}
}

// result returns the head, and the error that ended the load or the damage of the head.
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

// restart resets l to load the same machine again.
func (l *loader) restart(want engine.LoadRange) {
	e, key := l.e, l.key
	*l = l.reset()
	l.e, l.key, l.want = e, key, want
}

// reset returns a new loader with the buffers of l.
func (l *loader) reset() loader {
	clear(l.decoded.entries)
	return loader{rawHead: l.rawHead[:0], buf: l.buf[:0], seek: l.seek[:0], values: l.values[:0], journal: l.journal.reset(),
		decoded: valueDecoder{scratch: l.decoded.scratch[:0], entries: l.decoded.entries[:0]}}
}

// free gives l back to the engine's pool.
func (l *loader) free(e *Engine) {
	*l = l.reset()
	for _, b := range []*[]byte{&l.rawHead, &l.buf, &l.decoded.scratch} {
		if cap(*b) > maxKept {
			*b = nil
		}
	}
	e.loaders.Put(l)
}

// deliverAll delivers what the first transaction copied, and reads on until the end.
func (l *loader) deliverAll(give giveItem) error {
	for {
		if err := l.deliver(give); err != nil {
			return err
		}
		if l.done {
			return l.journal.rest(&l.want, give)
		}
		if err := l.e.view(l.further); err != nil {
			return err
		}
	}
}

// first reads the head and starts to read the items.
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
	l.chooseHead()
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

// chooseHead sets the head that counts, and limits what is wanted to it. Where the
// journal has writes of the machine, the newest of them has the head, and the first
// one says up to where the file has the machine.
func (l *loader) chooseHead() {
	file, fileErr := parseHead(l.rawHead, []byte(l.key), l.e.opt.maxValue())
	l.fileHead = file
	end := uint64(engine.All)
	switch {
	case l.journal.any():
		l.head, l.last = l.journal.head(), l.journal.fileEnd()
		end = l.head.seq
	case fileErr != nil:
		l.head, l.headErr, l.last = storedHead{number: file.number}, fileErr, engine.All
	default:
		l.head, l.last = file, file.seq
		end = l.last
	}
	l.number = l.head.number
	l.want.To, l.want.SnapshotTo = min(l.want.To, end), min(l.want.SnapshotTo, end)
}

// further continues in another transaction, if what is still to be read has not
// changed since the first one.
func (l *loader) further(tx *txn) error {
	b := tx.machines.get([]byte(l.key))
	if l.headErr != nil {
		if !bytes.Equal(b, l.rawHead) {
			return engine.ErrChanged
		}
		return l.read(tx)
	}
	h, err := parseHead(b, []byte(l.key), l.e.opt.maxValue())
	if err != nil {
		return errors.Join(engine.ErrChanged, err)
	}
	if h.number != l.number || l.want.Events && h.trims != l.fileHead.trims ||
		l.part == engine.PartSnapshot && h.edits != l.fileHead.edits {
		return engine.ErrChanged
	}
	return l.read(tx)
}

// beginEvents finds the first stored value that holds wanted events: its first event
// may be before them.
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

// read copies stored values until they are enough for one transaction, or all.
func (l *loader) read(tx *txn) error {
	l.buf, l.values = l.buf[:0], l.values[:0]
	for !l.done && len(l.buf) < l.e.opt.readBytes {
		if l.readPart(tx) {
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

// readPart copies values of the present part; more is false when it has no more.
func (l *loader) readPart(tx *txn) (more bool) {
	t := &tx.events
	if l.part == engine.PartSnapshot {
		t = &tx.snapshots
	}
	if l.want.Newest || l.newestSnapshotOnly() {
		return l.readDown(t)
	}
	return l.readUp(t)
}

// newestSnapshotOnly reports whether one snapshot ends the part that is being read.
func (l *loader) newestSnapshotOnly() bool {
	return l.part == engine.PartSnapshot && l.want.Snapshot == engine.NewestSnapshot
}

// readUp copies values from l.from on; more is false when there are no more.
func (l *loader) readUp(t *tree) (more bool) {
	cur := t.cursor()
	before := -1 // index of the first piece of the value before
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

// readDown copies values from l.to down; more is false when there are no more.
func (l *loader) readDown(t *tree) (more bool) {
	cur := t.cursor()
	k, v, next := l.lastUpTo(cur)
	for ; ; k, v = cur.before(appendValueKey(l.seek[:0], l.number, l.to+1)) {
		n, seq, _, ok := splitValueKey(k)
		if !ok || n != l.number || seq < l.from {
			return false
		}
		if l.part != engine.PartSnapshot || !l.journal.hides(seq) {
			l.addWhole(cur, k, v, seq, next)
			next = seq
			if l.newestSnapshotOnly() {
				l.want.After = max(l.want.After, seq)
				l.journal.skipSnapshots()
				return false
			}
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

// lastUpTo returns the last key at or before l.to, and the seq of the value after
// l.to, 0 if the machine has none.
func (l *loader) lastUpTo(cur cursor) (k, v []byte, next uint64) {
	l.seek = appendValueAfter(l.seek[:0], l.number, l.to)
	after, _ := cur.seek(l.seek)
	if n, seq, _, ok := splitValueKey(after); ok && n == l.number {
		next = seq
	}
	if after == nil {
		k, v = cur.last()
	} else {
		k, v = cur.prev()
	}
	return k, v, next
}

// addWhole copies the value under seq in all its pieces; k and v are those of its
// last piece.
func (l *loader) addWhole(cur cursor, k, v []byte, seq, next uint64) {
	first := len(l.values)
	if len(k) == valueKeyLen { // it has one piece
		l.add(seq, 0, v)
	} else {
		end := appendValueAfter(nil, l.number, seq)
		for k, v := cur.seek(appendValueKey(nil, l.number, seq)); k != nil && bytes.Compare(k, end) < 0; k, v = cur.next() {
			if _, _, piece, ok := splitValueKey(k); ok {
				l.add(seq, piece, v)
			}
		}
	}
	l.values[first].next = next
}

// add copies one piece.
func (l *loader) add(seq uint64, piece uint32, v []byte) {
	from := len(l.buf)
	l.buf = append(l.buf, v...)
	l.values = append(l.values, chunk{part: l.part, seq: seq, piece: piece, from: from, to: len(l.buf)})
}

// deliver gives the items of the values that the last transaction copied, merged
// with those of the journal that come before them.
func (l *loader) deliver(give giveItem) error {
	for rest := l.values; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].seq == rest[0].seq && rest[n].part == rest[0].part {
			n++
		}
		var err error
		if rest[0].part == engine.PartSnapshot {
			err = l.deliverSnapshot(rest[:n], give)
		} else {
			err = l.deliverBlock(rest[:n], give)
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// deliverSnapshot gives the journal's snapshots that come before a snapshot of the
// file, and that one unless the journal replaces or drops it.
func (l *loader) deliverSnapshot(pieces []chunk, give giveItem) error {
	seq := pieces[0].seq
	if err := l.journal.snapshotsBefore(seq, give); err != nil {
		return err
	}
	if l.journal.hides(seq) {
		return nil
	}
	payload, err := l.whole(pieces)
	it := engine.Item{Part: engine.PartSnapshot, Seq: seq, Last: seq, Bytes: payload}
	if err != nil {
		it.Bytes, it.Err = nil, &engine.Damage{Machine: l.key, Part: "snapshot", Seq: seq, Why: err}
	}
	return give(it)
}

// deliverBlock gives the journal's items that come before the file's events, and the
// wanted events of a block.
func (l *loader) deliverBlock(pieces []chunk, give giveItem) error {
	if err := l.journal.beforeEvents(&l.want, give); err != nil {
		return err
	}
	payload, err := l.whole(pieces)
	if err != nil {
		return l.giveDamage(&pieces[0], err, give)
	}
	block, err := format.ParseBlock(payload, pieces[0].seq)
	if err != nil {
		return l.giveDamage(&pieces[0], err, give)
	}
	return l.giveEvents(&block, give)
}

// whole checks the pieces of one value and decodes it. The result is valid until the
// next call.
func (l *loader) whole(pieces []chunk) ([]byte, error) {
	limit, d := l.e.opt.maxValue(), &l.decoded
	d.joiner.Reset()
	for i := range pieces {
		if err := d.joiner.Add(pieces[i].piece, l.buf[pieces[i].from:pieces[i].to], limit); err != nil {
			return nil, err
		}
	}
	h, payload, err := d.joiner.Whole()
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
		payload, d.scratch, err = l.e.dictionaries.decode(d.scratch, payload, h.Raw)
	} else {
		payload, d.scratch, err = format.Decode(d.scratch, h.Codec, payload, h.Raw)
	}
	return payload, err
}

// giveEvents delivers the wanted events of a block.
func (l *loader) giveEvents(b *format.Block, give giveItem) error {
	if l.want.Newest {
		return l.giveEventsDown(b, give)
	}
	for e, ok := b.Next(); ok; e, ok = b.Next() {
		if err := l.giveEvent(&e, give); err != nil {
			return err
		}
	}
	return nil
}

// giveEventsDown delivers the wanted events of a block, newest first.
func (l *loader) giveEventsDown(b *format.Block, give giveItem) error {
	entries := l.decoded.entries[:0]
	for e, ok := b.Next(); ok; e, ok = b.Next() {
		entries = append(entries, e)
	}
	l.decoded.entries = entries
	for i := range entries {
		if err := l.giveEvent(&entries[len(entries)-1-i], give); err != nil {
			return err
		}
	}
	return nil
}

// giveEvent delivers an event if it is wanted.
func (l *loader) giveEvent(e *format.Entry, give giveItem) error {
	if e.Seq <= l.want.After || e.Seq > l.fileTo {
		return nil
	}
	return give(engine.Item{Part: engine.PartEvent, Seq: e.Seq, Last: e.Seq, Pos: e.Pos, Bytes: e.Bytes})
}

// giveDamage delivers one item for a damaged block, if its events are wanted: for the
// seqs up to the next block, or up to the end of the machine.
func (l *loader) giveDamage(v *chunk, why error, give giveItem) error {
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
