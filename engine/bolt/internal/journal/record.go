package journal

import (
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
)

// Salt is part of the checksums of the records of one Open, so that a copy of a
// record inside a payload, or a record of an earlier Open, is not accepted.
type Salt [8]byte

// NewSalt returns a random salt.
func NewSalt() Salt {
	var s Salt
	rand.Read(s[:]) // never fails
	return s
}

func (s Salt) seed() uint32 { return crc32.Checksum(s[:], castagnoli) }

// Place is the place of a record.
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
// head is the CRC-32C of bytes 0 to 19, body that of bytes 0 to 15 and the payload.
// Both start from a state made of the salt and the record's offset in the record
// area, so that a record at another offset is never accepted. Neither covers the
// zeros. A correct head proves that a record with this lsn was written here, even
// if its body is torn.
const (
	headerSize  = 24
	recordMagic = 0x73767072 // "svpr"
)

// Span returns the number of bytes that a record with the given length of payload
// occupies in the ring.
func Span(payload int) int64 { return roundUp(headerSize+int64(payload), Align) }

// seedAt returns the state of the checksums at the start of a record at offset at.
// It differs for each block, because the factor is odd, and CRCs of equal bytes
// with different start states always differ.
func (r *ring) seedAt(at int64) uint32 { return r.seed ^ uint32(at/Align)*0x9e3779b1 }

// seal fills in the header of the record b: headerSize bytes, then the payload,
// without padding.
func (r *ring) seal(b []byte, lsn uint64, at int64) {
	seed := r.seedAt(at)
	binary.BigEndian.PutUint32(b[0:], recordMagic)
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-headerSize))
	binary.BigEndian.PutUint64(b[8:], lsn)
	body := crc32.Update(crc32.Update(seed, castagnoli, b[:16]), castagnoli, b[headerSize:])
	binary.BigEndian.PutUint32(b[16:], body)
	binary.BigEndian.PutUint32(b[20:], crc32.Update(seed, castagnoli, b[:20]))
}

// header reads the header of a record at offset at; ok is false if no record starts there
// whose record would fit in the rest of the segment.
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

// body reports whether the payload after a correct header is whole.
func (r *ring) body(b []byte, p Place) bool {
	if len(b) < headerSize+p.Length {
		return false
	}
	sum := crc32.Update(r.seedAt(p.Offset-r.base), castagnoli, b[:16])
	sum = crc32.Update(sum, castagnoli, b[headerSize:headerSize+p.Length])
	return sum == binary.BigEndian.Uint32(b[16:])
}
