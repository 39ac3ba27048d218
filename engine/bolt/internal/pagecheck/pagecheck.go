// Package pagecheck proves with plain reads that the pages of a bbolt file hang
// together, before bbolt maps them: bbolt trusts its pages, and on damaged ones
// it may panic, loop for ever, fault or ask for absurd amounts of memory.
//
// It reads a page at most once per walk, compares every length with what is
// there before it uses it, needs no recursion, and keeps two bits per page and
// the branch pages above the one it looks at. It looks at structure only: a
// changed byte in a value takes a checksum of the value to be found.
package pagecheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrDamaged is matched by all that is wrong with the pages; errors that do not
// match it are those of reading.
var ErrDamaged = errors.New("the page structure is damaged")

// Damage is one thing that is wrong. It matches ErrDamaged.
type Damage struct {
	Page uint64
	What string
}

func (d *Damage) Error() string { return fmt.Sprintf("page %d: %s", d.Page, d.What) }

// Is matches ErrDamaged.
func (d *Damage) Is(target error) bool { return target == ErrDamaged }

func damaged(page uint64, format string, args ...any) error {
	return &Damage{page, fmt.Sprintf(format, args...)}
}

// Pages have a header of id 8, flags 2, count 2, overflow 4 bytes, and of
// elements: of a branch distance from the element to its key 4, key length 4,
// child 8; of a leaf flags 4, distance 4, key length 4, value length 4. Numbers
// are in the byte order of the machine. bbolt leaves no gap between the elements
// and the keys and values, nor between those.
const (
	headerSize  = 16
	elementSize = 16
	flagBranch  = 0x01
	flagLeaf    = 0x02
	flagFree    = 0x10
	flagBucket  = 0x01 // of a leaf's element
	bucketSize  = 16   // root page 8, sequence 8; a page follows where root is 0
	firstPage   = 2    // behind the meta pages
)

// What bbolt never goes beyond.
const (
	longestKey   = 32768
	longestValue = 1<<31 - 2
	largestFile  = 1 << 48
)

// What this package does not go beyond.
const (
	readAhead = 64 << 10 // of a page and its overflow, more is read only where needed
	deepest   = 128      // pages and buckets one below the other
	heldBytes = 64 << 20 // of the branch pages above a page
	keptBytes = 256 << 10
	mostKeys  = 4 // that bbolt leaves in one page however long they are
)

var ne = binary.NativeEndian

// Visit is called with the keys and values of the top-level buckets that a walk
// reads, bucket by bucket in the order of the keys. key and value are borrowed.
// value is nil where it is so long that it was not read.
type Visit func(bucket string, key, value []byte)

// Check is a file under examination. The pages it describes are those that one
// meta page leads to; nobody may write to the file meanwhile.
type Check struct {
	r     io.ReaderAt
	meta  *Meta
	page  int64  // bytes
	pages uint64 // the file's pages end here
	free  bitmap
	used  bitmap
	rep   Report

	visit Visit
	only  map[string]bool // nil = all buckets
	stack []frame
	held  int
	buf   []byte
}

// Report says what was looked at.
type Report struct {
	Whole bool   // every page in use was reached
	Pages uint64 // in use or free, the meta pages too
	Free  uint64 // of these
	Used  uint64 // reached in the last walk, overflow pages too
	Bytes int64  // read
}

// New begins the examination of a file of size bytes, at the newest of its meta
// pages, with its free list: ids in range, ascending, in pages of their own.
func New(r io.ReaderAt, size int64, metas *Metas) (*Check, error) {
	meta, err := metas.pick()
	if err != nil {
		return nil, err
	}
	c := &Check{r: r, meta: meta, page: int64(meta.PageSize), pages: meta.Pages}
	switch {
	case size > largestFile:
		return nil, fmt.Errorf("%w: a file of %d bytes is more than bbolt can have", ErrDamaged, size)
	case c.pages < firstPage+2 || c.pages > uint64(size/c.page):
		return nil, fmt.Errorf("%w: %d pages of %d bytes do not fit into a file of %d", ErrDamaged, c.pages, c.page, size)
	}
	c.rep.Pages = c.pages
	c.buf = make([]byte, max(c.page, readAhead))
	c.used.grow(c.pages)
	c.free.grow(c.pages)
	if err := c.freeList(); err != nil {
		return nil, fmt.Errorf("free list: %w", err)
	}
	return c, nil
}

// Report is what has been looked at so far.
func (c *Check) Report() Report { return c.rep }

// Top walks the tree of top-level buckets, and the buckets named; visit may be nil.
func (c *Check) Top(visit Visit, buckets ...string) error {
	c.only = map[string]bool{}
	for _, name := range buckets {
		c.only[name] = true
	}
	return c.walk(visit)
}

// Whole walks all there is; each page must be in use or free. visit may be nil.
func (c *Check) Whole(visit Visit) error {
	c.only = nil
	if err := c.walk(visit); err != nil {
		return err
	}
	if c.rep.Used+c.rep.Free+firstPage != c.pages {
		for id := uint64(firstPage); id < c.pages; id++ {
			if !c.used.has(id) && !c.free.has(id) {
				return damaged(id, "it is neither in use nor free, like %d others", c.pages-firstPage-c.rep.Used-c.rep.Free-1)
			}
		}
	}
	c.rep.Whole = true
	return nil
}

// header is the beginning of a page, checked as far as it can be alone.
type header struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint64
	at       int64 // in the file
	length   int64 // bytes of the page and its overflow
}

func readHeader(b []byte) header {
	return header{id: ne.Uint64(b), flags: ne.Uint16(b[8:]), count: int(ne.Uint16(b[10:])), overflow: uint64(ne.Uint32(b[12:]))}
}

// take reads the beginning of page id into c.buf, of its overflow too as far as
// that is short, and marks all of it as used.
func (c *Check) take(id uint64) (h header, err error) {
	if id < firstPage || id >= c.pages {
		return h, damaged(id, "a page from %d to %d was expected", firstPage, c.pages-1)
	}
	b := c.buf[:c.page]
	if err := c.read(b, int64(id)*c.page, id); err != nil {
		return h, err
	}
	h = readHeader(b)
	h.at, h.length = int64(id)*c.page, int64(1+h.overflow)*c.page
	switch {
	case h.id != id:
		return h, damaged(id, "it says that it is page %d", h.id)
	case h.overflow >= c.pages-id:
		return h, damaged(id, "its %d further pages run beyond the end at %d", h.overflow, c.pages)
	case int64(h.overflow)*c.page > mostKeys*(longestKey+longestValue+elementSize):
		return h, damaged(id, "it has %d further pages", h.overflow)
	}
	for i := id; i <= id+h.overflow; i++ {
		if c.free.has(i) {
			return h, damaged(i, "it is in use, in page %d, and in the free list", id)
		}
		if !c.used.add(i) {
			return h, damaged(i, "it is in use twice, once in page %d", id)
		}
	}
	c.rep.Used += 1 + h.overflow
	if h.overflow > 0 && h.length <= int64(len(c.buf)) {
		return h, c.read(c.buf[c.page:h.length], h.at+c.page, id)
	}
	return h, nil
}

func (c *Check) read(b []byte, at int64, id uint64) error {
	n, err := readPage(c.r, b, at, id)
	c.rep.Bytes += int64(n)
	return err
}

// readPage reads what stands at a place of the file, which is in page id.
func readPage(r io.ReaderAt, b []byte, at int64, id uint64) (n int, err error) {
	n, err = r.ReadAt(b, at)
	switch {
	case n == len(b):
		return n, nil
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return n, damaged(id, "the file ends %d bytes into it", n)
	}
	return n, fmt.Errorf("read page %d: %w", id, err)
}
