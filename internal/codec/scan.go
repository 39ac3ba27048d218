package codec

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The limits that a zero Limits stands for. Marshal and Unmarshal use them.
const (
	maxDepth    = 64
	maxElements = 4_000_000
)

// Limits bounds what Scan accepts. A zero field means the default.
type Limits struct {
	// Depth is how many maps and arrays may be open at once; default 64.
	Depth int
	// Elements is how many elements all maps and arrays may have together, a map's key and value counted as two; default 4,000,000.
	Elements int
}

// Scan reports whether b is exactly one msgpack value within lim: every claimed length fits into the bytes that are left,
// nothing follows the value, the byte 0xc1 does not occur where a value begins. It does not recurse, and it allocates
// nothing for what b claims; only an lim.Depth over 64 costs memory, 8 bytes a level that is really there.
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

// What a byte that begins a value says about the rest of it.
const (
	whole     = iota // nothing follows
	fixed            // width bytes of body follow
	fixedExt         // the same, and its first byte is an extension's type
	counted          // a length of width bytes, then as many bytes
	extension        // a length of width bytes, a type, then as many bytes
	array            // a count of width bytes, then as many values
	mapping          // a count of width bytes, then twice as many values
	unknown
)

type lead struct{ class, width uint8 }

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

// scan is Scan with the limits set. With partial, b may end early: what is there must be within the limits.
//
// pending is how many values are claimed by all open containers and not yet seen. Each takes a byte at least, so it never
// exceeds what is left: nested containers cannot claim the same bytes twice.
func scan(b []byte, depth, elements int, partial bool) (exts extensions, err error) {
	var (
		room    [maxDepth]int
		open    = room[:0] // what each open container but the innermost still waits for
		left    = 1        // what the innermost one waits for
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

		var n int
		pairs := false
		if c < 0x80 || c >= 0xe0 {
			continue
		} else if c < 0xa0 {
			n, pairs = int(c&0x0f), c < 0x90
		} else {
			l := leads[c]
			w := int(l.width)
			if l.class == whole {
				continue
			}
			if l.class == unknown {
				return exts, fmt.Errorf("byte %d: 0x%02x begins no value", i-1, c)
			}
			if w > len(b)-i {
				if partial {
					return exts, nil
				}
				return exts, fmt.Errorf("byte %d: 0x%02x needs %d more bytes, %d are left", i-1, c, w, len(b)-i)
			}
			if l.class <= fixedExt {
				if l.class == fixedExt {
					exts.note(i-1, c, b[i], b[i+1:i+w])
				}
				i += w
				continue
			}
			n = length(b[i:], w)
			i += w
			if l.class <= extension {
				if l.class == extension {
					n++
				}
				if n > len(b)-i {
					if partial {
						return exts, nil
					}
					return exts, fmt.Errorf("byte %d: a length of %d, %d bytes are left", i-1-w, n, len(b)-i)
				}
				if l.class == extension {
					exts.note(i-1-w, c, b[i], b[i+1:i+n])
				}
				i += n
				continue
			}
			pairs = l.class == mapping
		}

		if pairs {
			n *= 2
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

// length reads a big-endian number of w bytes: 1, 2 or 4. Where an int has 32 bits, a number too large for any slice is cut,
// so that what is computed from it stays positive.
func length(b []byte, w int) int {
	switch w {
	case 1:
		return int(b[0])
	case 2:
		return int(binary.BigEndian.Uint16(b))
	}
	return int(min(uint64(binary.BigEndian.Uint32(b)), math.MaxInt/4))
}
