package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A payload that would make a value longer than LongestValue is cut into pieces,
// each of which is a value with FlagPiece. The reason: bbolt never splits a leaf
// with fewer than five keys, so that a change to one long value would rewrite its
// neighbours too.
// A piece's payload, big-endian:
//
//	+---------+---------+--------------+-----------+-------+
//	| piece 4 | count 4 | whole length | whole crc | bytes |
//	|         |         |      4       |     4     |       |
//	+---------+---------+--------------+-----------+-------+
//
// Pieces are numbered from 0. whole length and whole crc (CRC-32C) are those of the
// encoded payload before cutting, so that pieces of two versions are not combined.

// LongestValue is the length of the longest value that is not cut.
const LongestValue = 2000

const (
	pieceHeaderLen = 16
	pieceLen       = LongestValue - HeaderLen - pieceHeaderLen
)

// Pieces returns the number of values that a payload of n encoded bytes is stored as.
func Pieces(n int) int {
	if n <= LongestValue-HeaderLen {
		return 1
	}
	return (n + pieceLen - 1) / pieceLen
}

// Cutter returns the values of one payload, one by one.
type Cutter struct {
	header  Header
	payload []byte
	sum     uint32
	count   int
	next    int
}

// Cut returns a Cutter for an encoded payload, which it keeps.
func Cut(h Header, payload []byte) Cutter {
	c := Cutter{header: h, payload: payload, count: Pieces(len(payload))}
	if c.count > 1 {
		c.header.Flags |= FlagPiece
		c.sum = crc32.Checksum(payload, castagnoli)
	}
	return c
}

// Next appends the next value to dst and returns its piece number; ok is false when
// no value is left.
func (c *Cutter) Next(dst []byte) (value []byte, piece uint32, ok bool) {
	if c.next == c.count {
		return dst, 0, false
	}
	piece = uint32(c.next)
	c.next++
	if c.count == 1 {
		return AppendValue(dst, &c.header, c.payload, nil), 0, true
	}
	var head [pieceHeaderLen]byte
	binary.BigEndian.PutUint32(head[0:], piece)
	binary.BigEndian.PutUint32(head[4:], uint32(c.count))
	binary.BigEndian.PutUint32(head[8:], uint32(len(c.payload)))
	binary.BigEndian.PutUint32(head[12:], c.sum)
	from := int(piece) * pieceLen
	part := c.payload[from:min(from+pieceLen, len(c.payload))]
	return AppendValue(dst, &c.header, head[:], part), piece, true
}

// Joiner joins the values of one payload: Add is called with each of them, in the
// order of their piece numbers, then Whole returns the payload. After Reset a
// Joiner may be used for the next payload; it keeps its memory.
type Joiner struct {
	header  Header
	added   uint32
	count   uint32
	length  uint32
	sum     uint32
	whole   []byte // the borrowed payload of a value that was not cut
	scratch []byte
}

// Reset removes what was added.
func (j *Joiner) Reset() { *j = Joiner{scratch: j.scratch} }

// Add adds one stored value, whose key has the given piece number. A payload of
// more than limit bytes is an error that matches ErrTooLong. A value that was not
// cut is borrowed until the result of Whole is no longer used.
func (j *Joiner) Add(piece uint32, value []byte, limit int) error {
	h, payload, err := ParseValue(value, limit)
	if err != nil {
		return err
	}
	if piece != j.added {
		return fmt.Errorf("piece %d is missing", j.added)
	}
	if j.added > 0 && j.count <= 1 {
		return fmt.Errorf("piece %d of a value that was not cut", piece)
	}
	if h.Flags&FlagPiece == 0 {
		if piece != 0 {
			return fmt.Errorf("piece %d is marked as a whole value", piece)
		}
		j.header, j.whole, j.added, j.count = h, payload, 1, 1
		return nil
	}
	return j.addPiece(h, piece, payload, limit)
}

func (j *Joiner) addPiece(h Header, piece uint32, payload []byte, limit int) error {
	if len(payload) <= pieceHeaderLen || len(payload) > pieceHeaderLen+pieceLen {
		return fmt.Errorf("piece %d has %d bytes", piece, len(payload))
	}
	number := binary.BigEndian.Uint32(payload[0:])
	count := binary.BigEndian.Uint32(payload[4:])
	length := binary.BigEndian.Uint32(payload[8:])
	sum := binary.BigEndian.Uint32(payload[12:])
	switch {
	case number != piece:
		return fmt.Errorf("piece %d is numbered %d", piece, number)
	case uint64(length) > uint64(limit):
		return fmt.Errorf("%w: pieces of %d bytes, at most %d", ErrTooLong, length, limit)
	case length > 1<<31-1 || int(count) != Pieces(int(length)) || count < 2 || piece >= count:
		return fmt.Errorf("piece %d of %d does not fit %d bytes", piece, count, length)
	}
	if piece == 0 {
		j.header, j.count, j.length, j.sum = h, count, length, sum
		j.scratch = j.scratch[:0]
	} else if h != j.header || count != j.count || length != j.length || sum != j.sum {
		return fmt.Errorf("piece %d belongs to another value", piece)
	}
	j.scratch = append(j.scratch, payload[pieceHeaderLen:]...)
	j.added++
	return nil
}

// Whole returns the header and the encoded payload, complete and checked. The
// payload is valid until the next Reset or Add, and no longer than the borrowed
// value.
func (j *Joiner) Whole() (Header, []byte, error) {
	if j.added == 0 || j.added != j.count {
		return j.header, nil, fmt.Errorf("pieces from %d on are missing", j.added)
	}
	h := j.header
	if h.Flags&FlagPiece == 0 {
		return h, j.whole, nil
	}
	h.Flags &^= FlagPiece
	if uint64(len(j.scratch)) != uint64(j.length) {
		return h, nil, fmt.Errorf("pieces have %d bytes together, not %d", len(j.scratch), j.length)
	}
	if sum := crc32.Checksum(j.scratch, castagnoli); sum != j.sum {
		return h, nil, fmt.Errorf("pieces together have checksum %08x, not %08x", sum, j.sum)
	}
	return h, j.scratch, nil
}
