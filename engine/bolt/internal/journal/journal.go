package journal

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Journal is an open ring. Append, Folded, Bypass, Read and the rest may be called
// from any goroutine; the appends go one after the other.
//
// What holds at all times:
//
//  1. At most one record is unsynced, and it has the largest lsn.
//  2. Lsns have no holes: last+1 is next, and nothing but Append and Bypass takes it.
//  3. A block is written only if its segment holds no record beyond folded, or is
//     the one being filled, behind its last record.
//  4. No byte outside the record area is written, and no part of a page.
//  5. After the first error of a write or sync, and after Stop, nothing is
//     written and nothing is acknowledged.
//  6. What Read can see is durable.
//
// Rejected for 3: records across segments. A segment could then be released
// only together with its neighbour, and a payload of several segments would
// need most of the ring; such a group goes round the ring (Bypass), which costs
// two syncs that its size hides.
type Journal struct {
	file File
	ring ring
	stop atomic.Pointer[error]

	writing sync.Mutex // held over an append; taken before mu
	segment int64      // the one being filled; of writing
	fill    int64      // bytes used in it; of writing

	mu           sync.Mutex
	checkpointed uint64
	last         uint64
	sealed       uint64   // last lsn of the segments that are full
	ends         []uint64 // last lsn in each segment
	slots        []slot   // where record lsn stands: slots[lsn % len]
}

// slot is where a record stands. As each record takes a block, the unfolded
// ones never share a slot.
type slot struct{ block, length uint32 }

// Open begins to write the ring in r, which holds nothing unfolded: folded is
// the last lsn given out and was committed together with salt, which is new. A
// ring with a record under that salt answers ErrSaltUsed: either it was not
// replayed, or the salt is old (or has the checksum of an old one, once in four
// thousand million). The other answers are those of ReadHead, ErrForeign and
// ErrMisaligned. The file stays the caller's, who closes it after Close.
//
// Why nothing may be unfolded: a record that a dead process wrote may stand in
// the page cache only, and no later sync of this process is sure to save it.
func Open(f File, r Range, id ID, salt Salt, folded uint64) (*Journal, error) {
	rg, err := readRing(f, r, id, salt)
	if err != nil {
		return nil, err
	}
	if !rg.aligned(r) {
		return nil, fmt.Errorf("%w: it begins at %d of the file, pages have %d bytes", ErrMisaligned, rg.base, r.page())
	}
	used := false
	if err := rg.walk(f, func(Place, []byte) bool { used = true; return false }); err != nil {
		return nil, err
	}
	if used {
		return nil, ErrSaltUsed
	}
	return &Journal{
		file: f, ring: rg, checkpointed: folded, last: folded, sealed: folded,
		ends:  make([]uint64, rg.Segments),
		slots: make([]slot, rg.Segments*rg.Segment/Align),
	}, nil
}

// Append makes the group durable with one write and one sync, under the next
// lsn. ErrTooLarge and ErrFull: nothing was written, and the lsn is the next one
// still. Any other error: see ErrStopped and ErrClosed.
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
	lsn, err := j.room(need)
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
	// A fold may have stopped us meanwhile: then this group is in doubt, too.
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

// room moves to the next segment if the one being filled has less than need
// left, and gives the lsn for what is written there; j.writing is held.
func (j *Journal) room(need int64) (lsn uint64, err error) {
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

// Next is the lsn of the next group: the folded of a transaction that stores
// it elsewhere, after which Bypass is called. Only the goroutine that
// appends knows that it stays the next.
func (j *Journal) Next() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last + 1
}

// Checkpointed says that a transaction that stores everything up to lsn elsewhere,
// and lsn with it, is durable. It releases the segments that hold nothing
// beyond it. An lsn before the last call's changes nothing; one that was not
// acknowledged is refused.
func (j *Journal) Checkpointed(lsn uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if lsn > j.last {
		return fmt.Errorf("journal: folded to %d, but %d is the last: %w", lsn, j.last, ErrNoRecord)
	}
	j.checkpointed = max(j.checkpointed, lsn)
	return nil
}

// Bypass says that one durable transaction has stored all unfolded records in
// order, then a group that is not in the ring, and lsn = Next() as folded. All
// segments are free then.
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

// Stop ends the journal because of cause, for instance a fold that went wrong:
// each later Append, and the one that runs, answers ErrStopped with the first
// cause, which Stop returns. It waits for nothing. Read goes on.
func (j *Journal) Stop(cause error) error {
	err := fmt.Errorf("%w: %w", ErrStopped, cause)
	j.stop.CompareAndSwap(nil, &err)
	return *j.stop.Load()
}

// Err is nil while the journal takes appends.
func (j *Journal) Err() error {
	if err := j.stop.Load(); err != nil {
		return *err
	}
	return nil
}

// Close waits for the append that runs and refuses later ones with ErrClosed. It
// may be called twice. It folds nothing.
func (j *Journal) Close() {
	j.writing.Lock()
	defer j.writing.Unlock()
	err := ErrClosed
	j.stop.CompareAndSwap(nil, &err)
}

// State is how full a ring is.
type State struct {
	Checkpointed uint64 // everything up to here is stored elsewhere
	Sealed       uint64 // last lsn of the full segments: a fold up to here releases all it can
	Last         uint64 // last lsn that is durable
	Segments     int
	Free         int // segments that can be written, the one being filled left out
}

// State is of one moment.
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
