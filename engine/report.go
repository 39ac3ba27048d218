package engine

import (
	"log/slog"
	"time"
)

// OpenReport tells what Open found and did. It does not change afterwards.
type OpenReport struct {
	// Created says that the file was not there and was made.
	Created bool
	// Clean says that the last process that had the file open for writing closed
	// it. A new file counts as closed.
	Clean bool
	// ReadOnly is why nothing can be written, nil if something can: it matches
	// ErrReadOnly when the file was opened so, ErrDiskFull when there is no room
	// to store what the journal holds.
	ReadOnly error
	// Check is the look at the file's pages before any of them was trusted.
	Check PageCheck
	// MetaDamaged says that one of the two meta pages, which bbolt writes in turn,
	// is damaged, and that the file was opened at the other one. If the damaged
	// one was the newer, the last commit is missing, acknowledged or not: compare
	// with what you know, or with a backup.
	MetaDamaged bool
	// MetaHealed says that the meta page in use was written again: the disk had
	// something else than the system's memory, as after a failed sync of an
	// earlier process, or had no way to tell.
	MetaHealed bool
	// DamagedHeads is how many machines have a head that is damaged or stands
	// under another machine's name. They answer ErrCorrupt; their names are
	// logged. Counted only where Check.Whole is set.
	DamagedHeads int
	// CountersRebuilt says that the counters of machine numbers and positions were
	// damaged, and were counted anew, far beyond those in use.
	CountersRebuilt bool
	// JournalReset says that the state of the journal was damaged and begun anew,
	// which is done only where the file was closed and the journal held nothing.
	JournalReset bool
	// Replay is what the journal held that was not in the buckets yet.
	Replay JournalReplay
	// Time is how long all of it took.
	Time time.Duration
}

// PageCheck is a look at the pages of a file, with plain reads: that each is what
// the page above it says, in order and within bounds, reached once, and not free.
type PageCheck struct {
	// Whole says that all pages were looked at. Else it is the meta pages, the
	// free list, the tree of buckets and the small buckets: a file with more than
	// 64 MiB of pages that was closed cleanly is not read from end to end.
	Whole bool
	Pages int64 // looked at or, as part of a long value, accounted for
	Bytes int64 // read
	Time  time.Duration
}

// JournalReplay is what Open took out of the journal.
type JournalReplay struct {
	Groups  int64
	Records int64
	Bytes   int64 // of the groups as they stood there
	// InMemory says that it is served from memory and stays in the journal: the
	// file was opened for reading, or there is no room to store it.
	InMemory bool
	Time     time.Duration // for reading and for storing it
}

// Reporter is an Engine that tells what opening it found and did.
type Reporter interface{ OpenReport() OpenReport }

// LogValue makes a group of it.
func (r OpenReport) LogValue() slog.Value {
	a := []slog.Attr{
		slog.Bool("created", r.Created), slog.Bool("clean", r.Clean), slog.Duration("time", r.Time),
		slog.Group("check", slog.Bool("whole", r.Check.Whole), slog.Int64("pages", r.Check.Pages),
			slog.Int64("bytes", r.Check.Bytes), slog.Duration("time", r.Check.Time)),
	}
	if r.Replay.Groups > 0 {
		a = append(a, slog.Group("replay", slog.Int64("groups", r.Replay.Groups), slog.Int64("records", r.Replay.Records),
			slog.Int64("bytes", r.Replay.Bytes), slog.Bool("in memory", r.Replay.InMemory), slog.Duration("time", r.Replay.Time)))
	}
	if r.ReadOnly != nil {
		a = append(a, slog.String("read-only", r.ReadOnly.Error()))
	}
	return slog.GroupValue(a...)
}
