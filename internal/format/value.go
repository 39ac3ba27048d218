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
// crc is the CRC-32C of bytes 0 to 43 and of the payload.
//
// Every later format keeps magic, format, stored and crc where they are, so that
// a value that carries a higher number and a right checksum is newer, and one
// with a wrong checksum is damaged, whatever its number.

// HeaderLen is the length of a value's header.
const HeaderLen = 48

const (
	magic  = "SvPt"
	format = 1
)

// Type says what a value holds. Numbers are part of the format and never used
// again.
type Type uint8

// The types of values.
const (
	TypeHead        Type = 1
	TypeBlock       Type = 2
	TypeSnapshot    Type = 3
	TypeNote        Type = 4
	TypeFile        Type = 5 // what the file is
	TypeMark        Type = 6 // whether the file was closed
	TypeCounters    Type = 7
	TypeJournal     Type = 8 // up to where the journal is folded
	TypeIndexPage   Type = 9
	TypeNumber      Type = 10 // which machine has a number
	TypeVersions    Type = 11 // how many heads there are of each kind and version
	TypePageSummary Type = 12 // what a stretch is about

	TypeDictionary Type = 13
)

func (t Type) String() string {
	names := [...]string{"nothing", "head", "block", "snapshot", "note", "file", "mark", "counters", "journal", "index page", "number", "versions", "page summary", "dictionary"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Codec says how a payload is encoded.
type Codec uint8

// The codecs.
const (
	Raw    Codec = 0
	Snappy Codec = 1
	Shared Codec = 2 // with a dictionary: [Dictionary]
)

// The flags of a value. Masked and encrypted are reserved: no version writes
// them yet.
const (
	FlagPiece     = 1 << 0 // the payload is a piece of a larger one
	flagMasked    = 1 << 1
	flagEncrypted = 1 << 2
	flagsKnown    = FlagPiece
)

// ErrTooLong is matched when a length is over the reader's limit.
var ErrTooLong = errors.New("longer than allowed")

// Header is what every stored value says about itself.
type Header struct {
	Type   Type
	Codec  Codec
	Flags  uint8
	Kind   uint32
	Number uint64 // machine number
	Seq    uint64 // of a block: its first
	Schema uint64
	Raw    uint32 // length of the payload before the codec; of a piece: of the whole
}

// AppendValue adds a value to dst: the header with its checksum, then payload,
// which is already encoded as h.Codec says. A payload may be given in two parts.
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

// ParseValue checks a stored value and splits it. The payload is part of b and
// still encoded; [Decode] undoes that. Raw is at most limit.
func ParseValue(b []byte, limit int) (Header, []byte, error) {
	if len(b) < HeaderLen {
		return Header{}, nil, fmt.Errorf("value of %d bytes is shorter than its header", len(b))
	}
	if string(b[:4]) != magic {
		return Header{}, nil, fmt.Errorf("value begins with %x, not with %x", b[:4], magic)
	}
	h, payload := PeekHeader(b), b[HeaderLen:]
	if stored := binary.BigEndian.Uint32(b[36:]); uint64(stored) != uint64(len(payload)) {
		return h, nil, fmt.Errorf("value says it has %d bytes, %d are there", stored, len(payload))
	}
	sum := crc32.Update(crc32.Checksum(b[:44], castagnoli), castagnoli, payload)
	if want := binary.BigEndian.Uint32(b[44:]); sum != want {
		return h, nil, fmt.Errorf("value has checksum %08x, its header says %08x", sum, want)
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

// PeekHeader reads the fields of a header without checking anything. b has at
// least HeaderLen bytes. It is for telling what a damaged value may have been.
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

// Magic is how every value begins.
func Magic() []byte { return []byte(magic) }

// shortest is the payload length below which compression is not tried: snappy
// finds nothing in so few bytes.
const shortest = 32

// Encode compresses payload into the room behind room[:0] and tells the codec.
// What does not shrink stays as it is; then the answer is payload itself. The
// room that was used, perhaps a larger one, comes back for the next call.
func Encode(room, payload []byte) (encoded []byte, codec Codec, newRoom []byte) {
	if len(payload) < shortest {
		return payload, Raw, room
	}
	if n := snappy.MaxEncodedLen(len(payload)); cap(room) < n {
		room = make([]byte, n)
	}
	room = room[:cap(room)]
	if out := snappy.Encode(room, payload); len(out) < len(payload) {
		return out, Snappy, room
	}
	return payload, Raw, room
}

// densest is how many bytes a byte of a snappy block stands for at the most: an
// element of 3 bytes copies 64.
const densest = 64

// Decode undoes [Encode]. raw is the length the header tells, which ParseValue
// has compared with its limit. The answer is payload itself or lies in the
// room, which comes back as in Encode. Nothing is allocated for a length that
// the payload does not confirm.
func Decode(room []byte, codec Codec, payload []byte, raw uint32) (decoded, newRoom []byte, err error) {
	switch codec {
	case Raw:
		if uint64(len(payload)) != uint64(raw) {
			return nil, room, fmt.Errorf("payload has %d bytes, its header says %d", len(payload), raw)
		}
		return payload, room, nil
	case Snappy:
		n, err := snappy.DecodedLen(payload)
		if err != nil {
			return nil, room, err
		}
		if uint64(n) != uint64(raw) {
			return nil, room, fmt.Errorf("payload decodes to %d bytes, its header says %d", n, raw)
		}
		if n/densest > len(payload) {
			return nil, room, fmt.Errorf("payload of %d bytes cannot hold %d", len(payload), n)
		}
		if cap(room) < n {
			room = make([]byte, n)
		}
		room = room[:cap(room)]
		decoded, err = snappy.Decode(room, payload)
		return decoded, room, err
	case Shared:
		return nil, room, errors.New("payload needs a dictionary")
	}
	return nil, room, fmt.Errorf("%w: codec %d", ErrNewer, codec)
}
