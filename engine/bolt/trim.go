package bolt

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/internal/format"
)

// appendValueAfter is a key behind all pieces of seq and before any higher seq.
func appendValueAfter(b []byte, number, seq uint64) []byte {
	return append(appendPieceKey(b, number, seq, ^uint32(0)), 0xff)
}

// removeAtOnce is how many keys are looked up before they are removed.
const removeAtOnce = 1000

// remove removes the values of a machine from seq to seq, all pieces, and tells
// how many keys that were.
func (g *batch) remove(t *tree, number, from, to uint64) (removed int, err error) {
	behind := appendValueAfter(nil, number, to)
	for {
		g.keys = g.keys[:0]
		cur := t.cursor()
		g.key = appendValueKey(g.key[:0], number, from)
		for k, _ := cur.seek(g.key); k != nil && bytes.Compare(k, behind) < 0 && len(g.keys) < removeAtOnce; k, _ = cur.next() {
			g.keys = append(g.keys, bytes.Clone(k))
		}
		for _, k := range g.keys {
			if err := t.remove(k); err != nil {
				return removed, err
			}
			removed++
		}
		if len(g.keys) < removeAtOnce {
			return removed, nil
		}
	}
}

// trim removes the events of a machine up to seq to: those of the group now, the
// stored ones when the group is stored.
func (g *batch) trim(m *machineState, to uint64) {
	if to == 0 {
		return
	}
	m.trimTo = max(m.trimTo, to)
	g.events = slices.DeleteFunc(g.events, func(ev pendingEvent) bool { return ev.m == m && ev.entry.Seq <= to })
}

// planTrim finds the stored blocks up to m.trimTo. A block that reaches beyond is
// written anew with the rest of its events. A damaged one stays if it may reach
// beyond: nobody knows what else it holds.
//
// It runs before anything is changed: bbolt's cursor does not step back over a
// leaf that the same transaction has emptied.
func (g *batch) planTrim(m *machineState) error {
	number, to := m.head.number, m.trimTo
	cur := g.tx.events.cursor()
	k, _ := cur.before(appendValueAfter(g.key[:0], number, to))
	n, first, _, ok := splitValueKey(k)
	if !ok || n != number {
		return nil
	}
	m.trim, m.trimThrough = true, first
	m.head.trims++
	k, _ = cur.seek(appendValueAfter(g.key[:0], number, first))
	next, nextSeq, _, ok := splitValueKey(k)
	if m.before.seq <= to || ok && next == number && nextSeq == to+1 {
		return nil
	}
	block, err := g.blockAt(number, first)
	switch {
	case err != nil && first == 0:
		m.trim = false
	case err != nil:
		m.trimThrough = first - 1
	case block.Last > to:
		g.again(m, &block)
	}
	return nil
}

// again takes the rest of a trimmed block into the group.
func (g *batch) again(m *machineState, b *wholeBlock) {
	for e, ok := b.Next(); ok; e, ok = b.Next() {
		if e.Seq > m.trimTo {
			g.events = append(g.events, pendingEvent{m, m.head.number, b.header.Kind, b.header.Schema, e})
		}
	}
}

// wholeBlock is a block and the header of its value.
type wholeBlock struct {
	format.Block
	header format.Header
}

// joinPieces puts the value under number and seq together, in all its pieces, still
// encoded. It dies with j's next use and with the transaction.
func joinPieces(t *tree, j *format.Joiner, number, seq uint64, limit int) (format.Header, []byte, error) {
	j.Reset()
	behind := appendValueAfter(nil, number, seq)
	cur := t.cursor()
	for k, v := cur.seek(appendValueKey(nil, number, seq)); k != nil && bytes.Compare(k, behind) < 0; k, v = cur.next() {
		_, _, piece, ok := splitValueKey(k)
		if !ok {
			continue
		}
		if err := j.Add(piece, v, limit); err != nil {
			return format.Header{}, nil, err
		}
	}
	return j.Whole()
}

// readBlock reads the block stored under seq into room, which it lives in.
func readBlock(tx *txn, j *format.Joiner, room []byte, number, seq uint64, limit int) (b wholeBlock, newRoom []byte, err error) {
	var payload []byte
	if b.header, payload, err = joinPieces(&tx.events, j, number, seq, limit); err != nil {
		return b, room, err
	}
	if b.header.Type != format.TypeBlock || b.header.Number != number || b.header.Seq != seq {
		return b, room, fmt.Errorf("value is a %s %d of machine number %d", b.header.Type, b.header.Seq, b.header.Number)
	}
	if b.header.Codec == format.Raw {
		room = append(room[:0], payload...)
		payload = room
	} else if payload, room, err = format.Decode(room, b.header.Codec, payload, b.header.Raw); err != nil {
		return b, room, err
	}
	b.Block, err = format.ParseBlock(payload, seq)
	return b, room, err
}

// blockAt reads and checks the whole block stored under seq, with memory of its own.
func (g *batch) blockAt(number, seq uint64) (b wholeBlock, err error) {
	b, _, err = readBlock(g.tx, &g.joiner, nil, number, seq, g.e.opt.maxStep+valueSlack)
	return b, err
}
