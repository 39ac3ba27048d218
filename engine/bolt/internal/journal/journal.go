package journal

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Journal is an open ring. All methods may be called from any goroutine; appends
// run one after the other.
//
// Invariants:
//
//  1. At most one record is not synced, and it has the largest lsn.
//  2. Lsns have no holes: last+1 is next, and only Append and Bypass take it.
//  3. A block is written only if its segment holds no record after checkpointed, or
//     is the one being filled, and the block is after its last record.
//  4. No byte outside the record area is written, and no part of a page.
//  5. After the first error of a write or sync, and after Stop, nothing is
//     written and nothing is acknowledged.
//  6. Every record that Read returns is durable.
//
// Rejected for 3: records across segments. A segment could then be released only
// together with its neighbour, and a payload of several segments would need most
// of the ring. Such a group bypasses the ring instead (Bypass), which costs two
// syncs, little compared with the time for writing so large a group.
type Journal struct {
	file File
	ring ring
	stop atomic.Pointer[error] // why nothing is written any more

	writing sync.Mutex // held during an append; locked before mu
	segment int64      // the one being filled; guarded by writing
	fill    int64      // bytes used in it; guarded by writing

	mu           sync.Mutex // guards the fields below
	checkpointed uint64
	last         uint64
	sealed       uint64   // last lsn of the segments that are full
	ends         []uint64 // last lsn in each segment
	slots        []slot   // place of record lsn: slots[lsn % len(slots)]
}

// slot is the place of a record. Since each record occupies at least one block,
// records that are not checkpointed never share a slot.
type slot struct{ block, length uint32 }

// Open opens the ring in r for writing. All its records must be checkpointed:
// checkpointed is the last lsn assigned, and was committed together with salt,
// which is new. If the ring holds a record with that salt, Open returns ErrSaltUsed:
// either the ring was not replayed, or the salt is old (or has the checksum of an
// old one, with a probability of 1 in 2^32). Other errors are those of ReadHead,
// ErrForeign and ErrMisaligned. The caller closes the file, after Close.
//
// The reason why all records must be checkpointed: a record that a dead process
// wrote may be in the page cache only, and a later sync by this process need not
// make it durable.
func Open(f File, r Range, id ID, salt Salt, checkpointed uint64) (*Journal, error) {
	rg, err := readRing(f, r, id, salt)
	if err != nil {
		return nil, err
	}
	if !rg.aligned(r) {
		return nil, fmt.Errorf("%w: it starts at %d of the file, pages have %d bytes", ErrMisaligned, rg.base, r.page())
	}
	used := false
	if err := rg.walk(f, func(Place, []byte) bool { used = true; return false }); err != nil {
		return nil, err
	}
	if used {
		return nil, ErrSaltUsed
	}
	return &Journal{
		file: f, ring: rg, checkpointed: checkpointed, last: checkpointed, sealed: checkpointed,
		ends:  make([]uint64, rg.Segments),
		slots: make([]slot, rg.Segments*rg.Segment/Align),
	}, nil
}

// Append makes the group durable with one write and one sync, as the record with
// the next lsn. After ErrTooLarge or ErrFull nothing was written, and the lsn is
// still the next one. Any other error matches ErrStopped or ErrClosed.
func (j *Journal) Append(g *Group) (Place, error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.Err(); err != nil {
		return Place{}, err
	}
	need := Span(g.Len())
	if need > j.ring.Segment {
		return Place{}, ErrTooLarge
	}
	lsn, err := j.reserve(need)
	if err != nil {
		return Place{}, err
	}
	at := j.segment*j.ring.Segment + j.fill
	p := Place{LSN: lsn, Offset: j.ring.base + at, Length: g.Len()}
	b := g.padded()
	j.ring.seal(b[:headerSize+p.Length], lsn, at)

	n, err := j.file.WriteAt(b, p.Offset)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return Place{}, j.Stop(fmt.Errorf("write of record %d: %w", lsn, err))
	}
	if err := j.file.Sync(); err != nil {
		return Place{}, j.Stop(fmt.Errorf("sync of record %d: %w", lsn, err))
	}
	// A failed checkpoint may have stopped the journal during the sync: then this
	// group is in doubt too.
	if err := j.Err(); err != nil {
		return Place{}, err
	}
	j.fill += need
	j.mu.Lock()
	j.last = lsn
	j.ends[j.segment] = lsn
	j.slots[lsn%uint64(len(j.slots))] = slot{block: uint32(at / Align), length: uint32(p.Length)}
	j.mu.Unlock()
	return p, nil
}

// reserve moves to the next segment if the one being filled has less than need
// bytes left, and returns the lsn of the record to be written. j.writing is held.
func (j *Journal) reserve(need int64) (lsn uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fill+need > j.ring.Segment {
		next := (j.segment + 1) % j.ring.Segments
		if j.ends[next] > j.checkpointed {
			return 0, ErrFull
		}
		j.segment, j.fill, j.sealed = next, 0, j.last
	}
	return j.last + 1, nil
}

// Next returns the lsn of the next group, which is the checkpointed lsn of a
// transaction that stores the group elsewhere, before Bypass is called. It stays
// the next one only as long as the caller is the only goroutine that appends.
func (j *Journal) Next() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last + 1
}

// Checkpointed records that all records up to lsn are stored elsewhere, in a
// transaction that is durable and has stored lsn too. It releases the segments that
// hold no later record. An lsn lower than that of an earlier call changes nothing;
// an lsn that was not acknowledged is an error.
func (j *Journal) Checkpointed(lsn uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if lsn > j.last {
		return fmt.Errorf("journal: checkpointed to %d, but %d is the last: %w", lsn, j.last, ErrNoRecord)
	}
	j.checkpointed = max(j.checkpointed, lsn)
	return nil
}

// Bypass records that one durable transaction has stored all records that were not
// checkpointed, in order, then a group that is not in the ring, and lsn = Next() as
// the checkpointed lsn. It releases all segments.
func (j *Journal) Bypass(lsn uint64) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if lsn != j.last+1 {
		return fmt.Errorf("journal: bypass with %d, but %d is next", lsn, j.last+1)
	}
	j.checkpointed, j.last, j.sealed = lsn, lsn, lsn
	return nil
}

// Stop stops the journal because of cause, for instance a failed checkpoint: every
// later Append, and the running one, returns an error that matches ErrStopped and
// the first cause; Stop returns it too. Stop does not wait. Read still works.
func (j *Journal) Stop(cause error) error {
	err := fmt.Errorf("%w: %w", ErrStopped, cause)
	j.stop.CompareAndSwap(nil, &err)
	return *j.stop.Load()
}

// Err returns the error of later appends, nil while the journal accepts them.
func (j *Journal) Err() error {
	if err := j.stop.Load(); err != nil {
		return *err
	}
	return nil
}

// Close waits for the running append and makes later ones return ErrClosed. It may
// be called twice. It does not checkpoint.
func (j *Journal) Close() {
	j.writing.Lock()
	defer j.writing.Unlock()
	err := ErrClosed
	j.stop.CompareAndSwap(nil, &err)
}

// State describes how full a ring is.
type State struct {
	Checkpointed uint64 // all records up to this lsn are stored elsewhere
	Sealed       uint64 // last lsn of the full segments: a checkpoint up to it releases all of them
	Last         uint64 // last lsn that is durable
	Segments     int
	Free         int // number of segments that can be written, without the one being filled
}

// State returns the state at one moment.
func (j *Journal) State() State {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := State{Checkpointed: j.checkpointed, Sealed: j.sealed, Last: j.last, Segments: len(j.ends)}
	for i, end := range j.ends {
		if end <= j.checkpointed && int64(i) != j.segment {
			s.Free++
		}
	}
	return s
}
