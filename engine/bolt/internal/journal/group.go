package journal

import "slices"

// groupCap is the first capacity of a Group: large enough that the runtime
// allocates whole pages, so that the buffer starts at a page boundary.
const groupCap = 64 << 10

// Group is the payload of one record, built in the buffer that is written. The zero
// value is empty and ready for use. With two of them one can be built while the
// other is written, and nothing is allocated once they have grown. A Group is for
// one goroutine at a time, and must not be used while Append runs with it; Append
// does not change its payload, whatever it returns.
type Group struct {
	b []byte // headerSize bytes for the header, then the payload
}

// Reset empties g and keeps its memory.
func (g *Group) Reset() {
	g.init()
	g.b = g.b[:headerSize]
}

// Len returns the length of the payload.
func (g *Group) Len() int { return max(len(g.b)-headerSize, 0) }

// Payload returns the payload so far. It is valid until g changes.
func (g *Group) Payload() []byte {
	g.init()
	return g.b[headerSize:]
}

// Write appends p to the payload. It never fails.
func (g *Group) Write(p []byte) (int, error) {
	g.init()
	g.b = append(g.b, p...)
	return len(p), nil
}

// Build adds to the payload what fill appends to dst. fill must keep the bytes that
// dst holds already.
func (g *Group) Build(fill func(dst []byte) []byte) {
	g.init()
	b := fill(g.b)
	if len(b) < len(g.b) {
		panic("journal: fill removed bytes")
	}
	g.b = b
}

func (g *Group) init() {
	if g.b == nil {
		g.b = make([]byte, headerSize, groupCap)
	}
}

// padded returns the record followed by zeros up to a multiple of Align.
func (g *Group) padded() []byte {
	n, want := len(g.b), int(Span(g.Len()))
	if cap(g.b) < want {
		g.b = slices.Grow(g.b, want-n)
	}
	b := g.b[:want]
	clear(b[n:])
	return b
}
