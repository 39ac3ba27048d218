package pagecheck

// freeList reads and checks the list of free pages: their number, in the page's
// header or, from 65,535 on, in the first 8 bytes after it, then ascending ids.
func (c *Check) freeList() error {
	h, err := c.take(c.meta.FreeList)
	if err != nil {
		return err
	}
	if h.flags != flagFree {
		return damaged(h.id, "flags %#x are not those of a free list", h.flags)
	}
	n, at := uint64(h.count), int64(headerSize)
	if h.count == 0xffff {
		n, at = ne.Uint64(c.buf[headerSize:]), headerSize+8
	}
	if n > uint64(h.length-at)/8 {
		return damaged(h.id, "%d free pages do not fit into %d bytes", n, h.length)
	}
	last := uint64(firstPage - 1)
	for n > 0 {
		b := c.buf[:min(n*8, readAhead)]
		if err := c.read(b, h.at+at, h.id); err != nil {
			return err
		}
		for ; len(b) > 0; b = b[8:] {
			id := ne.Uint64(b)
			switch {
			case id <= last || id >= c.pages:
				return damaged(h.id, "free page %d after %d, of %d pages", id, last, c.pages)
			case c.used.has(id):
				return damaged(h.id, "page %d of the list itself is listed as free", id)
			}
			c.free.add(id)
			last = id
			c.rep.Free++
			n--
			at += 8
		}
	}
	return nil
}
