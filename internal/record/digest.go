package record

import (
	"crypto/sha256"
	"hash"
	"sync"
)

// Digest is the running digest of a machine's records: the first 128 bits of
// SHA-256 over the previous digest and the record's canonical bytes.
type Digest [16]byte

// Chain computes the digests of consecutive records. The zero value starts at the
// zero Digest. It is for one goroutine.
type Chain struct {
	hash    hash.Hash // kept: making one costs more than the digest of a short record
	scratch [sha256.Size]byte
	sum     Digest
}

// At returns the digest after the last record.
func (c *Chain) At() Digest { return c.sum }

// Begin makes d the digest before the next record.
func (c *Chain) Begin(d Digest) { c.sum = d }

// Next adds a record and returns the digest after it.
func (c *Chain) Next(canonical []byte) Digest {
	if c.hash == nil {
		c.hash = sha256.New()
	}
	c.hash.Reset()
	copy(c.scratch[:], c.sum[:])
	c.hash.Write(c.scratch[:len(c.sum)])
	c.hash.Write(canonical)
	copy(c.sum[:], c.hash.Sum(c.scratch[:0]))
	return c.sum
}

var chains = sync.Pool{New: func() any { return new(Chain) }}

// Next returns the digest after one more record.
func (d Digest) Next(canonical []byte) Digest {
	c := chains.Get().(*Chain)
	c.Begin(d)
	d = c.Next(canonical)
	chains.Put(c)
	return d
}
