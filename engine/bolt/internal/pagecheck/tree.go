package pagecheck

import (
	"bytes"
	"fmt"
)

// frame is a branch page, or a leaf page with buckets, and the progress of the walk
// below it.
type frame struct {
	kids []kid
	next int    // index of the kid that is checked next
	page []byte // of a branch: the keys of kids are part of it
}

// kid is a page to be checked: the child of a branch's element, or the root of a
// bucket.
type kid struct {
	id     uint64
	lo, hi []byte // its keys are at least lo and less than hi; nil = no bound
	bucket string // name of the top-level bucket
	level  int    // 0 = the tree of top-level buckets, 1 = in one of those
}

const kidBytes = 80 // memory of a kid, approximately

// walk checks the pages from the root on.
func (c *Check) walk(visit Visit) error {
	c.visit = visit
	c.used.clear()
	c.rep.Used = 0
	c.held = 0
	c.stack = c.stack[:0]
	_, err := c.take(c.meta.FreeList) // marks its pages as used; New has checked it
	if err == nil {
		err = c.enter(kid{id: c.meta.Root})
	}
	for err == nil && len(c.stack) > 0 {
		f := &c.stack[len(c.stack)-1]
		if f.next == len(f.kids) {
			c.pop()
			continue
		}
		k := f.kids[f.next]
		f.next++
		err = c.enter(k)
	}
	return err
}

// enter checks one page and pushes the pages below it.
func (c *Check) enter(k kid) error {
	h, err := c.take(k.id)
	if err != nil {
		return where(k, err)
	}
	switch h.flags {
	case flagBranch:
		err = c.branch(k, h)
	case flagLeaf:
		err = c.leafPage(k, h)
	default:
		err = damaged(h.id, "flags %#x are not those of a page in a tree", h.flags)
	}
	return where(k, err)
}

func where(k kid, err error) error {
	if err == nil || k.level == 0 {
		return err
	}
	return fmt.Errorf("bucket %.40q: %w", k.bucket, err)
}

// push adds a frame without kids and returns it. It reuses the memory of earlier
// frames.
func (c *Check) push(id uint64) (*frame, error) {
	if len(c.stack) == deepest {
		return nil, damaged(id, "it is below %d others", deepest)
	}
	if n := len(c.stack); n < cap(c.stack) {
		c.stack = c.stack[:n+1]
	} else {
		c.stack = append(c.stack, frame{})
	}
	f := &c.stack[len(c.stack)-1]
	f.kids, f.next, f.page = f.kids[:0], 0, f.page[:0]
	return f, nil
}

// pop removes the last frame. Its memory is kept unless it is large.
func (c *Check) pop() {
	f := &c.stack[len(c.stack)-1]
	c.held -= f.bytes()
	if f.bytes() > keptBytes {
		f.kids, f.page = nil, nil
	}
	c.stack = c.stack[:len(c.stack)-1]
}

// hold adds a frame's memory to that of all frames, which is bounded.
func (c *Check) hold(id uint64, f *frame) error {
	if c.held += f.bytes(); c.held > heldBytes {
		return damaged(id, "it and the pages above it need %d bytes", c.held)
	}
	return nil
}

func (f *frame) bytes() int { return len(f.page) + len(f.kids)*kidBytes }

// branch checks the page in c.buf and pushes its children.
func (c *Check) branch(k kid, h header) error {
	array := int64(headerSize + h.count*elementSize)
	if h.count == 0 || array > h.length {
		return damaged(h.id, "%d children in a branch page of %d bytes", h.count, h.length)
	}
	// The keys follow one another without gaps, so the end of the last one bounds
	// the bytes to be read.
	elements, err := c.part(h, 0, array)
	if err != nil {
		return err
	}
	at := array
	for i := range h.count {
		e := elements[headerSize+i*elementSize:]
		pos, length := int64(headerSize+i*elementSize)+int64(ne.Uint32(e)), int64(ne.Uint32(e[4:]))
		if pos != at || length == 0 || length > longestKey || at+length > h.length {
			return damaged(h.id, "the key of child %d, %d bytes at %d, should be at %d", i, length, pos, at)
		}
		at += length
	}
	if at > c.page+maxKeys*(longestKey+elementSize) {
		return damaged(h.id, "%d bytes of keys in a branch page", at)
	}
	f, err := c.push(h.id)
	if err != nil {
		return err
	}
	page, err := c.part(h, 0, at)
	if err != nil {
		return err
	}
	f.page = append(f.page, page...)
	pos := array
	for i := range h.count {
		e := f.page[headerSize+i*elementSize:]
		length := int64(ne.Uint32(e[4:]))
		key := f.page[pos : pos+length]
		pos += length
		if err := inOrder(h.id, i, key, k.lo, k.hi); err != nil {
			return err
		}
		if i > 0 {
			before := &f.kids[i-1]
			if bytes.Compare(before.lo, key) >= 0 {
				return damaged(h.id, "the key of child %d is not greater than that of the child before it", i)
			}
			before.hi = key
		}
		f.kids = append(f.kids, kid{ne.Uint64(e[8:]), key, k.hi, k.bucket, k.level})
	}
	return c.hold(h.id, f)
}

// inOrder checks key i of a page against the bounds of the page.
func inOrder(id uint64, i int, key, lo, hi []byte) error {
	if i == 0 && lo != nil && bytes.Compare(key, lo) < 0 || hi != nil && bytes.Compare(key, hi) >= 0 {
		return damaged(id, "key %d belongs in another page", i)
	}
	return nil
}

// part returns the bytes from from up to to of the page in c.buf. It reads them
// again if they are beyond the part in c.buf.
func (c *Check) part(h header, from, to int64) ([]byte, error) {
	if have := c.have(h); to <= have {
		return c.buf[from:to], nil
	}
	b := make([]byte, to-from)
	return b, c.read(b, h.at+from, h.id)
}

// have returns the number of bytes of the page that are in c.buf.
func (c *Check) have(h header) int64 {
	if h.length <= int64(len(c.buf)) {
		return h.length
	}
	return c.page
}

// leafPage checks the page in c.buf and pushes the buckets in it.
func (c *Check) leafPage(k kid, h header) error {
	array := int64(headerSize + h.count*elementSize)
	switch {
	case array > h.length:
		return damaged(h.id, "%d keys in a page of %d bytes", h.count, h.length)
	case h.count == 0 && (k.level > 0 || k.lo != nil): // bbolt removes such a page, or makes it inline
		return damaged(h.id, "there are no keys in it")
	}
	elements, err := c.part(h, 0, array)
	if err != nil {
		return err
	}
	var roots []kid
	var last []byte
	at := array
	for i := range h.count {
		e := readElement(elements, i)
		if err := e.check(at, h.length); err != nil {
			return damaged(h.id, "key %d: %v", i, err)
		}
		key, err := c.part(h, at, at+e.key)
		if err != nil {
			return err
		}
		if err := inOrder(h.id, i, key, k.lo, k.hi); err != nil {
			return err
		}
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return damaged(h.id, "key %d is not greater than the key before it", i)
		}
		last = key
		from, to := at+e.key, at+e.key+e.value
		at = to
		if e.flags == flagBucket {
			root, err := c.bucket(k, h, key, from, to)
			if err != nil {
				return err
			}
			if root.id != 0 {
				roots = append(roots, root)
			}
			continue
		}
		if k.level == 1 && c.visit != nil {
			var value []byte
			if to <= c.have(h) {
				value = c.buf[from:to:to]
			}
			c.visit(k.bucket, key, value)
		}
	}
	if len(roots) == 0 {
		return nil
	}
	f, err := c.push(h.id)
	if err != nil {
		return err
	}
	f.kids = append(f.kids, roots...)
	return c.hold(h.id, f)
}

// bucket checks the bucket whose value is the bytes from from up to to of the page
// in c.buf. It returns the bucket's root, with id 0 if no page of it is to be
// checked.
func (c *Check) bucket(k kid, h header, key []byte, from, to int64) (root kid, err error) {
	if to-from < bucketSize || to-from > bucketSize+c.page {
		return root, damaged(h.id, "bucket %.40q has %d bytes", key, to-from)
	}
	value, err := c.part(h, from, to)
	if err != nil {
		return root, err
	}
	root = kid{id: ne.Uint64(value), bucket: k.bucket, level: k.level + 1}
	if k.level == 0 {
		root.bucket = string(key)
	}
	switch {
	case root.id == 0:
		return root, c.inline(root, h, value[bucketSize:])
	case len(value) != bucketSize:
		return root, damaged(h.id, "bucket %.40q has %d bytes and a root at page %d", key, len(value), root.id)
	case c.only != nil && !c.only[root.bucket]:
		root.id = 0
	}
	return root, nil
}

// inline checks a bucket that is stored in its element, as a leaf page without
// buckets.
func (c *Check) inline(k kid, h header, page []byte) error {
	wrong := func(format string, args ...any) error {
		return damaged(h.id, "bucket %.40q in it: %s", k.bucket, fmt.Sprintf(format, args...))
	}
	if len(page) < headerSize {
		return wrong("a page of %d bytes", len(page))
	}
	own := readHeader(page)
	at := int64(headerSize + own.count*elementSize)
	if own.id != 0 || own.flags != flagLeaf || own.overflow != 0 || at > int64(len(page)) {
		return wrong("page %d, flags %#x, %d keys, %d overflow pages", own.id, own.flags, own.count, own.overflow)
	}
	var last []byte
	for i := range own.count {
		e := readElement(page, i)
		if err := e.check(at, int64(len(page))); err != nil {
			return wrong("key %d: %v", i, err)
		}
		key, value := page[at:at+e.key], page[at+e.key:at+e.key+e.value]
		at += e.key + e.value
		switch {
		case e.flags != 0:
			return wrong("key %d is a bucket", i)
		case i > 0 && bytes.Compare(last, key) >= 0:
			return wrong("key %d is not greater than the key before it", i)
		}
		last = key
		if k.level == 1 && c.visit != nil {
			c.visit(k.bucket, key, value)
		}
	}
	if at != int64(len(page)) {
		return wrong("%d bytes after its last key", int64(len(page))-at)
	}
	return nil
}

// element is a leaf's element: the place and length of one key and its value.
type element struct {
	flags      uint32
	pos        int64 // of the key in the page
	key, value int64 // lengths
}

// readElement reads element i of a leaf; page must hold it.
func readElement(page []byte, i int) element {
	at := headerSize + i*elementSize
	e := page[at : at+elementSize]
	return element{ne.Uint32(e), int64(at) + int64(ne.Uint32(e[4:])), int64(ne.Uint32(e[8:])), int64(ne.Uint32(e[12:]))}
}

// check checks the element, whose key must be at offset at, in a page of length bytes.
func (e element) check(at, length int64) error {
	switch {
	case e.flags > flagBucket:
		return fmt.Errorf("flags %#x", e.flags)
	case e.key == 0 || e.key > longestKey || e.value > longestValue:
		return fmt.Errorf("lengths %d and %d", e.key, e.value)
	case e.pos != at || at+e.key+e.value > length:
		return fmt.Errorf("%d and %d bytes at %d should be at %d of %d bytes", e.key, e.value, e.pos, at, length)
	}
	return nil
}
