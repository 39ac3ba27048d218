package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/golang/snappy"
)

// Dictionary is a piece of text that payloads are likely to repeat. A payload
// that is encoded with it is the end of a snappy block that begins with the
// dictionary, so that its copies reach back into it:
//
//	+------+----------------------------------------+
//	| id 4 | snappy's elements behind the dictionary |
//	+------+----------------------------------------+
//
// The block's beginning, its length and one literal with the dictionary, is put
// before them when they are decoded. A dictionary does not change and may be used
// by several goroutines at once.
type Dictionary struct {
	id    uint32
	bytes []byte
	table [1 << tableBits]uint16 // hash of four bytes -> 1 + where they stand last
}

const (
	// LongestDictionary is the longest a dictionary may be.
	LongestDictionary = 8 << 10
	// ShortestDictionary is the shortest that is worth its place.
	ShortestDictionary = 64
	// LongestShared is the longest payload that is encoded with a dictionary: a
	// longer one repeats itself more than others. With the dictionary before it all
	// positions and offsets have two bytes.
	LongestShared = 32 << 10

	tableBits        = 12
	dictionaryIDLen  = 4
	nearOffset       = 1 << 11 // below it a short copy has two bytes, else three
	shortestFarMatch = 5
)

// NewDictionary makes a dictionary of b, which it keeps.
func NewDictionary(b []byte) (*Dictionary, error) {
	if len(b) < ShortestDictionary || len(b) > LongestDictionary {
		return nil, fmt.Errorf("a dictionary of %d bytes: it has %d to %d", len(b), ShortestDictionary, LongestDictionary)
	}
	d := &Dictionary{id: crc32.Checksum(b, castagnoli), bytes: b}
	for i := 0; i+4 <= len(b); i++ {
		d.table[hashAt(b, i)] = uint16(i + 1)
	}
	return d, nil
}

// ID is the CRC-32C of the dictionary's bytes: a name that only these have.
func (d *Dictionary) ID() uint32 { return d.id }

// Bytes are the dictionary's own.
func (d *Dictionary) Bytes() []byte { return d.bytes }

// DictionaryID is the id of the dictionary that a payload with codec Shared was
// encoded with.
func DictionaryID(payload []byte) (uint32, error) {
	if len(payload) < dictionaryIDLen {
		return 0, fmt.Errorf("payload of %d bytes names no dictionary", len(payload))
	}
	return binary.BigEndian.Uint32(payload), nil
}

// Encode is [Encode] with the dictionary. What it does not decode to the payload
// again is encoded without it: a stored state has no second copy.
func (d *Dictionary) Encode(room, payload []byte) (encoded []byte, codec Codec, newRoom []byte) {
	n := len(payload)
	if n < shortest || n > LongestShared {
		return Encode(room, payload)
	}
	text := len(d.bytes) + n
	most := dictionaryIDLen + snappy.MaxEncodedLen(n)
	if need := text + most + d.decodeRoom(most, n); cap(room) < need {
		room = make([]byte, need)
	}
	room = room[:cap(room)]
	copy(room, d.bytes)
	copy(room[len(d.bytes):], payload)
	out := binary.BigEndian.AppendUint32(room[text:text:text+most], d.id)
	if out = d.appendElements(out, room[:text]); len(out) >= n {
		return payload, Raw, room
	}
	again, _, err := d.Decode(room[text+most:], out, uint32(n))
	if err != nil || !bytes.Equal(again, payload) {
		return Encode(room, payload)
	}
	return out, Shared, room
}

// decodeRoom is the room that Decode needs for n bytes encoded as so many: for
// the decoded block, and behind it for the encoded one.
func (d *Dictionary) decodeRoom(encoded, n int) int {
	return len(d.bytes) + n + blockHeadLen + len(d.bytes) + encoded
}

// blockHeadLen is the most that stands before the dictionary in a block: the
// length as a varint, and the head of a literal.
const blockHeadLen = binary.MaxVarintLen32 + 3

// Decode undoes Encode; the payload names this dictionary. It is like [Decode]
// otherwise.
func (d *Dictionary) Decode(room, payload []byte, raw uint32) (decoded, newRoom []byte, err error) {
	id, err := DictionaryID(payload)
	switch {
	case err != nil:
		return nil, room, err
	case id != d.id:
		return nil, room, fmt.Errorf("payload needs dictionary %08x, not %08x", id, d.id)
	case raw > LongestShared:
		return nil, room, fmt.Errorf("%w: payload of %d bytes with a dictionary, at most %d", ErrTooLong, raw, LongestShared)
	case int(raw)/densest > len(payload):
		return nil, room, fmt.Errorf("payload of %d bytes cannot hold %d", len(payload), raw)
	}
	elements, whole := payload[dictionaryIDLen:], len(d.bytes)+int(raw)
	if need := d.decodeRoom(len(elements), int(raw)); cap(room) < need {
		room = make([]byte, need)
	}
	room = room[:cap(room)]
	block := binary.AppendUvarint(room[whole:whole], uint64(whole))
	block = appendLiteral(block, d.bytes)
	block = append(block, elements...)
	b, err := snappy.Decode(room[:whole:whole], block)
	if err != nil {
		return nil, room, err
	}
	return b[len(d.bytes):], room, nil
}

// appendElements adds snappy's elements for what stands behind the dictionary in
// text.
func (d *Dictionary) appendElements(dst, text []byte) []byte {
	table := d.table
	literal := len(d.bytes) // where the one that is not written yet begins
	for at := literal; at+4 <= len(text); {
		h := hashAt(text, at)
		from := int(table[h]) - 1
		table[h] = uint16(at + 1)
		n := 0
		if from >= 0 {
			n = matchLen(text, from, at)
		}
		if n < 4 || n < shortestFarMatch && at-from >= nearOffset {
			at++
			continue
		}
		for at > literal && from > 0 && text[from-1] == text[at-1] {
			at, from, n = at-1, from-1, n+1
		}
		dst = appendLiteral(dst, text[literal:at])
		dst = appendCopy(dst, at-from, n)
		for i := at + 1; i < at+n && i+4 <= len(text); i += 3 { // each third is enough
			table[hashAt(text, i)] = uint16(i + 1)
		}
		at += n
		literal = at
	}
	return appendLiteral(dst, text[literal:])
}

// hashAt is the hash of the four bytes at i.
func hashAt(b []byte, i int) uint32 {
	return binary.LittleEndian.Uint32(b[i:]) * 0x9e3779b1 >> (32 - tableBits)
}

// matchLen is how many bytes at from are those at at, which is behind it.
func matchLen(b []byte, from, at int) int {
	begin := at
	for ; at+8 <= len(b); from, at = from+8, at+8 {
		if diff := binary.LittleEndian.Uint64(b[from:]) ^ binary.LittleEndian.Uint64(b[at:]); diff != 0 {
			return at - begin + bits.TrailingZeros64(diff)/8
		}
	}
	for at < len(b) && b[from] == b[at] {
		from, at = from+1, at+1
	}
	return at - begin
}

// appendLiteral adds a literal of up to 64 KiB, nothing for none.
func appendLiteral(dst, literal []byte) []byte {
	switch n := len(literal) - 1; {
	case n < 0:
		return dst
	case n < 60:
		dst = append(dst, byte(n)<<2)
	case n < 1<<8:
		dst = append(dst, 60<<2, byte(n))
	default:
		dst = append(dst, 61<<2, byte(n), byte(n>>8))
	}
	return append(dst, literal...)
}

// appendCopy adds copies of n bytes that stand offset bytes, up to 64 KiB, before.
func appendCopy(dst []byte, offset, n int) []byte {
	for n > 0 {
		if n >= 4 && n <= 11 && offset < nearOffset {
			return append(dst, byte(offset>>8)<<5|byte(n-4)<<2|1, byte(offset))
		}
		some := min(n, 64)
		dst = append(dst, byte(some-1)<<2|2, byte(offset), byte(offset>>8))
		n -= some
	}
	return dst
}

// commonWindow is how many bytes payloads have to have in common at a time.
const commonWindow = 8

// Common is what payloads have in common, as a dictionary for others like them:
// in the order of the payloads, each piece of commonWindow bytes that stands in
// two of them at least and was not there yet; at most so many bytes. Pieces that
// overlap or touch in a payload do so here. A byte that no two payloads have, with
// those beside it, is never in it.
func Common(payloads [][]byte, most int) []byte {
	const shared, taken = -1, -2
	windows := map[uint64]int{} // whose it is, from 1; or shared, or taken
	for i, p := range payloads {
		eachWindow(p, func(_ int, w uint64) {
			switch of := windows[w]; of {
			case 0:
				windows[w] = i + 1
			case i + 1:
			default:
				windows[w] = shared
			}
		})
	}
	var common []byte
	for _, p := range payloads {
		done := 0 // up to where p is taken or passed
		eachWindow(p, func(end int, w uint64) {
			if windows[w] != shared {
				return
			}
			windows[w] = taken
			common = append(common, p[max(done, end-commonWindow):end]...)
			done = end
		})
	}
	return common[:min(len(common), most)]
}

// eachWindow calls fn with each window of p and where it ends.
func eachWindow(p []byte, fn func(end int, w uint64)) {
	var w uint64
	for i, c := range p {
		if w = w<<8 | uint64(c); i+1 >= commonWindow {
			fn(i+1, w)
		}
	}
}
