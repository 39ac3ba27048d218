package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Document decodes b, which must be exactly one msgpack value, into a document. It scans b first, and the document shares
// no memory with it. The keys of a map must be all strings or all int64, and no key may occur twice; other maps are an
// error. An empty map becomes an empty map[string]any.
func Document(b []byte) (any, error) {
	if _, err := scan(b, maxDepth, maxElements, false); err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	p := newParser(b)
	v, err := p.value()
	if err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	return v, nil
}

// A parser reads documents from bytes. It checks every length itself, because the typed decoder may call it at an offset
// that scan took for the middle of a value.
type parser struct {
	b     []byte
	i     int
	depth int
	texts string // a copy of b whose substrings the document's strings are, or empty
}

// shared is the largest input whose strings become substrings of one copy of the input. That halves the allocations, at
// the price that a string which outlives its document keeps the whole copy in memory.
const shared = 4 << 10

func newParser(b []byte) parser {
	if len(b) > shared {
		return parser{b: b}
	}
	return parser{b: b, texts: string(b)}
}

func (p *parser) value() (any, error) {
	c, err := p.byte()
	if err != nil {
		return nil, err
	}
	switch {
	case c < 0x80:
		return int64(c), nil
	case c >= 0xe0:
		return int64(int8(c)), nil
	case c < 0x90:
		return p.mapping(int(c & 0x0f))
	case c < 0xa0:
		return p.array(int(c & 0x0f))
	case c < 0xc0:
		return p.text(int(c & 0x1f))
	}
	switch c {
	case 0xc0:
		return nil, nil
	case 0xc2:
		return false, nil
	case 0xc3:
		return true, nil
	}
	l := leads[c]
	w := int(l.width)
	if l.class == unknown {
		return nil, fmt.Errorf("byte %d: 0x%02x does not start a value", p.i-1, c)
	}
	body, err := p.take(w)
	if err != nil {
		return nil, err
	}
	switch l.class {
	case fixed: // strings in one byte are read above
		return fixedNumber(c, body), nil
	case fixedExt:
		return p.extension(int8(body[0]), body[1:])
	}
	n := length(body, w)
	switch l.class {
	case array:
		return p.array(n)
	case mapping:
		return p.mapping(n)
	case extension:
		rest, err := p.take(n + 1)
		if err != nil {
			return nil, err
		}
		return p.extension(int8(rest[0]), rest[1:])
	}
	if c >= 0xd9 {
		return p.text(n)
	}
	raw, err := p.take(n)
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, n), raw...), nil
}

// fixedNumber returns the number of fixed size with the first byte c, which is 0xca to 0xd3.
func fixedNumber(c byte, body []byte) any {
	switch c {
	case 0xca:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(body)))
	case 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(body))
	case 0xcc:
		return int64(body[0])
	case 0xcd:
		return int64(binary.BigEndian.Uint16(body))
	case 0xce:
		return int64(binary.BigEndian.Uint32(body))
	case 0xcf:
		return number(binary.BigEndian.Uint64(body))
	case 0xd0:
		return int64(int8(body[0]))
	case 0xd1:
		return int64(int16(binary.BigEndian.Uint16(body)))
	case 0xd2:
		return int64(int32(binary.BigEndian.Uint32(body)))
	}
	return int64(binary.BigEndian.Uint64(body))
}

// text reads a string of n bytes.
func (p *parser) text(n int) (string, error) {
	s, err := p.take(n)
	if err != nil {
		return "", err
	}
	if p.texts != "" {
		return p.texts[p.i-n : p.i], nil
	}
	return string(s), nil
}

func isText(c byte) bool { return c >= 0xa0 && c < 0xc0 || c >= 0xd9 && c <= 0xdb }

// textKey reads a string. If the next value is not a string, ok is false and nothing is read.
func (p *parser) textKey() (s string, ok bool, err error) {
	if p.i >= len(p.b) || !isText(p.b[p.i]) {
		return "", false, nil
	}
	c := p.b[p.i]
	p.i++
	n := int(c & 0x1f)
	if c >= 0xd9 {
		w := int(leads[c].width)
		l, err := p.take(w)
		if err != nil {
			return "", false, err
		}
		n = length(l, w)
	}
	s, err = p.text(n)
	return s, true, err
}

func (p *parser) array(n int) (any, error) {
	if err := p.enter(n); err != nil {
		return nil, err
	}
	list := make([]any, n)
	for i := range list {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	p.depth--
	return list, nil
}

func (p *parser) mapping(n int) (any, error) {
	if err := p.enter(2 * n); err != nil {
		return nil, err
	}
	if n == 0 {
		p.depth--
		return map[string]any{}, nil
	}
	at := p.i
	if isText(p.b[p.i]) {
		m := make(map[string]any, n)
		for range n {
			at := p.i
			s, ok, err := p.textKey()
			if err != nil {
				return nil, err
			}
			if !ok {
				k, err := p.value()
				if err != nil {
					return nil, err
				}
				return nil, keyError(at, k)
			}
			if m[s], err = p.value(); err != nil {
				return nil, err
			}
		}
		if len(m) != n {
			return nil, fmt.Errorf("byte %d: a map has the same key twice", at)
		}
		p.depth--
		return m, nil
	}
	m := make(map[int64]any, n)
	for range n {
		at := p.i
		k, err := p.value()
		if err != nil {
			return nil, err
		}
		num, ok := k.(int64)
		if !ok {
			return nil, keyError(at, k)
		}
		if m[num], err = p.value(); err != nil {
			return nil, err
		}
	}
	if len(m) != n {
		return nil, fmt.Errorf("byte %d: a map has the same key twice", at)
	}
	p.depth--
	return m, nil
}

// The extension types of times: msgpack's own, and that of tinylib/msgp.
const (
	timeExtension     = -1
	timeExtensionMsgp = 5
)

func (p *parser) extension(kind int8, body []byte) (any, error) {
	switch {
	case kind == timeExtension && len(body) == 4:
		return time.Unix(int64(binary.BigEndian.Uint32(body)), 0).UTC(), nil
	case kind == timeExtension && len(body) == 8:
		n := binary.BigEndian.Uint64(body)
		return time.Unix(int64(n&(1<<34-1)), int64(n>>34)).UTC(), nil
	case kind == timeExtension && len(body) == 12:
		return time.Unix(int64(binary.BigEndian.Uint64(body[4:])), int64(binary.BigEndian.Uint32(body))).UTC(), nil
	case kind == timeExtensionMsgp && len(body) == 12:
		return time.Unix(int64(binary.BigEndian.Uint64(body)), int64(int32(binary.BigEndian.Uint32(body[8:])))).UTC(), nil
	}
	return nil, fmt.Errorf("byte %d: a document cannot hold an extension of type %d with %d bytes", p.i-len(body), kind, len(body))
}

// enter opens a container of n values. Each of them occupies at least one byte.
func (p *parser) enter(n int) error {
	if p.depth++; p.depth > maxDepth {
		return fmt.Errorf("byte %d: nested deeper than %d", p.i-1, maxDepth)
	}
	if n > len(p.b)-p.i {
		return fmt.Errorf("byte %d: %d values are claimed, %d bytes are left", p.i-1, n, len(p.b)-p.i)
	}
	return nil
}

func (p *parser) byte() (byte, error) {
	if p.i >= len(p.b) {
		return 0, fmt.Errorf("byte %d: the bytes end before the value", p.i)
	}
	p.i++
	return p.b[p.i-1], nil
}

// take returns the next n bytes of the input, not a copy.
func (p *parser) take(n int) ([]byte, error) {
	if n > len(p.b)-p.i {
		return nil, fmt.Errorf("byte %d: a length of %d, %d bytes are left", p.i, n, len(p.b)-p.i)
	}
	p.i += n
	return p.b[p.i-n : p.i : p.i], nil
}

func keyError(at int, key any) error {
	return fmt.Errorf("byte %d: a map of a document has string keys only or int64 keys only, and this one has a key that is %s", at, kindName(key))
}

func kindName(v any) string {
	switch v.(type) {
	case nil:
		return "nil"
	case []any:
		return "an array"
	case map[string]any:
		return "a map"
	case map[int64]any:
		return "a map with integer keys"
	case []byte:
		return "bytes"
	case uint64:
		return "an integer above the largest int64"
	}
	return fmt.Sprintf("of type %T", v)
}
