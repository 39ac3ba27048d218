package pagecheck

import "math/bits"

// bitmap is a set of page numbers. It allocates memory only for the ranges that
// have members, so that a file that claims to be huge costs little.
type bitmap struct{ parts [][]uint64 }

const partBits = 1 << 18

func (b *bitmap) grow(pages uint64) {
	b.parts = make([][]uint64, (pages+partBits-1)/partBits)
}

// clear removes all members.
func (b *bitmap) clear() { clear(b.parts) }

// add adds n and reports whether it was not a member before.
func (b *bitmap) add(n uint64) bool {
	part := &b.parts[n/partBits]
	if *part == nil {
		*part = make([]uint64, partBits/bits.UintSize)
	}
	word, bit := &(*part)[n%partBits/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

func (b *bitmap) has(n uint64) bool {
	part := b.parts[n/partBits]
	return part != nil && part[n%partBits/64]&(1<<(n%64)) != 0
}
