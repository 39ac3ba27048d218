package codec

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The default limits. Marshal and Unmarshal use them.
const (
	maxDepth    = 64
	maxElements = 4_000_000
)

// Limits bounds what Scan accepts. A zero field means the default.
type Limits struct {
	// Depth is the largest number of maps and arrays that may be open at once; default 64.
	Depth int
	// Elements is the largest number of elements of all maps and arrays together, where a map's key and value count as two;
	// default 4,000,000.
	Elements int
}

// Scan returns an error unless b is exactly one msgpack value within lim: every claimed length fits into the bytes that
// are left, nothing follows the value, and no value starts with the unused byte 0xc1. It does not recurse, and it
// allocates nothing for the lengths that b claims; only a lim.Depth over 64 costs memory, 8 bytes for each further level
// that b has.
func Scan(b []byte, lim Limits) error {
	if lim.Depth <= 0 {
		lim.Depth = maxDepth
	}
	if lim.Elements <= 0 {
		lim.Elements = maxElements
	}
	_, err := scan(b, lim.Depth, lim.Elements, false)
	return err
}

// The classes of first bytes: what follows the first byte of a value.
const (
	whole     = iota // nothing
	fixed            // width bytes of body
	fixedExt         // width bytes, of which the first is the extension's type
	counted          // a length of width bytes, then as many bytes
	extension        // a length of width bytes, a type, then as many bytes
	array            // a count of width bytes, then as many values
	mapping          // a count of width bytes, then twice as many values
	unknown          // 0xc1, which starts no value
)

type lead struct{ class, width uint8 }

// leads has the class and width of each first byte from 0xa0 to 0xdf. Others are numbers and containers in one byte.
var leads = func() (t [256]lead) {
	t[0xc1] = lead{unknown, 0}
	t[0xc4], t[0xc5], t[0xc6] = lead{counted, 1}, lead{counted, 2}, lead{counted, 4}
	t[0xc7], t[0xc8], t[0xc9] = lead{extension, 1}, lead{extension, 2}, lead{extension, 4}
	t[0xca], t[0xcb] = lead{fixed, 4}, lead{fixed, 8}
	t[0xcc], t[0xcd], t[0xce], t[0xcf] = lead{fixed, 1}, lead{fixed, 2}, lead{fixed, 4}, lead{fixed, 8}
	t[0xd0], t[0xd1], t[0xd2], t[0xd3] = lead{fixed, 1}, lead{fixed, 2}, lead{fixed, 4}, lead{fixed, 8}
	t[0xd4], t[0xd5], t[0xd6], t[0xd7], t[0xd8] = lead{fixedExt, 2}, lead{fixedExt, 3}, lead{fixedExt, 5}, lead{fixedExt, 9}, lead{fixedExt, 17}
	t[0xd9], t[0xda], t[0xdb] = lead{counted, 1}, lead{counted, 2}, lead{counted, 4}
	t[0xdc], t[0xdd] = lead{array, 2}, lead{array, 4}
	t[0xde], t[0xdf] = lead{mapping, 2}, lead{mapping, 4}
	for c := 0xa0; c <= 0xbf; c++ {
		t[c] = lead{fixed, uint8(c & 0x1f)}
	}
	return t
}()

// scan is Scan with the limits set. With partial, b may end early: the bytes that are there must be within the limits.
//
// pending is the number of values that all open containers claim and that are not yet seen. Each value occupies at least
// one byte, so pending must never exceed the number of bytes left: nested containers cannot claim the same bytes twice.
func scan(b []byte, depth, elements int, partial bool) (exts extensions, err error) {
	var (
		array   [maxDepth]int
		open    = array[:0] // number of values that each open container but the innermost still waits for
		left    = 1         // number of values that the innermost one waits for
		pending = 1
		total   = 0
		i       = 0
	)
	for {
		for left == 0 {
			if len(open) == 0 {
				if i != len(b) {
					return exts, fmt.Errorf("byte %d: %d bytes follow the value", i, len(b)-i)
				}
				return exts, nil
			}
			left = open[len(open)-1]
			open = open[:len(open)-1]
		}
		if i >= len(b) {
			if partial {
				return exts, nil
			}
			return exts, fmt.Errorf("byte %d: the bytes end, %d more values are claimed", i, pending)
		}
		left--
		pending--
		c := b[i]
		i++

		if c < 0x80 || c >= 0xe0 {
			continue
		}
		var n int // values that a container claims
		switch {
		case c < 0x90:
			n = 2 * int(c&0x0f)
		case c < 0xa0:
			n = int(c & 0x0f)
		case c < 0xc0 && int(c&0x1f) <= len(b)-i:
			i += int(c & 0x1f)
			continue
		case leads[c].class == whole:
			continue
		default:
			next, claimed, short, err := scanRest(b, i, &exts)
			if err != nil {
				if short && partial {
					err = nil
				}
				return exts, err
			}
			if i = next; claimed < 0 {
				continue
			}
			n = claimed
		}
		pending += n
		total += n
		if len(open) >= depth {
			return exts, fmt.Errorf("byte %d: nested deeper than %d", i-1, depth)
		}
		if pending > len(b)-i && !partial {
			return exts, fmt.Errorf("byte %d: %d values are claimed, %d bytes are left", i-1, pending, len(b)-i)
		}
		if total > elements {
			return exts, fmt.Errorf("byte %d: more than %d elements", i-1, elements)
		}
		open = append(open, left)
		left = n
	}
}

// scanRest reads the rest of the value that starts with b[i-1], a byte of the table leads of any class but whole. It
// returns the index of the next byte, and the number of values that a container claims, or -1 for any other value. With
// short, the error is that b ends before the value does.
func scanRest(b []byte, i int, exts *extensions) (next, claimed int, short bool, err error) {
	c := b[i-1]
	l := leads[c]
	w := int(l.width)
	switch {
	case l.class == unknown:
		return i, -1, false, fmt.Errorf("byte %d: 0x%02x does not start a value", i-1, c)
	case w > len(b)-i:
		return i, -1, true, fmt.Errorf("byte %d: 0x%02x needs %d more bytes, %d are left", i-1, c, w, len(b)-i)
	case l.class == fixed:
		return i + w, -1, false, nil
	case l.class == fixedExt:
		exts.note(i-1, c, b[i], b[i+1:i+w])
		return i + w, -1, false, nil
	}
	n := length(b[i:], w)
	i += w
	switch l.class {
	case array:
		return i, n, false, nil
	case mapping:
		return i, 2 * n, false, nil
	case extension:
		n++ // its type
	}
	if n > len(b)-i {
		return i, -1, true, fmt.Errorf("byte %d: a length of %d, %d bytes are left", i-1-w, n, len(b)-i)
	}
	if l.class == extension {
		exts.note(i-1-w, c, b[i], b[i+1:i+n])
	}
	return i + n, -1, false, nil
}

// length reads a big-endian number of w bytes: 1, 2 or 4. Where an int has 32 bits, a number too large for any slice is
// reduced, so that sums and products of it stay positive.
func length(b []byte, w int) int {
	switch w {
	case 1:
		return int(b[0])
	case 2:
		return int(binary.BigEndian.Uint16(b))
	}
	return int(min(uint64(binary.BigEndian.Uint32(b)), math.MaxInt/4))
}
