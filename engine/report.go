package engine

import (
	"log/slog"
	"time"
)

// OpenReport describes what Open found and did. It does not change afterwards.
type OpenReport struct {
	// Created reports that the file did not exist and was created.
	Created bool
	// Clean reports that the last process that had the file open for writing closed
	// it. A new file counts as closed.
	Clean bool
	// ReadOnly is the reason why nothing can be written, or nil. It matches
	// ErrReadOnly when the file was opened for reading only, and ErrDiskFull when
	// there is no space to store what the journal holds.
	ReadOnly error
	// Check describes the check of the file's pages, which precedes any use of them.
	Check PageCheck
	// MetaDamaged reports that one of the two meta pages, which bbolt writes in
	// turn, is damaged, and that the file was opened at the other one. If the
	// damaged page was the newer one, the last commit is missing, acknowledged or
	// not: compare the data with a backup, or with other records of yours.
	MetaDamaged bool
	// MetaHealed reports that the meta page in use was written again, because the
	// disk held other bytes than the system's page cache, as after a failed sync of
	// an earlier process, or because the disk could not be read past the cache.
	MetaHealed bool
	// DamagedHeads is the number of machines whose head is damaged or stored under
	// another machine's key. Reading them fails with ErrCorrupt; their keys are
	// logged. They are counted only if Check.Whole is set.
	DamagedHeads int
	// CountersRebuilt reports that the counters of machine numbers and positions
	// were damaged and were rebuilt, with values far above those in use.
	CountersRebuilt bool
	// JournalReset reports that the state of the journal was damaged and was
	// replaced, which is done only if the file was closed and the journal was empty.
	JournalReset bool
	// Replay describes what the journal held that was not in the buckets yet.
	Replay JournalReplay
	// Time is the duration of the whole Open.
	Time time.Duration
}

// PageCheck describes a check of the pages of a file with plain reads: each page
// is what its parent page says, its keys are in order and within bounds, and it is
// reached once and not free.
type PageCheck struct {
	// Whole reports that all pages were checked. Otherwise only the meta pages, the
	// free list, the tree of buckets and the small buckets were: a file with more
	// than 64 MiB of pages that was closed cleanly is not read from end to end.
	Whole bool
	Pages int64 // number of pages checked, those inside a long value included
	Bytes int64 // number of bytes read
	Time  time.Duration
}

// JournalReplay describes what Open read from the journal.
type JournalReplay struct {
	Groups  int64 // groups of steps, one journal record each
	Records int64 // records in them
	Bytes   int64 // size of the groups in the journal
	// InMemory reports that the groups are served from memory and stay in the
	// journal: the file was opened for reading only, or there is no space to store
	// them in the buckets.
	InMemory bool
	Time     time.Duration // for reading and storing them
}

// Reporter is an Engine that reports what opening it found and did.
type Reporter interface{ OpenReport() OpenReport }

// LogValue returns the report as a group of attributes.
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
