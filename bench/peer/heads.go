package peer

import (
	"hash/maphash"
	"sync"
)

// heads keeps the seq of each machine in memory, so that the store is not read
// before each append. A careful user of a store that does not check the seq does
// the same. It is divided into shards, so that machines seldom wait for each other.
type heads struct {
	find  func(machine string) (uint64, error) // of a machine not in memory
	parts [256]struct {
		sync.Mutex
		seqs map[string]uint64
	}
}

var headSeed = maphash.MakeSeed()

// next calls do under the lock of the machine if it is at a.Seq-1; if do
// succeeds, the machine is at a.Seq from then on.
func (h *heads) next(a *Append, do func() error) error {
	p := &h.parts[maphash.String(headSeed, a.Machine)%uint64(len(h.parts))]
	p.Lock()
	defer p.Unlock()
	if p.seqs == nil {
		p.seqs = map[string]uint64{}
	}
	have, ok := p.seqs[a.Machine]
	if !ok && h.find != nil {
		var err error
		if have, err = h.find(a.Machine); err != nil {
			return err
		}
	}
	if have != a.Seq-1 {
		return conflict(a, have)
	}
	if err := do(); err != nil {
		return err
	}
	p.seqs[a.Machine] = a.Seq
	return nil
}

// set sets the seq of a machine.
func (h *heads) set(machine string, seq uint64) {
	p := &h.parts[maphash.String(headSeed, machine)%uint64(len(h.parts))]
	p.Lock()
	defer p.Unlock()
	if p.seqs == nil {
		p.seqs = map[string]uint64{}
	}
	p.seqs[machine] = seq
}
