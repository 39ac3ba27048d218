// Package pagecheck checks the structure of the pages of a bbolt file with plain
// reads, before bbolt maps them: bbolt trusts its pages, and on damaged ones it may
// panic, loop for ever, fault or allocate absurd amounts of memory.
//
// It reads a page at most once per walk, compares every length with the bytes that
// are there before it uses it, does not recurse, and keeps in memory two bits per
// page and the branch pages above the current one. It checks structure only: a
// changed byte in a value can only be detected by a checksum of the value.
package pagecheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrDamaged is matched by every error about the pages. Errors that do not match it
// are those of reading the file.
var ErrDamaged = errors.New("the page structure is damaged")

// Damage is an error about one page. It matches ErrDamaged.
type Damage struct {
	Page uint64
	What string
}

func (d *Damage) Error() string { return fmt.Sprintf("page %d: %s", d.Page, d.What) }

// Is reports whether target is ErrDamaged.
func (d *Damage) Is(target error) bool { return target == ErrDamaged }

func damaged(page uint64, format string, args ...any) error {
	return &Damage{page, fmt.Sprintf(format, args...)}
}

// A page has a header (id 8, flags 2, count 2, overflow 4 bytes), then elements,
// then keys and values. An element of a branch has the distance from the element to
// its key 4, key length 4, child 8; an element of a leaf has flags 4, distance 4,
// key length 4, value length 4. Numbers are in the byte order of the machine. There
// are no gaps between the elements, keys and values.
const (
	headerSize  = 16
	elementSize = 16
	flagBranch  = 0x01
	flagLeaf    = 0x02
	flagFree    = 0x10
	flagBucket  = 0x01 // of a leaf's element
	bucketSize  = 16   // root page 8, sequence 8; an inline page follows if root is 0
	firstPage   = 2    // first page after the meta pages
)

// Limits of bbolt.
const (
	longestKey   = 32768
	longestValue = 1<<31 - 2
	largestFile  = 1 << 48
)

// Limits of this package.
const (
	readAhead = 64 << 10  // bytes of a page and its overflow that are read at once
	deepest   = 128       // levels of pages and buckets
	heldBytes = 64 << 20  // memory for the pages above the current one
	keptBytes = 256 << 10 // memory that an unused frame keeps
	maxKeys   = 4         // number of keys that bbolt puts in one page however long they are
)

var ne = binary.NativeEndian

// Visit is called with the keys and values of the top-level buckets that a walk
// reads, bucket by bucket in the order of the keys. key and value are borrowed.
// value is nil if it is so long that it was not read.
type Visit func(bucket string, key, value []byte)

// Check checks a file, whose pages are those reached from one meta page. The file
// must not be written meanwhile. A Check is for one goroutine.
type Check struct {
	r     io.ReaderAt
	meta  *Meta
	page  int64  // bytes of a page
	pages uint64 // number of pages of the file
	free  bitmap
	used  bitmap
	rep   Report

	visit Visit
	only  map[string]bool // names of the buckets to be checked; nil = all
	stack []frame
	held  int // bytes of all frames
	buf   []byte
}

// Report holds numbers about a check.
type Report struct {
	Whole bool   // every page in use was reached
	Pages uint64 // pages of the file, the meta pages included
	Free  uint64 // those in the free list
	Used  uint64 // those reached in the last walk, overflow pages included
	Bytes int64  // read from the file
}

// New starts the check of a file of size bytes. It checks the newest meta page and
// the free list: its ids must be in range and ascending, and none of its own pages.
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

// Report returns the numbers so far.
func (c *Check) Report() Report { return c.rep }

// Top checks the tree of top-level buckets, and the named buckets; visit may be nil.
func (c *Check) Top(visit Visit, buckets ...string) error {
	c.only = map[string]bool{}
	for _, name := range buckets {
		c.only[name] = true
	}
	return c.walk(visit)
}

// Whole checks all pages; each must be in use or free. visit may be nil.
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

// header is the header of a page.
type header struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint64
	at       int64 // offset of the page in the file
	length   int64 // bytes of the page and its overflow pages
}

func readHeader(b []byte) header {
	return header{id: ne.Uint64(b), flags: ne.Uint16(b[8:]), count: int(ne.Uint16(b[10:])), overflow: uint64(ne.Uint32(b[12:]))}
}

// take reads page id into c.buf, with its overflow pages if they fit, checks the
// header, and marks the pages as used.
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
		return h, damaged(id, "its header is that of page %d", h.id)
	case h.overflow >= c.pages-id:
		return h, damaged(id, "its %d overflow pages go beyond the end at %d", h.overflow, c.pages)
	case int64(h.overflow)*c.page > maxKeys*(longestKey+longestValue+elementSize):
		return h, damaged(id, "it has %d overflow pages", h.overflow)
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

// readPage reads bytes at offset at of the file, which are in page id. If the file
// ends before that, the error matches ErrDamaged.
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
