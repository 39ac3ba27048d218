package codec

import (
	"encoding/binary"
	"fmt"
)

// extensions records which extensions a scan has found.
//
// When the library expects a map and finds an extension, it skips the extension's header and decodes the body as the map:
// a field whose type changed from time.Time to a map may then claim billions of entries, a fatal out of memory, for one of
// 250 times with fractions of a second. So the library only ever reads extensions that are times, and only times whose
// body does not start with a byte that starts a map.
type extensions struct {
	armed   bool // there is a time whose body starts like a map
	foreign int  // index of the first extension that is not a time, plus one; 0 if all are times
}

// note records an extension: its first byte c, which is b[at], its type kind and its body.
func (e *extensions) note(at int, c, kind byte, body []byte) {
	isTime := int8(kind) == timeExtension && (c == 0xd6 || c == 0xd7 || c == 0xc7 && len(body) == 12 && body[0] < 0x80)
	switch {
	case isTime:
		e.armed = e.armed || likeMap(body[0])
	case e.foreign == 0:
		e.foreign = at + 1
	}
}

// err returns an error if there is an extension in b that is not a time. Only types with MarshalMsg may use those.
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

// likeMap reports whether the library takes c for the first byte of a map, or for nil in place of a map.
func likeMap(c byte) bool { return c >= 0x80 && c < 0x90 || c == 0xc0 || c|1 == 0xdf }

// defused returns a copy of b, which a scan has accepted, in which every time whose body starts like a map is in its long
// form, whose body does not.
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
		default: // values without a length; of a container only its count
			i += 1 + w
		}
	}
	return append(out, b[last:]...)
}
