package bolt

import (
	"bytes"

	"github.com/liap-tui/savepoint/internal/format"
)

// bucketWriter puts stored values into the buckets of one write transaction. bbolt
// keeps a value that is put until the transaction ends, so values are built in an
// arena that is reused by the next transaction. Keys are copied by bbolt.
type bucketWriter struct {
	opt *config
	tx  *txn

	values  []byte // the arena
	payload []byte // scratch: what is encoded next
	scratch []byte // scratch of the compression
	key     []byte
	keys    [][]byte // of remove
	part    [headPartLen]byte
}

// maxKept is the largest buffer that is kept for later use.
const maxKept = 1 << 20

// end drops the transaction, and buffers that have become too large to keep.
func (w *bucketWriter) end() {
	clear(w.keys)
	w.tx, w.keys, w.values = nil, w.keys[:0], w.values[:0]
	for _, b := range []*[]byte{&w.values, &w.payload, &w.scratch} {
		if cap(*b) > maxKept {
			*b = nil
		}
	}
}

// put stores a payload, compressed if that makes it shorter, in pieces if it is
// longer than one value may be.
func (w *bucketWriter) put(t *tree, h format.Header, payload []byte) error {
	return w.putEncoded(t, h, w.encode(&h, payload, nil))
}

// encode compresses a payload, with dictionary d unless d is nil, if that makes it
// shorter. It sets the header's length and codec. The result may be in w.scratch.
func (w *bucketWriter) encode(h *format.Header, payload []byte, d *format.Dictionary) []byte {
	h.Raw, h.Codec = uint32(len(payload)), format.Raw
	switch {
	case w.opt.noCompression:
	case d != nil:
		payload, h.Codec, w.scratch = d.Encode(w.scratch, payload)
	default:
		payload, h.Codec, w.scratch = format.Encode(w.scratch, payload)
	}
	return payload
}

// putEncoded stores a payload that encode returned.
func (w *bucketWriter) putEncoded(t *tree, h format.Header, payload []byte) error {
	cutter := format.Cut(h, payload)
	for {
		w.reserve(format.LongestValue)
		value, piece, ok := cutter.Next(w.values[len(w.values):])
		if !ok {
			return nil
		}
		w.key = appendPieceKey(w.key[:0], h.Number, h.Seq, piece)
		if err := t.put(w.key, w.keep(value)); err != nil {
			return err
		}
	}
}

// putHead stores the head of a machine.
func (w *bucketWriter) putHead(machine string, h *storedHead) error {
	w.key = append(w.key[:0], machine...)
	w.reserve(format.HeaderLen + headPartLen + len(h.bytes))
	return w.tx.machines.put(w.key, w.keep(h.append(w.values[len(w.values):], w.key, &w.part)))
}

// removeHead removes the head of a machine.
func (w *bucketWriter) removeHead(machine string) error {
	w.key = append(w.key[:0], machine...)
	return w.tx.machines.remove(w.key)
}

// putNumber stores the key of the machine that has a number.
func (w *bucketWriter) putNumber(number uint64, machine string) error {
	w.key = appendNumberKey(w.key[:0], number)
	w.reserve(format.HeaderLen + len(machine))
	h := format.Header{Type: format.TypeNumber, Number: number, Raw: uint32(len(machine))}
	value := format.AppendValue(w.values[len(w.values):], &h, []byte(machine), nil)
	return w.tx.numbers.put(w.key, w.keep(value))
}

// putCounters stores the counters of the file.
func (w *bucketWriter) putCounters(c *fileCounters) error {
	w.reserve(format.HeaderLen + 24)
	return w.tx.counters.put(countersLast, w.keep(c.append(w.values[len(w.values):])))
}

// removeAtOnce is how many keys remove collects before it removes them.
const removeAtOnce = 1000

// remove removes all values of a machine number from seq from to seq to, with all
// their pieces, and returns how many keys they had.
func (w *bucketWriter) remove(t *tree, number, from, to uint64) (removed int, err error) {
	end := appendValueAfter(nil, number, to)
	for {
		w.keys = w.keys[:0]
		cur := t.cursor()
		w.key = appendValueKey(w.key[:0], number, from)
		for k, _ := cur.seek(w.key); k != nil && bytes.Compare(k, end) < 0 && len(w.keys) < removeAtOnce; k, _ = cur.next() {
			w.keys = append(w.keys, bytes.Clone(k))
		}
		for _, k := range w.keys {
			if err := t.remove(k); err != nil {
				return removed, err
			}
			removed++
		}
		if len(w.keys) < removeAtOnce {
			return removed, nil
		}
	}
}

// removeMachine removes everything that is stored under a machine number.
func (w *bucketWriter) removeMachine(number uint64) error {
	if err := w.tx.numbers.remove(appendNumberKey(nil, number)); err != nil {
		return err
	}
	for _, t := range []*tree{&w.tx.events, &w.tx.snapshots} {
		if _, err := w.remove(t, number, 0, ^uint64(0)); err != nil {
			return err
		}
	}
	return nil
}

// reserve makes sure that n more bytes can be appended to the arena without moving
// it. When it is full a new one is started; values in the old one stay where they are.
func (w *bucketWriter) reserve(n int) {
	if cap(w.values)-len(w.values) < n {
		w.values = make([]byte, 0, max(n, 64<<10, min(2*cap(w.values), maxKept)))
	}
}

// keep makes a value that was just appended after the arena's end a part of it.
func (w *bucketWriter) keep(value []byte) []byte {
	w.values = w.values[:len(w.values)+len(value)]
	return value[:len(value):len(value)]
}
