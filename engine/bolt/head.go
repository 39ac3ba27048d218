package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// storedHead is a machine's head as it is stored: the value's header has number,
// seq, kind and schema, and its payload starts with the engine's part, big-endian:
//
//	+-------------+----------+-------+----------+---------+---------+----------+
//	| crc of the  | number 8 | pos 8 | token 16 | trims 4 | edits 4 | caller's |
//	|  key 4      |          |       |          |         |         |   part   |
//	+-------------+----------+-------+----------+---------+---------+----------+
//
// The crc of the key (CRC-32C) detects a head under another machine's key. The
// number is stored twice so that it can be trusted if other parts are damaged.
type storedHead struct {
	kind   uint32
	schema uint64
	number uint64
	seq    uint64
	pos    uint64
	token  [16]byte
	trims  uint32 // increases when events are removed or restored
	edits  uint32 // increases when a snapshot is removed or replaced, or stored for a seq that the machine had reached before
	bytes  []byte // the caller's part
}

const headPartLen = 44

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func keySum(key []byte) uint32 { return crc32.Checksum(key, castagnoli) }

// append appends the stored head of key to dst. part is scratch memory.
func (h *storedHead) append(dst, key []byte, part *[headPartLen]byte) []byte {
	binary.BigEndian.PutUint32(part[0:], keySum(key))
	binary.BigEndian.PutUint64(part[4:], h.number)
	binary.BigEndian.PutUint64(part[12:], h.pos)
	copy(part[20:], h.token[:])
	binary.BigEndian.PutUint32(part[36:], h.trims)
	binary.BigEndian.PutUint32(part[40:], h.edits)
	return format.AppendValue(dst, &format.Header{Type: format.TypeHead, Kind: h.kind, Number: h.number, Seq: h.seq,
		Schema: h.schema, Raw: uint32(headPartLen + len(h.bytes))}, part[:], h.bytes)
}

// parseHead checks and reads the stored head of key. h.bytes is part of b. If the
// head is damaged but its key and both its numbers agree, h.number is set, so that
// the machine's items can be found.
func parseHead(b, key []byte, limit int) (h storedHead, err error) {
	header, payload, err := format.ParseValue(b, limit)
	if err != nil {
		if len(b) >= format.HeaderLen+headPartLen {
			header, payload = format.PeekHeader(b), b[format.HeaderLen:]
			if binary.BigEndian.Uint32(payload) == keySum(key) && binary.BigEndian.Uint64(payload[4:]) == header.Number {
				h.number = header.Number
			}
		}
		return h, err
	}
	if header.Type != format.TypeHead || header.Codec != format.Raw || header.Flags != 0 || uint64(header.Raw) != uint64(len(payload)) {
		return h, fmt.Errorf("value is a %s, not a head", header.Type)
	}
	if len(payload) < headPartLen {
		return h, fmt.Errorf("head has %d bytes", len(payload))
	}
	if binary.BigEndian.Uint32(payload) != keySum(key) {
		return h, fmt.Errorf("head belongs to another machine")
	}
	if number := binary.BigEndian.Uint64(payload[4:]); number != header.Number || number == 0 {
		return h, fmt.Errorf("head has the machine numbers %d and %d", header.Number, number)
	}
	h = storedHead{kind: header.Kind, schema: header.Schema, number: header.Number, seq: header.Seq,
		pos: binary.BigEndian.Uint64(payload[12:]), trims: binary.BigEndian.Uint32(payload[36:]),
		edits: binary.BigEndian.Uint32(payload[40:]), bytes: payload[headPartLen:]}
	copy(h.token[:], payload[20:])
	return h, nil
}

// public returns the head as the engine's callers see it; Bytes is borrowed.
func (h *storedHead) public() engine.Head {
	return engine.Head{Number: h.number, Seq: h.seq, Pos: h.pos, Token: h.token, Bytes: h.bytes}
}

// fileCounters holds the last numbers assigned, so that none is assigned again, and
// the number of machines. It is stored under countersLast.
type fileCounters struct {
	number   uint64 // last machine number assigned
	pos      uint64 // last position assigned
	machines uint64 // number of machines that exist
}

func (c *fileCounters) append(dst []byte) []byte {
	var b [24]byte
	binary.BigEndian.PutUint64(b[0:], c.number)
	binary.BigEndian.PutUint64(b[8:], c.pos)
	binary.BigEndian.PutUint64(b[16:], c.machines)
	return format.AppendValue(dst, &format.Header{Type: format.TypeCounters, Raw: uint32(len(b))}, b[:], nil)
}

func parseCounters(b []byte) (c fileCounters, err error) {
	h, payload, err := format.ParseValue(b, 24)
	if err != nil {
		return c, err
	}
	if h.Type != format.TypeCounters || len(payload) != 24 {
		return c, fmt.Errorf("value is a %s of %d bytes, not the counters", h.Type, len(payload))
	}
	return fileCounters{binary.BigEndian.Uint64(payload), binary.BigEndian.Uint64(payload[8:]), binary.BigEndian.Uint64(payload[16:])}, nil
}
