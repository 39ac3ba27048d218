package pagecheck

import "io"

// Single finds the value of the only key of a leaf page by plain reads of page id,
// in a file of size bytes with pages of page bytes. It returns the offset of the
// value in the file, and its length. It checks this page only, and not the value.
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
		return 0, 0, damaged(id, "its header is that of page %d", h.id)
	case h.flags != flagLeaf || h.count != 1:
		return 0, 0, damaged(id, "flags %#x and %d keys are not those of a leaf with one", h.flags, h.count)
	case h.overflow >= pages-id:
		return 0, 0, damaged(id, "its %d overflow pages go beyond the end at %d", h.overflow, pages)
	case e.flags != 0:
		return 0, 0, damaged(id, "key 0: flags %#x", e.flags)
	}
	if err := e.check(headerSize+elementSize, end); err != nil {
		return 0, 0, damaged(id, "key 0: %v", err)
	}
	if have := b[headerSize+elementSize:]; e.key != int64(len(key)) || string(have) != key {
		return 0, 0, damaged(id, "key 0, %d bytes that start with %q, is not %q", e.key, have, key)
	}
	return at + int64(len(b)), e.value, nil
}

// SingleAt returns the offset within its page of the value that Single finds.
func SingleAt(key string) int64 { return headerSize + elementSize + int64(len(key)) }
