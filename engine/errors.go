package engine

import (
	"errors"
	"fmt"
)

// Errors of every engine.
var (
	// ErrNothingStored is matched by an error of Commit after which no step of
	// the group is stored; the same steps may be committed again.
	ErrNothingStored = errors.New("nothing stored")
	// ErrDiskFull is matched when there is no space left.
	ErrDiskFull = errors.New("disk full")
	// ErrInDoubt is matched when it is not known yet whether a step is stored.
	ErrInDoubt = errors.New("in doubt")
	// ErrTooLarge is matched when a step is larger than the engine's limit.
	ErrTooLarge = errors.New("too large")
	// ErrUnsupported is matched when the engine lacks an ability, such as writing
	// to several machines in one step.
	ErrUnsupported = errors.New("unsupported")
	// ErrReadOnly is matched by writes to an engine opened for reading.
	ErrReadOnly = errors.New("read only")
	// ErrClosed is matched by calls after Close. Such a Commit matches
	// ErrNothingStored too.
	ErrClosed = errors.New("closed")
	// ErrDamaged is matched by every *Damage.
	ErrDamaged = errors.New("damaged")
	// ErrChanged is matched when a Load that takes several transactions ends early,
	// because the machine was purged, its events were trimmed or restored, or a
	// snapshot was removed or replaced in between. The caller loads again.
	ErrChanged = errors.New("the machine was trimmed or purged while it was read: load it again")
	// ErrStopped is matched by writes after a failure of the disk has ended all writing.
	ErrStopped = errors.New("savepoint: stopped after a failure of the disk")
)

// Errors of opening.
var (
	// ErrLocked is matched when another process, or this one, has the file open.
	ErrLocked = errors.New("savepoint: file is in use")
	// ErrForeign is matched when the file was not made by savepoint.
	ErrForeign = errors.New("savepoint: not a savepoint file")
	// ErrNewer is matched when a newer version of savepoint wrote the file or value.
	ErrNewer = errors.New("savepoint: written by a newer version")
	// ErrCorrupt is matched when bytes on disk are not those that were written.
	ErrCorrupt = errors.New("savepoint: corrupt")
)

// Stop is returned by a callback of Load, Scan, Feed or Query to end the call
// without an error.
//
//lint:ignore ST1012 it is a signal that no caller of the engine ever receives
var Stop = errors.New("stop")

// Conflict is the error of a step with a Write whose Expect is not the head's seq.
type Conflict struct {
	Machine    string
	Want, Have uint64 // Expect, and the head's seq; Have is 0 if the machine does not exist
}

func (e *Conflict) Error() string {
	return fmt.Sprintf("machine %q is at %d, not at %d", e.Machine, e.Have, e.Want)
}

// Damage is the error of one stored value whose bytes are not those that were
// written.
type Damage struct {
	Machine string
	Part    string // "head", "snapshot" or "event"
	Seq     uint64 // 0 of a head
	Why     error
}

func (e *Damage) Error() string {
	return fmt.Sprintf("%s %d of machine %q is damaged: %v", e.Part, e.Seq, e.Machine, e.Why)
}

// Is reports whether target is ErrDamaged.
func (e *Damage) Is(target error) bool { return target == ErrDamaged }

// Unwrap returns Why.
func (e *Damage) Unwrap() error { return e.Why }
