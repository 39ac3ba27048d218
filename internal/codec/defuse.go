package codec

import (
	"encoding/binary"
	"fmt"
)

// extensions is what a scan saw of them.
//
// The library, when it wants a map and finds an extension, skips the extension's header and takes its body for the map: a
// field that was a time and is a map now may claim billions of entries, which is a fatal out of memory, in one of 250
// times with fractions of a second. So the library gets to see times only, and only such as do not begin like a map.
type extensions struct {
	armed   bool // there is a time that begins like a map
	foreign int  // where something that is no time begins, plus one; 0 if nowhere
}

// note takes in the extension of a type that begins with the byte c at b[at].
func (e *extensions) note(at int, c, kind byte, body []byte) {
	isTime := int8(kind) == timeExtension && (c == 0xd6 || c == 0xd7 || c == 0xc7 && len(body) == 12 && body[0] < 0x80)
	switch {
	case isTime:
		e.armed = e.armed || likeMap(body[0])
	case e.foreign == 0:
		e.foreign = at + 1
	}
}

// err refuses extensions that are not times. Types with MarshalMsg may use them, others cannot.
func (e *extensions) err(b []byte) error {
	if e.foreign == 0 {
		return nil
	}
	at := e.foreign - 1
	kind := at + 1
	if leads[b[at]].class == extension {
		kind += int(leads[b[at]].width)
	}
	return fmt.Errorf("byte %d: an extension of type %d that is not a time; use MarshalBinary for such values", at, int8(b[kind]))
}

// likeMap reports whether the library takes c for the beginning of a map, nil among them.
func likeMap(c byte) bool { return c >= 0x80 && c < 0x90 || c == 0xc0 || c|1 == 0xdf }

// defused returns a copy of b, which a scan has accepted, in which all times that begin like a map are written in their
// long form, which does not.
func defused(b []byte) []byte {
	out := make([]byte, 0, len(b)+64)
	last := 0
	for i := 0; i < len(b); {
		c := b[i]
		w := int(leads[c].width)
		switch leads[c].class {
		case fixedExt:
			if body := b[i+2 : i+1+w]; int8(b[i+1]) == timeExtension && likeMap(body[0]) {
				var sec, nsec uint64
				if len(body) == 4 {
					sec = uint64(binary.BigEndian.Uint32(body))
				} else {
					x := binary.BigEndian.Uint64(body)
					sec, nsec = x&(1<<34-1), x>>34
				}
				out = append(out, b[last:i]...)
				out = append(out, 0xc7, 12, 0xff)
				out = binary.BigEndian.AppendUint32(out, uint32(nsec))
				out = binary.BigEndian.AppendUint64(out, sec)
				last = i + 1 + w
			}
			i += 1 + w
		case counted:
			i += 1 + w + length(b[i+1:], w)
		case extension:
			i += 2 + w + length(b[i+1:], w)
		default: // what has no length, and the counts of containers
			i += 1 + w
		}
	}
	return append(out, b[last:]...)
}
