package pagecheck

import (
	"fmt"
	"hash/fnv"
	"io"
)

// Meta is one of the two meta pages, as it was read.
type Meta struct {
	Magic    bool // the magic number is that of bbolt
	Sound    bool // magic number, checksum and page size are correct, whatever the version
	Version  uint32
	PageSize uint32
	Root     uint64 // page of the tree of top-level buckets
	FreeList uint64 // page of the free list, or NoFreeList
	Pages    uint64 // number of pages of the file
	Tx       uint64 // id of the transaction that wrote it

	At  int64         // offset in the file
	Raw [MetaEnd]byte // the page's header and the meta
}

// The layout of a meta page, and the values of its fields.
const (
	metaStart    = headerSize
	metaChecksum = metaStart + 56
	// MetaEnd is the length of what is stored in a meta page.
	MetaEnd = metaChecksum + 8
	// Version is the only format of bbolt that this package knows.
	Version = 2
	// NoFreeList is the page of a free list that is not stored in the file.
	NoFreeList = ^uint64(0)

	magic        = 0xED0CDAED
	smallestPage = 1 << 10
	largestPage  = 1 << 24
)

func readMeta(r io.ReaderAt, at int64) Meta {
	m := Meta{At: at}
	if _, err := r.ReadAt(m.Raw[:], at); err != nil {
		return Meta{At: at}
	}
	b := m.Raw[metaStart:]
	m.Magic = ne.Uint32(b) == magic
	m.Version = ne.Uint32(b[4:])
	m.PageSize = ne.Uint32(b[8:])
	m.Root = ne.Uint64(b[16:])
	m.FreeList = ne.Uint64(b[32:])
	m.Pages = ne.Uint64(b[40:])
	m.Tx = ne.Uint64(b[48:])
	sum := fnv.New64a()
	sum.Write(m.Raw[metaStart:metaChecksum])
	m.Sound = m.Magic && sum.Sum64() == ne.Uint64(m.Raw[metaChecksum:]) &&
		m.PageSize >= smallestPage && m.PageSize <= largestPage && m.PageSize&(m.PageSize-1) == 0
	return m
}

// Metas holds the two meta pages of a file.
type Metas [2]Meta

// ReadMetas reads both meta pages. If the first one is damaged, the page size is not
// known: ReadMetas searches the second one at each possible page size, as bbolt
// does. A page that cannot be read counts as damaged.
func ReadMetas(r io.ReaderAt) (m Metas) {
	m[0] = readMeta(r, 0)
	if m[0].Sound {
		m[1] = readMeta(r, int64(m[0].PageSize))
		return m
	}
	for size := int64(smallestPage); size <= largestPage; size *= 2 {
		if m[1] = readMeta(r, size); m[1].Sound {
			break
		}
	}
	if !m[1].Sound {
		m[1] = Meta{}
	}
	return m
}

// Newest returns the meta page that bbolt uses, nil if both are damaged.
func (m *Metas) Newest() *Meta {
	var best *Meta
	for i := range m {
		if m[i].Sound && (best == nil || m[i].Tx > best.Tx) {
			best = &m[i]
		}
	}
	return best
}

// pick returns the newest meta page. It returns an error if bbolt might use another
// one, or does not support it.
func (m *Metas) pick() (*Meta, error) {
	best := m.Newest()
	switch {
	case best == nil:
		return nil, fmt.Errorf("%w: both meta pages are damaged", ErrDamaged)
	case best.Version != Version:
		return nil, fmt.Errorf("%w: bbolt format %d", ErrDamaged, best.Version)
	case m[0].Sound && m[1].Sound && m[0].PageSize != m[1].PageSize:
		return nil, fmt.Errorf("%w: the meta pages have page sizes of %d and %d bytes", ErrDamaged, m[0].PageSize, m[1].PageSize)
	case best.At != 0 && best.At != int64(best.PageSize):
		return nil, fmt.Errorf("%w: the meta page at offset %d has a page size of %d bytes", ErrDamaged, best.At, best.PageSize)
	case best.FreeList == NoFreeList:
		return nil, fmt.Errorf("%w: the free list is not stored in the file", ErrDamaged)
	}
	return best, nil
}

// Damaged reports whether at least one of them is damaged.
func (m *Metas) Damaged() bool { return !m[0].Sound || !m[1].Sound }
