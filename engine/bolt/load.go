package bolt

import (
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
	next     uint64 // seq of the next stored value of the machine, 0 if there is no further value
}

// valueDecoder has the buffers in which a loader joins and decodes one value.
type valueDecoder struct {
	joiner  format.Joiner
	scratch []byte
	entries []format.Entry // of a block that is delivered newest first
}

// emitFunc passes an item to the caller of Load.
type emitFunc func(engine.Item) error

// load is [Engine.Load].
func (l *loader) load(ctx context.Context, e *Engine, machine string, want engine.LoadRange, fn emitFunc) (engine.Head, error) {
	l.e, l.key, l.want = e, machine, want
	emit := func(it engine.Item) error {
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
		err := l.deliverAll(emit)
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

// free returns l to the engine's pool.
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
func (l *loader) deliverAll(emit emitFunc) error {
	for {
		if err := l.deliver(emit); err != nil {
			return err
		}
		if l.done {
			return l.journal.rest(&l.want, emit)
		}
		if err := l.e.view(l.further); err != nil {
			return err
		}
	}
}

// deliver emits the items of the values that the last transaction copied, merged
// with those of the journal that come before them.
func (l *loader) deliver(emit emitFunc) error {
	for rest := l.values; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].seq == rest[0].seq && rest[n].part == rest[0].part {
			n++
		}
		var err error
		if rest[0].part == engine.PartSnapshot {
			err = l.deliverSnapshot(rest[:n], emit)
		} else {
			err = l.deliverBlock(rest[:n], emit)
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// deliverSnapshot emits the journal's snapshots that come before a snapshot of the
// file, and that one unless the journal replaces or drops it.
func (l *loader) deliverSnapshot(pieces []chunk, emit emitFunc) error {
	seq := pieces[0].seq
	if err := l.journal.snapshotsBefore(seq, emit); err != nil {
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
	return emit(it)
}

// deliverBlock emits the journal's items that come before the file's events, and the
// wanted events of a block.
func (l *loader) deliverBlock(pieces []chunk, emit emitFunc) error {
	if err := l.journal.beforeEvents(&l.want, emit); err != nil {
		return err
	}
	payload, err := l.whole(pieces)
	if err != nil {
		return l.emitDamage(&pieces[0], err, emit)
	}
	block, err := format.ParseBlock(payload, pieces[0].seq)
	if err != nil {
		return l.emitDamage(&pieces[0], err, emit)
	}
	return l.emitEvents(&block, emit)
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

// emitEvents emits the wanted events of a block.
func (l *loader) emitEvents(b *format.Block, emit emitFunc) error {
	if l.want.Newest {
		return l.emitEventsDown(b, emit)
	}
	for e, ok := b.Next(); ok; e, ok = b.Next() {
		if err := l.emitEvent(&e, emit); err != nil {
			return err
		}
	}
	return nil
}

// emitEventsDown emits the wanted events of a block, newest first.
func (l *loader) emitEventsDown(b *format.Block, emit emitFunc) error {
	entries := l.decoded.entries[:0]
	for e, ok := b.Next(); ok; e, ok = b.Next() {
		entries = append(entries, e)
	}
	l.decoded.entries = entries
	for i := range entries {
		if err := l.emitEvent(&entries[len(entries)-1-i], emit); err != nil {
			return err
		}
	}
	return nil
}

// emitEvent emits an event if it is wanted.
func (l *loader) emitEvent(e *format.Entry, emit emitFunc) error {
	if e.Seq <= l.want.After || e.Seq > l.fileTo {
		return nil
	}
	return emit(engine.Item{Part: engine.PartEvent, Seq: e.Seq, Last: e.Seq, Pos: e.Pos, Bytes: e.Bytes})
}

// emitDamage emits one item for a damaged block, if its events are wanted: for the
// seqs up to the next block, or up to the end of the machine.
func (l *loader) emitDamage(v *chunk, why error, emit emitFunc) error {
	seq, last := max(v.seq, l.want.After+1), l.fileTo
	if v.next > 0 {
		last = min(last, v.next-1)
	} else if l.headErr != nil {
		last = max(seq, v.seq)
	}
	if last < seq {
		return nil
	}
	return emit(engine.Item{Part: engine.PartEvent, Seq: seq, Last: last,
		Err: &engine.Damage{Machine: l.key, Part: "event", Seq: v.seq, Why: why}})
}
