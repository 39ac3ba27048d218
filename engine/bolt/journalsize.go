package bolt

import (
	"runtime"
	"time"

	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
)

// Sizes of a ring: what is asked for is brought into these bounds.
const (
	ringParts    = 8 // segments, unless they would be too small or too large
	smallestPart = journal.Align
	largestPart  = 64 << 20
	largestRing  = 1 << 30 // a value of bbolt is shorter than 2 GiB
)

// How a ring without a size of its own grows: from the first size up to the
// last, to what lets some time pass between folds at the rate it is filled, by
// the factor where that is unknown. A small file stays small; a busy one is
// folded in large units, which change each page of the buckets once for many
// writes.
const (
	firstRing        = 1 << 20
	lastRing         = 32 << 20
	ringFactor       = 4
	checkpointsApart = 10 * time.Second
)

// journalSizes are the first and last size for what Options.Journal says; a last
// size of 0 means that it does not grow. Where the ring is not proven yet, none
// is the default.
func journalSizes(journal int64) (first, most int64) {
	switch {
	case journal > 0:
		return journal, 0
	case journal == 0 && runtime.GOOS == "linux":
		return firstRing, lastRing
	}
	return 0, 0
}

// segmentSize are the size and number of the segments of a ring of that size.
func (o *config) segmentSize(size int64) (segment, segments int64) {
	segment = o.journalSegment
	if segment == 0 {
		segment = min(max(size/ringParts, smallestPart), largestPart)
	}
	segment = (segment + journal.Align - 1) / journal.Align * journal.Align
	return segment, max(2, min(size, largestRing)/segment)
}

// keepsJournal tells whether the ring of a file can go on to be written: it is as
// large as it should be, or between the bounds if it may grow, and stands at the
// beginning of a page.
func (o *config) keepsJournal(f *journalState) bool {
	if !f.aligned() {
		return false
	}
	if size := f.size(); o.journalMaxBytes > 0 && size >= o.journalBytes && size <= o.journalMaxBytes {
		return true
	}
	segment, segments := o.segmentSize(o.journalBytes)
	return f.head.Segment == segment && f.head.Segments == segments
}

// aligned tells whether there is a ring that may be written where it stands (R2).
func (f *journalState) aligned() bool {
	return f.there && (f.place.Offset+f.head.Start)%f.place.Page == 0
}

// size is what the ring has room for.
func (f *journalState) size() int64 { return f.head.Segment * f.head.Segments }

// lay makes f the place of a ring of that size that is not there yet.
func (e *Engine) lay(f *journalState, size int64) (err error) {
	page := max(e.handle.pageSize(), journal.Align)
	r := journal.Range{Offset: pagecheck.SingleAt(string(journalValue)), Page: page}
	segment, segments := e.opt.segmentSize(size)
	r.Length = page + journal.HeadSize + segment*segments
	f.place, f.salt = r, journal.NewSalt()
	f.head, err = journal.NewHead(r, segment, f.id)
	f.head.Segments = segments
	return err
}

// put makes the ring laid out in f, in place of the one there is. Its value is
// put once, with all its zeros, and never by bbolt again.
func (f *journalState) put(tx *txn, folded uint64) error {
	if f.there {
		if err := tx.removeJournal(); err != nil {
			return err
		}
	}
	value := make([]byte, f.place.Length)
	f.head.Append(value[:0])
	if err := tx.createJournal(value); err != nil {
		return err
	}
	f.checkpointed = folded
	return putJournalState(tx, folded, f.salt)
}

// find locates the ring just put.
func (e *Engine) find(f *journalState) error {
	if err := e.view(func(tx *txn) error { f.root, f.there = tx.journalRoot(); return nil }); err != nil {
		return err
	}
	return e.locate(f)
}

// createJournal puts a new ring in place of the old one, if there is one, which holds
// nothing unfolded.
func (e *Engine) createJournal(f *journalState) error {
	next := *f
	if err := e.lay(&next, e.opt.journalBytes); err != nil {
		return err
	}
	if err := e.update(func(tx *txn) error { return next.put(tx, f.checkpointed) }); err != nil {
		return err
	}
	*f = next
	return e.find(f)
}

// grows tells whether the ring may become larger. The caller holds writing.
func (r *journalWriter) grows() bool { return r.place.size() < r.maxSize }

// larger is the ring that comes after this one. The caller holds writing.
func (r *journalWriter) larger() (*journalState, error) {
	next := r.place
	size := min(max(r.place.size()*ringFactor, r.targetSize.Load()), r.maxSize)
	return &next, r.e.lay(&next, size)
}

// begin goes over to the ring that was put. What was in the old one is folded.
// The caller holds writing and folding.
func (r *journalWriter) begin(next *journalState) error {
	if err := r.e.find(next); err != nil {
		return err
	}
	j, err := journal.Open(r.file, next.place, next.id, next.salt, next.checkpointed)
	if err != nil {
		return r.e.journalError(err)
	}
	r.place = *next
	r.checkpointBytes.Store(checkpointThreshold(next.size()))
	r.journal.Swap(j).Close()
	if stopped := r.e.stopped.Load(); stopped != nil { // meanwhile, and the old one was told
		return *stopped
	}
	r.e.opt.logger.Info("the journal is larger now", "file", r.e.path, "bytes", next.size())
	return nil
}

// measure is the size the ring should have when it is folded again so soon, 0
// where it is right. The caller holds folding.
func (r *journalWriter) measure() int64 {
	now := time.Now()
	apart := max(now.Sub(r.checkpoints), time.Millisecond)
	r.checkpoints = now
	if apart < checkpointsApart && r.grows() {
		return r.place.size() * int64(checkpointsApart/apart)
	}
	return 0
}
