package pagecheck

import "io"

// Single finds the value of the only key of a leaf page by plain reads of that
// page, without a walk: the page is number id, in a file of size bytes with pages
// of page bytes. It looks at nothing else, and not at what stands in the value.
func Single(r io.ReaderAt, size, page int64, id uint64, key string) (at, length int64, err error) {
	pages := uint64(size / page)
	if id < firstPage || id >= pages {
		return 0, 0, damaged(id, "a page from %d to %d was expected", firstPage, pages-1)
	}
	b := make([]byte, SingleAt(key))
	at = int64(id) * page
	if _, err := readPage(r, b, at, id); err != nil {
		return 0, 0, err
	}
	h, e := readHeader(b), readElement(b, 0)
	end := int64(1+h.overflow) * page
	switch {
	case h.id != id:
		return 0, 0, damaged(id, "it says that it is page %d", h.id)
	case h.flags != flagLeaf || h.count != 1:
		return 0, 0, damaged(id, "flags %#x and %d keys are not those of a leaf with one", h.flags, h.count)
	case h.overflow >= pages-id:
		return 0, 0, damaged(id, "its %d further pages run beyond the end at %d", h.overflow, pages)
	case e.flags != 0:
		return 0, 0, damaged(id, "key 0: flags %#x", e.flags)
	}
	if err := e.check(headerSize+elementSize, end); err != nil {
		return 0, 0, damaged(id, "key 0: %v", err)
	}
	if have := b[headerSize+elementSize:]; e.key != int64(len(key)) || string(have) != key {
		return 0, 0, damaged(id, "key 0, %d bytes that begin with %q, is not %q", e.key, have, key)
	}
	return at + int64(len(b)), e.value, nil
}

// SingleAt is how far behind the beginning of its page the value that Single
// finds stands.
func SingleAt(key string) int64 { return headerSize + elementSize + int64(len(key)) }
