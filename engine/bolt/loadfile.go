package bolt

import (
	"bytes"
	"errors"

	"github.com/liap-tui/savepoint/engine"
)

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
