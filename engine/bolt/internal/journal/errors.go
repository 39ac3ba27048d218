package journal

import (
	"errors"
	"fmt"
	"strings"
)

// Answers of Append. Nothing was written.
var (
	// ErrFull says that no segment is free: fold, or store the group elsewhere and call Bypass.
	ErrFull = errors.New("journal: no free segment")
	// ErrTooLarge says that the group is larger than a segment: store it elsewhere and call Bypass.
	ErrTooLarge = errors.New("journal: group larger than a segment")
)

// Answers of everything that changes the ring, for good once given.
var (
	// ErrStopped says that a write or sync went wrong, or that Stop was called. Of the group whose
	// Append answered it first nobody knows whether it is durable.
	ErrStopped = errors.New("journal: stopped")
	// ErrClosed says that Close was called.
	ErrClosed = errors.New("journal: closed")
)

// Answers of Read.
var (
	// ErrCheckpointed says that the record is folded and its place may hold another one: look where it was folded to.
	ErrCheckpointed = errors.New("journal: record is folded")
	// ErrNoRecord says that the lsn was not given out yet.
	ErrNoRecord = errors.New("journal: no such record")
)

// Answers of ReadHead, Scan and Open.
var (
	// ErrCorrupt says that bytes are not what was written; CorruptError has the facts.
	ErrCorrupt = errors.New("journal: corrupt")
	// ErrNewer says that the ring is of a format that this program does not know.
	ErrNewer = errors.New("journal: written by a newer version")
	// ErrForeign says that the ring belongs to another file.
	ErrForeign = errors.New("journal: ring of another file")
	// ErrMisaligned says that the record area does not begin at a page of the file: fold and make a new ring.
	ErrMisaligned = errors.New("journal: record area is not page-aligned")
	// ErrSaltUsed says that records stand in the ring under this salt: fold them, if they are not, and commit a new salt.
	ErrSaltUsed = errors.New("journal: salt is in use")
)

// CorruptError says why a ring cannot be replayed. Nothing was written.
type CorruptError struct {
	Reason       string
	Checkpointed uint64  // the lsn that Scan was given
	Lost         uint64  // the first lsn that is not there but was acknowledged; 0 where it is another damage
	Whole        []Place // unfolded records that are intact, in lsn order
	Torn         []Place // unfolded records of which only the header is intact, in lsn order
}

// Error names the first few places only.
func (e *CorruptError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %s", ErrCorrupt, e.Reason)
	if e.Lost == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, " (folded to %d, lost %d, intact:", e.Checkpointed, e.Lost)
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

// Unwrap makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

func corruptf(format string, args ...any) error {
	return &CorruptError{Reason: fmt.Sprintf(format, args...)}
}
