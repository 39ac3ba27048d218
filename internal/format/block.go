package format

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A block is the payload that holds consecutive events of one machine. The seq of
// the first event is in the value's header. All numbers are varints, those marked
// ± zigzag:
//
//	+-----------+-----------+----------+-----------+-----------+
//	| last seq  | first pos | last pos | ±min time | max time  |  sub-header
//	| - first   |           | - first  |           | - min     |
//	+-----------+-----------+----------+-----------+-----------+
//	| pos - previous   | ±time - previous    | length | bytes  |  per event
//	+------------------+---------------------+--------+--------+
//
// For the first event, first pos and min time are the previous ones.

// Entry is one event in a block.
type Entry struct {
	Seq, Pos uint64
	Time     int64
	Bytes    []byte
}

// entryOverhead estimates the bytes of an event's numbers in a block. Large steps
// of pos and time take more.
const entryOverhead = 8

// BlockSize estimates the number of bytes that an event occupies in a block.
func BlockSize(e []byte) int { return len(e) + entryOverhead }

// AppendBlock appends the block of entries, of which there must be at least one.
// Their seqs must be consecutive, their positions ascending.
func AppendBlock(dst []byte, entries []Entry) []byte {
	first, last := &entries[0], &entries[len(entries)-1]
	minTime, maxTime := first.Time, first.Time
	for i := range entries {
		minTime, maxTime = min(minTime, entries[i].Time), max(maxTime, entries[i].Time)
	}
	b := binary.AppendUvarint(dst, last.Seq-first.Seq)
	b = binary.AppendUvarint(b, first.Pos)
	b = binary.AppendUvarint(b, last.Pos-first.Pos)
	b = binary.AppendVarint(b, minTime)
	b = binary.AppendUvarint(b, uint64(maxTime)-uint64(minTime))
	pos, time := first.Pos, minTime
	for i := range entries {
		e := &entries[i]
		b = binary.AppendUvarint(b, e.Pos-pos)
		b = binary.AppendVarint(b, e.Time-time)
		b = binary.AppendUvarint(b, uint64(len(e.Bytes)))
		b = append(b, e.Bytes...)
		pos, time = e.Pos, e.Time
	}
	return b
}

// Block reads a block, event by event.
type Block struct {
	First, Last       uint64 // seqs
	FirstPos, LastPos uint64
	MinTime, MaxTime  int64

	entry Entry // the one that Next returned last
	rest  reader
	left  uint64
}

var errShortBlock = errors.New("block ends early")

// ParseBlock checks the whole block b and returns a reader at its first event.
// first is the seq in the value's header. The Block keeps b.
func ParseBlock(b []byte, first uint64) (Block, error) {
	r := reader{b: b}
	span := r.uvarint()
	pos := r.uvarint()
	posSpan := r.uvarint()
	minTime := r.varint()
	timeSpan := r.uvarint()
	switch {
	case r.bad:
		return Block{}, errShortBlock
	case span >= uint64(len(b))/3 || first+span < first: // an event occupies at least three bytes
		return Block{}, fmt.Errorf("block of %d bytes cannot hold %d events after event %d", len(b), span, first)
	case pos+posSpan < pos || posSpan < span:
		return Block{}, fmt.Errorf("block of %d events has %d positions", span+1, posSpan+1)
	}
	block := Block{
		First: first, Last: first + span,
		FirstPos: pos, LastPos: pos + posSpan,
		MinTime: minTime, MaxTime: int64(uint64(minTime) + timeSpan),
		entry: Entry{Seq: first - 1, Pos: pos, Time: minTime},
		rest:  r,
		left:  span + 1,
	}
	for range block.left {
		pos += r.uvarint()
		r.varint()
		r.bytes()
	}
	switch {
	case r.bad:
		return Block{}, errShortBlock
	case pos != block.LastPos:
		return Block{}, fmt.Errorf("block ends at position %d, not at %d", pos, block.LastPos)
	case len(r.b) > 0:
		return Block{}, fmt.Errorf("block has %d bytes after its last event", len(r.b))
	}
	return block, nil
}

// Next returns the next event; ok is false after the last one. Bytes is part of
// the block.
func (b *Block) Next() (e Entry, ok bool) {
	if b.left == 0 {
		return Entry{}, false
	}
	b.left--
	b.entry.Seq++
	b.entry.Pos += b.rest.uvarint()
	b.entry.Time += b.rest.varint()
	b.entry.Bytes = b.rest.bytes()
	return b.entry, true
}
