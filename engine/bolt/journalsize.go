package bolt

import (
	"runtime"
	"time"

	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
)

// The bounds of a journal's size; an option outside of them is moved to the nearest bound.
const (
	journalSegments = 8 // unless segments would be too small or too large
	minSegment      = journal.Align
	maxSegment      = journal.MaxSegment / 4 // 64 MiB
	maxJournal      = 1 << 30                // a value of bbolt is shorter than 2 GiB
)

// How a journal without an explicit size grows: from firstJournal up to lastJournal,
// to the size that makes checkpoints checkpointsApart apart at the rate it is
// filled, or by the factor journalGrowth where that rate is not known. So a small
// file stays small, and a busy one is checkpointed in large units, which change
// each page of the buckets once for many writes.
const (
	firstJournal     = 1 << 20
	lastJournal      = 32 << 20
	journalGrowth    = 4
	checkpointsApart = 10 * time.Second
)

// journalSizes returns the first and the largest size for Options.Journal; a largest
// size of 0 means that the journal does not grow. The default is no journal on
// systems where it has not been proven yet.
func journalSizes(option int64) (first, most int64) {
	switch {
	case option > 0:
		return option, 0
	case option == 0 && runtime.GOOS == "linux":
		return firstJournal, lastJournal
	}
	return 0, 0
}

// segmentSize returns the size and the number of the segments of a journal of a size.
func (o *config) segmentSize(size int64) (segment, segments int64) {
	segment = o.journalSegment
	if segment == 0 {
		segment = min(max(size/journalSegments, minSegment), maxSegment)
	}
	segment = (segment + journal.Align - 1) / journal.Align * journal.Align
	return segment, max(2, min(size, maxJournal)/segment)
}

// keepsJournal reports whether the journal of a file can be written as it is: it
// starts at a page, and it has the size it should have, or one within the bounds if
// it may grow.
func (o *config) keepsJournal(s *journalState) bool {
	if !s.aligned() {
		return false
	}
	if size := s.size(); o.journalMaxBytes > 0 && size >= o.journalBytes && size <= o.journalMaxBytes {
		return true
	}
	segment, segments := o.segmentSize(o.journalBytes)
	return s.head.Segment == segment && s.head.Segments == segments
}
