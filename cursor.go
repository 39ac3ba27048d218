package savepoint

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// cursor is where a page of a Query ended. Its text says so, and which query it
// belongs to; that of older programs stays readable.
type cursor struct {
	query  uint32 // the sum of what was asked
	pos    uint64 // of the last record of the page
	seq    uint64 // and its seq
	number uint64 // of its machine, where the query is about one
}

const cursorShape = 1

func (c *cursor) String() string {
	b := binary.BigEndian.AppendUint32([]byte{cursorShape}, c.query)
	for _, n := range []uint64{c.pos, c.seq, c.number} {
		b = binary.AppendUvarint(b, n)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (c *cursor) parse(text string, query uint32) error {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 8 || b[0] != cursorShape {
		return fmt.Errorf("%w: %.40q: pass what Page.Next was", ErrBadCursor, text)
	}
	if c.query = binary.BigEndian.Uint32(b[1:]); c.query != query {
		return fmt.Errorf("%w: it belongs to another query: ask the same again, only Limit may change", ErrBadCursor)
	}
	b = b[5:]
	for _, n := range []*uint64{&c.pos, &c.seq, &c.number} {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			return fmt.Errorf("%w: %.40q is cut off", ErrBadCursor, text)
		}
		*n, b = v, b[k:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %.40q goes on behind its end", ErrBadCursor, text)
	}
	return nil
}

// sum tells queries apart by what they ask, not by Limit and Cursor.
func (q *Query) sum() uint32 {
	return crc32.Checksum(fmt.Appendf(nil, "%q %q %d %d %q %q %q %q %d %q %t", q.Kind, q.ID, q.Since.UnixNano(), q.Until.UnixNano(),
		q.From, q.To, q.Name, q.Actor, q.Origin, q.Correlation, q.Newest), crc32.MakeTable(crc32.Castagnoli))
}
