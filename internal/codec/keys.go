package codec

import "fmt"

// checkKeys returns an error if the value at b[i] holds a map whose keys no document can have, because what Marshal writes
// for an any must decode into a document. b has been scanned. end is the index after the value.
func checkKeys(b []byte, i int) (end int, err error) {
	c := b[i]
	i++
	n, pairs := 0, false
	switch {
	case c < 0x80 || c >= 0xe0:
		return i, nil
	case c < 0xa0:
		n, pairs = int(c&0x0f), c < 0x90
	default:
		l := leads[c]
		w := int(l.width)
		switch l.class {
		case whole:
			return i, nil
		case fixed, fixedExt:
			return i + w, nil
		}
		n = length(b[i:], w)
		i += w
		switch l.class {
		case counted:
			return i + n, nil
		case extension:
			return i + n + 1, nil
		}
		pairs = l.class == mapping
	}
	var first keyKind
	for k := range n {
		if pairs {
			kind := keyKindOf(b[i:])
			if k == 0 {
				first = kind
			}
			if kind == noKey || kind != first {
				return i, fmt.Errorf("byte %d: a map in an any has string keys only or int64 keys only", i)
			}
			if i, err = checkKeys(b, i); err != nil {
				return i, err
			}
		}
		if i, err = checkKeys(b, i); err != nil {
			return i, err
		}
	}
	return i, nil
}

type keyKind int

const (
	noKey keyKind = iota
	textKey
	intKey
)

func keyKindOf(b []byte) keyKind {
	switch c := b[0]; {
	case isText(c):
		return textKey
	case c == 0xcf && b[1] >= 0x80: // above the largest int64
		return noKey
	case c < 0x80 || c >= 0xe0 || c >= 0xcc && c <= 0xd3:
		return intKey
	}
	return noKey
}
