package journal

import (
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
)

// Salt makes the records of one Open unlike all others: a payload that contains
// a copy of a record, or a record left from before, is not believed.
type Salt [8]byte

// NewSalt is a random salt.
func NewSalt() Salt {
	var s Salt
	rand.Read(s[:]) // never fails
	return s
}

func (s Salt) seed() uint32 { return crc32.Checksum(s[:], castagnoli) }

// Place is where a record stands.
type Place struct {
	LSN    uint64
	Offset int64 // of the record's first byte in the file
	Length int   // of the payload
}

// A record, big-endian, at a multiple of Align within the record area, never
// across the end of a segment:
//
//	0       4        8     16     20     24                       n*Align
//	+-------+--------+-----+------+------+-------------------+----...---+
//	| magic | length | lsn | body | head | payload (length)  | zeros    |
//	+-------+--------+-----+------+------+-------------------+----...---+
//
// head is the CRC-32C of bytes 0 to 20, body the one of bytes 0 to 16 and the
// payload. Both begin with the salt and the record's place in the record area,
// so that a record at another place never passes. The zeros are covered by
// neither. A head that is right tells, without reading further, that a record
// with this lsn was written here, even where the body is torn.
const (
	headerSize  = 24
	recordMagic = 0x73767072 // "svpr"
)

// Span is how many bytes of the ring a payload takes.
func Span(payload int) int64 { return roundUp(headerSize+int64(payload), Align) }

// seedAt is the checksum's state before a record at the place at. A page number
// times an odd number is another one for each page, and different states give
// different checksums for the same bytes, always.
func (r *ring) seedAt(at int64) uint32 { return r.seed ^ uint32(at/Align)*0x9e3779b1 }

// seal fills in the header of the record b, which has headerSize bytes of room
// before its payload and no padding.
func (r *ring) seal(b []byte, lsn uint64, at int64) {
	seed := r.seedAt(at)
	binary.BigEndian.PutUint32(b[0:], recordMagic)
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-headerSize))
	binary.BigEndian.PutUint64(b[8:], lsn)
	body := crc32.Update(crc32.Update(seed, castagnoli, b[:16]), castagnoli, b[headerSize:])
	binary.BigEndian.PutUint32(b[16:], body)
	binary.BigEndian.PutUint32(b[20:], crc32.Update(seed, castagnoli, b[:20]))
}

// header reads the header of a record at the place at. Its length is bounded by
// what the segment has left from there.
func (r *ring) header(b []byte, at int64) (p Place, ok bool) {
	if len(b) < headerSize || binary.BigEndian.Uint32(b) != recordMagic {
		return Place{}, false
	}
	if crc32.Update(r.seedAt(at), castagnoli, b[:20]) != binary.BigEndian.Uint32(b[20:]) {
		return Place{}, false
	}
	length, lsn := int64(binary.BigEndian.Uint32(b[4:])), binary.BigEndian.Uint64(b[8:])
	if lsn == 0 || headerSize+length > r.Segment-at%r.Segment {
		return Place{}, false
	}
	return Place{LSN: lsn, Offset: r.base + at, Length: int(length)}, true
}

// body says whether the payload behind a right header is whole.
func (r *ring) body(b []byte, p Place) bool {
	if len(b) < headerSize+p.Length {
		return false
	}
	sum := crc32.Update(r.seedAt(p.Offset-r.base), castagnoli, b[:16])
	sum = crc32.Update(sum, castagnoli, b[headerSize:headerSize+p.Length])
	return sum == binary.BigEndian.Uint32(b[16:])
}
