package journal

import "slices"

// groupCap is what a Group begins with: enough that the runtime hands out whole
// pages, which begin at page boundaries.
const groupCap = 64 << 10

// Group is the payload of one record, built in place in the buffer that is
// written. The zero value is empty and ready. Keep two, and one is built while
// the other syncs: nothing is allocated once they have grown. A Group is for
// one goroutine at a time, and Append's while it runs; its bytes are the same
// afterwards, whatever Append answered.
type Group struct {
	b []byte // room for the header, then the payload
}

// Reset empties g and keeps its memory.
func (g *Group) Reset() {
	g.init()
	g.b = g.b[:headerSize]
}

// Len is the length of the payload.
func (g *Group) Len() int { return max(len(g.b)-headerSize, 0) }

// Payload is what was built so far, valid until g changes.
func (g *Group) Payload() []byte {
	g.init()
	return g.b[headerSize:]
}

// Write adds p. It never fails.
func (g *Group) Write(p []byte) (int, error) {
	g.init()
	g.b = append(g.b, p...)
	return len(p), nil
}

// Build adds what fill appends to dst. There are bytes in dst already, which
// fill keeps as they are.
func (g *Group) Build(fill func(dst []byte) []byte) {
	g.init()
	b := fill(g.b)
	if len(b) < len(g.b) {
		panic("journal: fill took bytes away")
	}
	g.b = b
}

func (g *Group) init() {
	if g.b == nil {
		g.b = make([]byte, headerSize, groupCap)
	}
}

// padded is the record with zeros behind it up to a multiple of Align.
func (g *Group) padded() []byte {
	n, want := len(g.b), int(Span(g.Len()))
	if cap(g.b) < want {
		g.b = slices.Grow(g.b, want-n)
	}
	b := g.b[:want]
	clear(b[n:])
	return b
}
