package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/golang/snappy"
)

// Dictionary holds bytes that payloads are likely to repeat. A payload that is
// encoded with it is the end of a snappy block that starts with the dictionary, so
// that the block's copy elements can refer to the dictionary's bytes:
//
//	+------+------------------------------------------+
//	| id 4 | the snappy elements after the dictionary |
//	+------+------------------------------------------+
//
// The start of the block (its length, and one literal with the dictionary) is
// added when the payload is decoded. A dictionary does not change and may be used
// by several goroutines at once.
type Dictionary struct {
	id    uint32
	bytes []byte
	table [1 << tableBits]uint16 // hash of four bytes -> 1 + their last index in bytes
}

const (
	// LongestDictionary is the largest length of a dictionary.
	LongestDictionary = 8 << 10
	// ShortestDictionary is the smallest length of a dictionary: a shorter one
	// saves too little.
	ShortestDictionary = 64
	// LongestShared is the largest length of a payload that is encoded with a
	// dictionary: a longer one repeats its own bytes often enough. Indexes into the
	// dictionary and such a payload, and offsets between them, fit two bytes.
	LongestShared = 32 << 10

	tableBits        = 12
	dictionaryIDLen  = 4
	nearOffset       = 1 << 11 // a short copy takes two bytes with an offset below it, otherwise three
	shortestFarMatch = 5       // shortest match for which a copy of three bytes is used
)

// NewDictionary returns a dictionary with the bytes b, which it keeps.
func NewDictionary(b []byte) (*Dictionary, error) {
	if len(b) < ShortestDictionary || len(b) > LongestDictionary {
		return nil, fmt.Errorf("a dictionary of %d bytes: %d to %d are allowed", len(b), ShortestDictionary, LongestDictionary)
	}
	d := &Dictionary{id: crc32.Checksum(b, castagnoli), bytes: b}
	for i := 0; i+4 <= len(b); i++ {
		d.table[hashAt(b, i)] = uint16(i + 1)
	}
	return d, nil
}

// ID returns the CRC-32C of the dictionary's bytes, by which payloads refer to it.
// The engine stores no two dictionaries with the same id in one file.
func (d *Dictionary) ID() uint32 { return d.id }

// Bytes returns the dictionary's bytes, which must not be changed.
func (d *Dictionary) Bytes() []byte { return d.bytes }

// DictionaryID returns the id of the dictionary with which a payload of codec
// Shared was encoded.
func DictionaryID(payload []byte) (uint32, error) {
	if len(payload) < dictionaryIDLen {
		return 0, fmt.Errorf("payload of %d bytes is too short for the id of a dictionary", len(payload))
	}
	return binary.BigEndian.Uint32(payload), nil
}

// Encode is like [Encode], with the dictionary. It decodes its result, and encodes
// the payload without the dictionary if the two differ, because a stored state has
// no second copy.
func (d *Dictionary) Encode(scratch, payload []byte) (encoded []byte, codec Codec, newScratch []byte) {
	n := len(payload)
	if n < shortest || n > LongestShared {
		return Encode(scratch, payload)
	}
	text := len(d.bytes) + n
	most := dictionaryIDLen + snappy.MaxEncodedLen(n)
	if need := text + most + d.scratchLen(most, n); cap(scratch) < need {
		scratch = make([]byte, need)
	}
	scratch = scratch[:cap(scratch)]
	copy(scratch, d.bytes)
	copy(scratch[len(d.bytes):], payload)
	out := binary.BigEndian.AppendUint32(scratch[text:text:text+most], d.id)
	if out = d.appendElements(out, scratch[:text]); len(out) >= n {
		return payload, Raw, scratch
	}
	again, _, err := d.Decode(scratch[text+most:], out, uint32(n))
	if err != nil || !bytes.Equal(again, payload) {
		return Encode(scratch, payload)
	}
	return out, Shared, scratch
}

// scratchLen returns the length of the scratch buffer that Decode needs for a
// payload of n bytes, encoded in the given number of bytes: the decoded snappy
// block, followed by the encoded one.
func (d *Dictionary) scratchLen(encoded, n int) int {
	return len(d.bytes) + n + blockHeadLen + len(d.bytes) + encoded
}

// blockHeadLen is the largest number of bytes before the dictionary in a snappy
// block: the length as a varint, and the head of a literal.
const blockHeadLen = binary.MaxVarintLen32 + 3

// Decode reverses Encode for a payload that was encoded with d. Otherwise it is
// like [Decode].
func (d *Dictionary) Decode(scratch, payload []byte, raw uint32) (decoded, newScratch []byte, err error) {
	id, err := DictionaryID(payload)
	switch {
	case err != nil:
		return nil, scratch, err
	case id != d.id:
		return nil, scratch, fmt.Errorf("payload needs dictionary %08x, this one is %08x", id, d.id)
	case raw > LongestShared:
		return nil, scratch, fmt.Errorf("%w: payload of %d bytes with a dictionary, at most %d", ErrTooLong, raw, LongestShared)
	case int(raw)/densest > len(payload):
		return nil, scratch, fmt.Errorf("payload of %d bytes cannot hold %d", len(payload), raw)
	}
	elements, whole := payload[dictionaryIDLen:], len(d.bytes)+int(raw)
	if need := d.scratchLen(len(elements), int(raw)); cap(scratch) < need {
		scratch = make([]byte, need)
	}
	scratch = scratch[:cap(scratch)]
	block := binary.AppendUvarint(scratch[whole:whole], uint64(whole))
	block = appendLiteral(block, d.bytes)
	block = append(block, elements...)
	b, err := snappy.Decode(scratch[:whole:whole], block)
	if err != nil {
		return nil, scratch, err
	}
	return b[len(d.bytes):], scratch, nil
}

// appendElements appends the snappy elements of the bytes after the dictionary in
// text, which starts with the dictionary.
func (d *Dictionary) appendElements(dst, text []byte) []byte {
	table := d.table
	literal := len(d.bytes) // index of the first byte that no element covers yet
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
		for i := at + 1; i < at+n && i+4 <= len(text); i += 3 { // every third index finds nearly as much, and is faster
			table[hashAt(text, i)] = uint16(i + 1)
		}
		at += n
		literal = at
	}
	return appendLiteral(dst, text[literal:])
}

// hashAt returns the hash of the four bytes at i.
func hashAt(b []byte, i int) uint32 {
	return binary.LittleEndian.Uint32(b[i:]) * 0x9e3779b1 >> (32 - tableBits)
}

// matchLen returns the number of equal bytes at from and at at; from is less than at.
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

// appendLiteral appends a literal element of up to 64 KiB; none if literal is empty.
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

// appendCopy appends copy elements for n bytes that are found offset bytes before,
// at most 64 KiB.
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

// commonWindow is the length of the byte sequences that Common compares.
const commonWindow = 8

// Common returns bytes that the payloads have in common, as a dictionary for other
// payloads like them: in the order of the payloads, each window of commonWindow
// bytes that occurs in at least two of them and was not returned already; at most
// the first limit bytes. Windows that overlap or touch in a payload do so in the
// result. Every byte of the result is part of a window that two payloads share.
func Common(payloads [][]byte, limit int) []byte {
	const shared, taken = -1, -2
	windows := map[uint64]int{} // 1 + index of the only payload with the window; or shared, or taken
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
		done := 0 // end of the last window of p that was taken
		eachWindow(p, func(end int, w uint64) {
			if windows[w] != shared {
				return
			}
			windows[w] = taken
			common = append(common, p[max(done, end-commonWindow):end]...)
			done = end
		})
	}
	return common[:min(len(common), limit)]
}

// eachWindow calls fn with each window of p and the index after it.
func eachWindow(p []byte, fn func(end int, w uint64)) {
	var w uint64
	for i, c := range p {
		if w = w<<8 | uint64(c); i+1 >= commonWindow {
			fn(i+1, w)
		}
	}
}
