package pagecheck

import (
	"bytes"
	"io"
)

// Usage is what a bucket, or a part of it, holds.
type Usage struct {
	Entries    int64
	KeyBytes   int64
	ValueBytes int64
	Pages      int64 // with their overflow pages
}

// File is a file whose pages do not change during a call, because the caller has an
// open read transaction.
type File struct {
	R     io.ReaderAt
	Page  int64  // bytes of a page
	Pages uint64 // the file's pages end here
}

// FreePages returns how many pages the list of free pages at page id has, and
// how many pages the list itself takes.
func (f File) FreePages(id uint64) (free, pages int64, err error) {
	h, err := f.header(id)
	if err != nil {
		return 0, 0, err
	}
	if h.flags != flagFree {
		return 0, 0, damaged(id, "flags %#x are not those of a free list", h.flags)
	}
	n := uint64(h.count)
	if h.count == 0xffff {
		var b [8]byte
		if _, err := readPage(f.R, b[:], h.at+headerSize, id); err != nil {
			return 0, 0, err
		}
		n = ne.Uint64(b[:])
	}
	if n > f.Pages {
		return 0, 0, damaged(id, "%d free pages of %d", n, f.Pages)
	}
	return int64(n), int64(1 + h.overflow), nil
}

// Measure adds to u what the tree of a bucket with its root at page root holds
// from the key from on; nil is the first key. It ends after about most pages and
// returns the key to go on from, nil at the end of the bucket. Several calls that
// go on like this count each entry and each page once if the tree stays as it
// is. The lengths of values are read, the values are not.
func (f File) Measure(root uint64, from []byte, most int, u *Usage) (next []byte, err error) {
	m := measurement{File: f, from: from, left: most, u: u}
	next, err = m.visit(root, nil, nil, 0)
	return bytes.Clone(next), err
}

// header reads the header of a page.
func (f File) header(id uint64) (h header, err error) {
	if id < firstPage || id >= f.Pages {
		return h, damaged(id, "a page from %d to %d was expected", firstPage, f.Pages-1)
	}
	var b [headerSize]byte
	if _, err := readPage(f.R, b[:], int64(id)*f.Page, id); err != nil {
		return h, err
	}
	h = readHeader(b[:])
	h.at, h.length = int64(id)*f.Page, int64(1+h.overflow)*f.Page
	switch {
	case h.id != id:
		return h, damaged(id, "its header is that of page %d", h.id)
	case h.overflow >= f.Pages-id:
		return h, damaged(id, "its %d overflow pages go beyond the end at %d", h.overflow, f.Pages)
	}
	return h, nil
}

// measurement is one call of Measure.
type measurement struct {
	File
	from []byte
	left int // pages
	u    *Usage
	leaf []byte // scratch buffer
}

// visit counts the page id and what is below it. Its keys are not less than lo and
// less than hi; nil is no bound. next is the key of the first page that was left
// out because enough pages were read.
func (m *measurement) visit(id uint64, lo, hi []byte, depth int) (next []byte, err error) {
	h, err := m.header(id)
	if err != nil {
		return nil, err
	}
	if depth == deepest {
		return nil, damaged(id, "it is below %d others", deepest)
	}
	m.left--
	starts := bytes.Compare(lo, m.from) >= 0 // otherwise an earlier call has counted the page
	if starts {
		m.u.Pages += int64(1 + h.overflow)
	}
	array := int64(headerSize + h.count*elementSize)
	if array > h.length {
		return nil, damaged(id, "%d elements in a page of %d bytes", h.count, h.length)
	}
	switch h.flags {
	case flagLeaf:
		return nil, m.countLeaf(h, array, starts)
	case flagBranch:
		return m.countBranch(h, array, lo, hi, depth)
	}
	return nil, damaged(id, "flags %#x are not those of a page in a tree", h.flags)
}

// countLeaf counts the entries of a leaf, all of them or those from m.from on.
func (m *measurement) countLeaf(h header, array int64, all bool) error {
	b := m.buffer(array)
	if _, err := readPage(m.R, b, h.at, h.id); err != nil {
		return err
	}
	at := array
	for i := range h.count {
		e := readElement(b, i)
		if err := e.check(at, h.length); err != nil {
			return damaged(h.id, "key %d: %v", i, err)
		}
		at += e.key + e.value
		if !all {
			key := make([]byte, e.key)
			if _, err := readPage(m.R, key, h.at+e.pos, h.id); err != nil {
				return err
			}
			if bytes.Compare(key, m.from) < 0 {
				continue
			}
			all = true // keys ascend
		}
		m.u.Entries++
		m.u.KeyBytes += e.key
		m.u.ValueBytes += e.value
	}
	return nil
}

// buffer returns n bytes of the scratch buffer.
func (m *measurement) buffer(n int64) []byte {
	if int64(cap(m.leaf)) < n {
		m.leaf = make([]byte, n)
	}
	return m.leaf[:n]
}

// countBranch counts the children of a branch page that have keys from m.from
// on.
func (m *measurement) countBranch(h header, array int64, lo, hi []byte, depth int) (next []byte, err error) {
	if h.count == 0 {
		return nil, damaged(h.id, "a branch page without children")
	}
	elements := make([]byte, array)
	if _, err := readPage(m.R, elements, h.at, h.id); err != nil {
		return nil, err
	}
	last := headerSize + (h.count-1)*elementSize // keys follow one another: its key ends them
	end := int64(last) + int64(ne.Uint32(elements[last:])) + int64(ne.Uint32(elements[last+4:]))
	if end < array || end > h.length {
		return nil, damaged(h.id, "keys that end at %d of %d bytes", end, h.length)
	}
	keys := make([]byte, end-array)
	if _, err := readPage(m.R, keys, h.at+array, h.id); err != nil {
		return nil, err
	}
	key := func(i int) ([]byte, error) {
		at := headerSize + i*elementSize
		from := int64(at) + int64(ne.Uint32(elements[at:])) - array
		to := from + int64(ne.Uint32(elements[at+4:]))
		if from < 0 || to > int64(len(keys)) {
			return nil, damaged(h.id, "the key of child %d is not in it", i)
		}
		return keys[from:to], nil
	}
	for i := range h.count {
		childLo, childHi := lo, hi
		if i > 0 {
			if childLo, err = key(i); err != nil {
				return nil, err
			}
		}
		if i+1 < h.count {
			if childHi, err = key(i + 1); err != nil {
				return nil, err
			}
			if bytes.Compare(childHi, childLo) <= 0 {
				return nil, damaged(h.id, "child %d is not after the one before it", i+1)
			}
		}
		switch {
		case childHi != nil && bytes.Compare(childHi, m.from) <= 0:
			continue
		case m.left <= 0 && i > 0 && bytes.Compare(childLo, m.from) > 0: // not the first child: its keys start where those of the page do, and the page is counted
			return childLo, nil
		}
		child := ne.Uint64(elements[headerSize+i*elementSize+8:])
		if next, err = m.visit(child, childLo, childHi, depth+1); next != nil || err != nil {
			return next, err
		}
	}
	return nil, nil
}
