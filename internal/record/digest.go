package record

import (
	"crypto/sha256"
	"hash"
	"sync"
)

// Digest is the running digest of a machine's records: the first 128 bits of
// SHA-256 over the digest before and the record's canonical bytes.
type Digest [16]byte

// Chain computes one digest after another. Its zero value begins at the zero
// Digest; it is for one goroutine.
type Chain struct {
	hash hash.Hash // making it anew costs more than the digest of a short record
	room [sha256.Size]byte
	sum  Digest
}

// At is the digest that the chain has come to.
func (c *Chain) At() Digest { return c.sum }

// Begin makes the chain go on from d.
func (c *Chain) Begin(d Digest) { c.sum = d }

// Next brings the chain forward by one record.
func (c *Chain) Next(canonical []byte) Digest {
	if c.hash == nil {
		c.hash = sha256.New()
	}
	c.hash.Reset()
	copy(c.room[:], c.sum[:])
	c.hash.Write(c.room[:len(c.sum)])
	c.hash.Write(canonical)
	copy(c.sum[:], c.hash.Sum(c.room[:0]))
	return c.sum
}

var chains = sync.Pool{New: func() any { return new(Chain) }}

// Next is the digest after one more record.
func (d Digest) Next(canonical []byte) Digest {
	c := chains.Get().(*Chain)
	c.Begin(d)
	d = c.Next(canonical)
	chains.Put(c)
	return d
}
