package journal

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of Append after which nothing was written.
var (
	// ErrFull is returned if no segment is free: checkpoint, or store the group elsewhere and call Bypass.
	ErrFull = errors.New("journal: no free segment")
	// ErrTooLarge is returned if the group is larger than a segment: store it elsewhere and call Bypass.
	ErrTooLarge = errors.New("journal: group larger than a segment")
)

// Errors of Append and Bypass that are final: every later call returns the same one.
var (
	// ErrStopped is matched after a write or sync failed, or Stop was called. It is not known whether the group whose
	// Append returned it first is durable.
	ErrStopped = errors.New("journal: stopped")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("journal: closed")
)

// Errors of Read.
var (
	// ErrCheckpointed is returned if the record is checkpointed and its place may hold another one: read it where the
	// checkpoint stored it.
	ErrCheckpointed = errors.New("journal: record is checkpointed")
	// ErrNoRecord is matched if no record has the lsn yet.
	ErrNoRecord = errors.New("journal: no such record")
)

// Errors of ReadHead, Scan and Open.
var (
	// ErrCorrupt is matched if bytes are not those that were written; a CorruptError has the facts.
	ErrCorrupt = errors.New("journal: corrupt")
	// ErrNewer is matched if the ring has a format that this program does not know.
	ErrNewer = errors.New("journal: written by a newer version")
	// ErrForeign is matched if the ring belongs to another file.
	ErrForeign = errors.New("journal: it belongs to another file")
	// ErrMisaligned is matched if the record area does not start at a page of the file: checkpoint and make a new ring.
	ErrMisaligned = errors.New("journal: record area is not page-aligned")
	// ErrSaltUsed is returned if the ring holds records with this salt: checkpoint them, unless they are checkpointed,
	// and commit a new salt.
	ErrSaltUsed = errors.New("journal: salt is in use")
)

// CorruptError describes why a ring cannot be replayed. Nothing was written.
type CorruptError struct {
	Reason       string
	Checkpointed uint64  // the lsn that was passed to Scan
	Lost         uint64  // the first acknowledged lsn that is missing or damaged; 0 for other damage
	Whole        []Place // intact records that are not checkpointed, in lsn order
	Torn         []Place // records of which only the header is intact and that are not checkpointed, in lsn order
}

// Error returns a text with at most the first eight places.
func (e *CorruptError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %s", ErrCorrupt, e.Reason)
	if e.Lost == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, " (checkpointed to %d, lost %d, intact:", e.Checkpointed, e.Lost)
	for i, p := range e.Whole {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(e.Whole)-i)
			break
		}
		fmt.Fprintf(&b, " %d@%d", p.LSN, p.Offset)
	}
	b.WriteByte(')')
	return b.String()
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

func corruptf(format string, args ...any) error {
	return &CorruptError{Reason: fmt.Sprintf(format, args...)}
}
