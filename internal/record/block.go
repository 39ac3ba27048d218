package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A block is the payload that holds consecutive events of one machine. Its first
// seq is in the value's header. All numbers are varints, those marked ± zigzag:
//
//	+-----------+-----------+----------+-----------+-----------+
//	| last seq  | first pos | last pos | ±min time | max time  |  sub-header
//	| - first   |           | - first  |           | - min     |
//	+-----------+-----------+----------+-----------+-----------+
//	| pos - pos before | ±time - time before | length | bytes  |  per event
//	+------------------+---------------------+--------+--------+
//
// The first event counts from first pos and min time.

// Entry is one event in a block.
type Entry struct {
	Seq, Pos uint64
	Time     int64
	Bytes    []byte
}

// entryRoom is the most an event's numbers take in a block, but for the far
// jumps of pos and time; it is for estimating only.
const entryRoom = 8

// BlockRoom estimates how many bytes of a block an event takes.
func BlockRoom(e []byte) int { return len(e) + entryRoom }

// AppendBlock adds the block of entries, which are consecutive by seq, ascending
// by pos, and at least one.
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
	First, Last       uint64 // seq
	FirstPos, LastPos uint64
	MinTime, MaxTime  int64

	entry Entry // the one before
	rest  []byte
	left  uint64
}

var errShortBlock = errors.New("block ends early")

// ParseBlock begins to read a block whose value's header has the seq first. It
// borrows b.
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
	case span >= uint64(len(b))/3 || first+span < first: // an event takes three bytes at least
		return Block{}, fmt.Errorf("block of %d bytes cannot hold %d events behind event %d", len(b), span, first)
	case pos+posSpan < pos || posSpan < span:
		return Block{}, fmt.Errorf("block of %d events has %d positions", span+1, posSpan+1)
	}
	return Block{
		First: first, Last: first + span,
		FirstPos: pos, LastPos: pos + posSpan,
		MinTime: minTime, MaxTime: int64(uint64(minTime) + timeSpan),
		entry: Entry{Seq: first - 1, Pos: pos, Time: minTime},
		rest:  r.b,
		left:  span + 1,
	}, nil
}

// Next is the next event; ok is false behind the last one and after an error.
// Bytes is part of the block.
func (b *Block) Next() (e Entry, ok bool, err error) {
	if b.left == 0 {
		if len(b.rest) > 0 {
			err = fmt.Errorf("block has %d bytes behind its last event", len(b.rest))
			b.rest = nil
		}
		return Entry{}, false, err
	}
	r := reader{b: b.rest}
	pos := b.entry.Pos + r.uvarint()
	time := b.entry.Time + r.varint()
	bytes := r.bytes()
	if r.bad {
		b.left, b.rest = 0, nil
		return Entry{}, false, errShortBlock
	}
	b.entry = Entry{Seq: b.entry.Seq + 1, Pos: pos, Time: time, Bytes: bytes}
	b.rest = r.b
	b.left--
	if b.left == 0 && pos != b.LastPos {
		b.rest = nil
		return Entry{}, false, fmt.Errorf("block ends at position %d, not at %d", pos, b.LastPos)
	}
	return b.entry, true, nil
}
