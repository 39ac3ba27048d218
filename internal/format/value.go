package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/golang/snappy"
)

// Every stored value, big-endian:
//
//	 0        4      5    6     7     8    12      20  28     36     40  44  48
//	+--------+------+----+-----+-----+----+-------+---+------+------+---+---+---------+
//	| magic  |format|type|codec|flags|kind|machine|seq|schema|stored|raw|crc| payload |
//	+--------+------+----+-----+-----+----+-------+---+------+------+---+---+---------+
//
// stored is the length of the payload, raw its length before the codec. crc is the
// CRC-32C of bytes 0 to 43 and of the payload.
//
// Every later format keeps magic, format, stored and crc at these offsets, so that
// a value with a higher format and a correct checksum is known to be newer, and a
// value with a wrong checksum to be damaged, whatever its format.

// HeaderLen is the length of a value's header.
const HeaderLen = 48

const (
	magic  = "SvPt"
	format = 1
)

// Type is the type of a value. A number is part of the format and is never used
// for another type.
type Type uint8

// The types of values.
const (
	TypeHead        Type = 1
	TypeBlock       Type = 2
	TypeSnapshot    Type = 3
	TypeNote        Type = 4
	TypeFile        Type = 5 // application, format and id of the file
	TypeMark        Type = 6 // whether the file was closed
	TypeCounters    Type = 7
	TypeJournal     Type = 8 // the state of the journal: the checkpointed lsn and the salt
	TypeIndexPage   Type = 9
	TypeNumber      Type = 10 // the key of the machine with a number
	TypeVersions    Type = 11 // the number of heads of each kind and version
	TypePageSummary Type = 12
	TypeDictionary  Type = 13
)

func (t Type) String() string {
	names := [...]string{"nothing", "head", "block", "snapshot", "note", "file", "mark", "counters", "journal", "index page", "number", "versions", "page summary", "dictionary"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Codec is the encoding of a payload.
type Codec uint8

// The codecs.
const (
	Raw    Codec = 0
	Snappy Codec = 1
	Shared Codec = 2 // with a [Dictionary]
)

// The flags of a value. Masked and encrypted are reserved: no version writes
// them yet.
const (
	FlagPiece     = 1 << 0 // the payload is one piece of a longer one
	flagMasked    = 1 << 1
	flagEncrypted = 1 << 2
	flagsKnown    = FlagPiece
)

// ErrTooLong is matched when a length is greater than the reader's limit.
var ErrTooLong = errors.New("longer than allowed")

// Header holds the fields of a stored value's header, except those that follow from
// the payload.
type Header struct {
	Type   Type
	Codec  Codec
	Flags  uint8
	Kind   uint32
	Number uint64 // machine number
	Seq    uint64 // of a block: of its first event
	Schema uint64
	Raw    uint32 // length of the payload before the codec; of a piece: of the whole payload
}

// AppendValue appends a value to dst: the header with its checksum, then payload
// followed by more, which are already encoded with h.Codec.
func AppendValue(dst []byte, h *Header, payload, more []byte) []byte {
	at := len(dst)
	b := append(dst, magic...)
	b = append(b, format, byte(h.Type), byte(h.Codec), h.Flags)
	b = binary.BigEndian.AppendUint32(b, h.Kind)
	b = binary.BigEndian.AppendUint64(b, h.Number)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = binary.BigEndian.AppendUint64(b, h.Schema)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)+len(more)))
	b = binary.BigEndian.AppendUint32(b, h.Raw)
	sum := crc32.Update(crc32.Update(crc32.Checksum(b[at:], castagnoli), castagnoli, payload), castagnoli, more)
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(append(b, payload...), more...)
}

// ParseValue checks a stored value and splits it into header and payload. The
// payload is part of b and still encoded, see [Decode]. A Raw above limit is an
// error that matches ErrTooLong.
func ParseValue(b []byte, limit int) (Header, []byte, error) {
	if len(b) < HeaderLen {
		return Header{}, nil, fmt.Errorf("value of %d bytes is shorter than its header", len(b))
	}
	if string(b[:4]) != magic {
		return Header{}, nil, fmt.Errorf("value starts with %x, not with %x", b[:4], magic)
	}
	h, payload := PeekHeader(b), b[HeaderLen:]
	if stored := binary.BigEndian.Uint32(b[36:]); uint64(stored) != uint64(len(payload)) {
		return h, nil, fmt.Errorf("payload has %d bytes, the header says %d", len(payload), stored)
	}
	sum := crc32.Update(crc32.Checksum(b[:44], castagnoli), castagnoli, payload)
	if want := binary.BigEndian.Uint32(b[44:]); sum != want {
		return h, nil, fmt.Errorf("value has checksum %08x, the header says %08x", sum, want)
	}
	switch {
	case b[4] != format:
		return h, nil, fmt.Errorf("%w: value of format %d", ErrNewer, b[4])
	case h.Flags&(flagMasked|flagEncrypted) != 0:
		return h, nil, fmt.Errorf("%w: value is masked or encrypted", ErrNewer)
	case h.Flags&^flagsKnown != 0:
		return h, nil, fmt.Errorf("%w: value with flags %#x", ErrNewer, h.Flags)
	case h.Codec > Shared:
		return h, nil, fmt.Errorf("%w: value with codec %d", ErrNewer, h.Codec)
	case uint64(h.Raw) > uint64(limit):
		return h, nil, fmt.Errorf("%w: value of %d bytes, at most %d", ErrTooLong, h.Raw, limit)
	}
	return h, payload, nil
}

// PeekHeader reads the fields of a header without any check, for reports about
// damaged values. b must have at least HeaderLen bytes.
func PeekHeader(b []byte) Header {
	_ = b[HeaderLen-1]
	return Header{
		Type:   Type(b[5]),
		Codec:  Codec(b[6]),
		Flags:  b[7],
		Kind:   binary.BigEndian.Uint32(b[8:]),
		Number: binary.BigEndian.Uint64(b[12:]),
		Seq:    binary.BigEndian.Uint64(b[20:]),
		Schema: binary.BigEndian.Uint64(b[28:]),
		Raw:    binary.BigEndian.Uint32(b[40:]),
	}
}

// Magic returns the bytes with which every value starts.
func Magic() []byte { return []byte(magic) }

// shortest is the smallest length of a payload that is compressed: in fewer bytes
// snappy finds nothing to save.
const shortest = 32

// Encode compresses payload into scratch and returns the codec. A payload that does
// not get shorter is returned itself, with codec Raw. newScratch is scratch, or a
// larger buffer in its place, for the next call; encoded may be part of it.
func Encode(scratch, payload []byte) (encoded []byte, codec Codec, newScratch []byte) {
	if len(payload) < shortest {
		return payload, Raw, scratch
	}
	if n := snappy.MaxEncodedLen(len(payload)); cap(scratch) < n {
		scratch = make([]byte, n)
	}
	scratch = scratch[:cap(scratch)]
	if out := snappy.Encode(scratch, payload); len(out) < len(payload) {
		return out, Snappy, scratch
	}
	return payload, Raw, scratch
}

// densest is an upper bound for the number of decoded bytes per byte of a snappy
// block: an element of 3 bytes copies at most 64.
const densest = 64

// Decode reverses [Encode]. raw is the length in the header, which ParseValue has
// compared with its limit. The result is payload itself or part of newScratch,
// which is as in Encode. Nothing is allocated for a length that the payload is too
// short for.
func Decode(scratch []byte, codec Codec, payload []byte, raw uint32) (decoded, newScratch []byte, err error) {
	switch codec {
	case Raw:
		if uint64(len(payload)) != uint64(raw) {
			return nil, scratch, fmt.Errorf("payload has %d bytes, the header says %d", len(payload), raw)
		}
		return payload, scratch, nil
	case Snappy:
		n, err := snappy.DecodedLen(payload)
		if err != nil {
			return nil, scratch, err
		}
		if uint64(n) != uint64(raw) {
			return nil, scratch, fmt.Errorf("payload decodes to %d bytes, the header says %d", n, raw)
		}
		if n/densest > len(payload) {
			return nil, scratch, fmt.Errorf("payload of %d bytes cannot hold %d", len(payload), n)
		}
		if cap(scratch) < n {
			scratch = make([]byte, n)
		}
		scratch = scratch[:cap(scratch)]
		decoded, err = snappy.Decode(scratch, payload)
		return decoded, scratch, err
	case Shared:
		return nil, scratch, errors.New("payload needs a dictionary")
	}
	return nil, scratch, fmt.Errorf("%w: codec %d", ErrNewer, codec)
}
