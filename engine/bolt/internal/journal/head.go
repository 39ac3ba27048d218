package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Align is the unit of writing: records start at multiples of it, in the record
// area and in the file, and are padded to it.
const Align = 4096

// HeadSize is the number of bytes that Head.Append appends.
const HeadSize = 64

// formatRing is the only format so far.
const formatRing = 1

// MaxSegment is the largest segment of a ring, in bytes. ReadHead refuses a larger one,
// so a program that makes larger ones would make files that older builds refuse.
const MaxSegment = 1 << 28

// More limits of the geometry: all of them bound the memory that a damaged head can
// ask for.
const (
	maxPage = 1 << 28
	maxRing = 1 << 36
)

const headMagic = "svpring\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ID is the identity of the file that a ring belongs to.
type ID [16]byte

// Range is the place in the file of the value that holds the ring.
type Range struct {
	Offset, Length int64
	Page           int64 // page size of the file, a multiple of Align; 0 = Align
}

func (r Range) page() int64 {
	if r.Page == 0 {
		return Align
	}
	return r.Page
}

func (r Range) validate() error {
	if r.Offset < 0 || r.Length < HeadSize || r.Length > maxRing || r.Offset > 1<<62 {
		return fmt.Errorf("journal: range of %d bytes at %d", r.Length, r.Offset)
	}
	if r.Page < 0 || r.Page%Align != 0 || r.Page > maxPage {
		return fmt.Errorf("journal: page size %d is not a multiple of %d", r.Page, Align)
	}
	return nil
}

// Head is the geometry of a ring. It is stored, and not computed again (R2): the
// start of the record area depends on the file's page size, which may be another
// one in a copy of the file.
type Head struct {
	ID       ID
	Length   int64 // of the whole value
	Start    int64 // of the record area within the value
	Segment  int64 // bytes of a segment, a multiple of Align
	Segments int64
}

// NewHead returns the head of a ring in r with segments of the given size. Of
// r.Offset only the offset within a page matters, so that NewHead can be called
// before the value is written. The record area starts at the page after the head's.
func NewHead(r Range, segment int64, id ID) (Head, error) {
	if err := r.validate(); err != nil {
		return Head{}, err
	}
	h := Head{ID: id, Length: r.Length, Segment: segment}
	h.Start = roundUp(r.Offset+HeadSize, r.page()) - r.Offset
	if segment > 0 {
		h.Segments = (r.Length - h.Start) / segment
	}
	if err := h.validate(r); err != nil {
		return Head{}, fmt.Errorf("journal: lay out: %w", err)
	}
	return h, nil
}

// validate returns an error if h is not possible for the range r.
func (h *Head) validate(r Range) error {
	switch {
	case h.Length != r.Length:
		return fmt.Errorf("head of a value of %d bytes in a range of %d bytes", h.Length, r.Length)
	case h.Segment < Align || h.Segment > MaxSegment || h.Segment%Align != 0:
		return fmt.Errorf("segment of %d bytes", h.Segment)
	case h.Start < HeadSize || h.Start > h.Length:
		return fmt.Errorf("record area at %d of %d", h.Start, h.Length)
	case h.Segments < 2 || h.Segments > (h.Length-h.Start)/h.Segment:
		return fmt.Errorf("%d segments of %d bytes in %d", h.Segments, h.Segment, h.Length-h.Start)
	}
	return nil
}

// aligned reports whether the record area starts at a page of the file. Only then
// may it be written, since other pages hold bytes before it too.
func (h *Head) aligned(r Range) bool { return (r.Offset+h.Start)%r.page() == 0 }

// Append appends the head to dst, HeadSize bytes, big-endian:
//
//	0       8        12         16    24     32       40         48  60     64
//	+-------+--------+----------+-----+------+--------+----------+...+------+
//	| magic | format | segments | start      | length | segment  | id| crc  |
//	+-------+--------+----------+------------+--------+----------+---+------+
//
// magic 8, format 4, segments 4, start 8, length 8, segment 8, id 16, zero 4,
// CRC-32C of the 60 bytes before it 4. Magic, format and the checksum have the
// same offsets in every format.
func (h *Head) Append(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, headMagic...)
	dst = binary.BigEndian.AppendUint32(dst, formatRing)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Segments))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Start))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Length))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Segment))
	dst = append(dst, h.ID[:]...)
	dst = append(dst, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// ReadHead reads and checks the head of the ring in r. Its errors match ErrCorrupt
// or ErrNewer, or are those of f.
func ReadHead(f io.ReaderAt, r Range) (Head, error) {
	if err := r.validate(); err != nil { // r is what the file says
		return Head{}, corruptf("%v", err)
	}
	b := make([]byte, HeadSize)
	if err := readFull(f, b, r.Offset); err != nil {
		return Head{}, fmt.Errorf("journal: read head: %w", err)
	}
	if string(b[:8]) != headMagic {
		return Head{}, corruptf("no ring at %d of the file", r.Offset)
	}
	if crc32.Checksum(b[:60], castagnoli) != binary.BigEndian.Uint32(b[60:]) {
		return Head{}, corruptf("checksum of the head at %d of the file differs", r.Offset)
	}
	if format := binary.BigEndian.Uint32(b[8:]); format != formatRing {
		return Head{}, fmt.Errorf("%w: ring format %d", ErrNewer, format)
	}
	h := Head{
		Segments: int64(binary.BigEndian.Uint32(b[12:])),
		Start:    int64(binary.BigEndian.Uint64(b[16:])),
		Length:   int64(binary.BigEndian.Uint64(b[24:])),
		Segment:  int64(binary.BigEndian.Uint64(b[32:])),
		ID:       ID(b[40:56]),
	}
	if err := h.validate(r); err != nil {
		return Head{}, corruptf("%v", err)
	}
	return h, nil
}

// ring holds what is needed to recognize a record: the head, the offset of the
// record area and the salt.
type ring struct {
	Head
	base int64 // of the record area in the file
	seed uint32
}

func readRing(f io.ReaderAt, r Range, id ID, salt Salt) (ring, error) {
	h, err := ReadHead(f, r)
	if err != nil {
		return ring{}, err
	}
	if h.ID != id {
		return ring{}, fmt.Errorf("%w: %x, want %x", ErrForeign, h.ID, id)
	}
	return ring{Head: h, base: r.Offset + h.Start, seed: salt.seed()}, nil
}

// readFull fills b from off on. If the file ends before that, the error matches
// ErrCorrupt.
func readFull(f io.ReaderAt, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF || err == nil {
		return corruptf("the file ends at %d, inside the ring", off+int64(n))
	}
	return err
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
