package engine

import (
	"errors"
	"fmt"
)

// Errors of every engine.
var (
	// ErrNothingStored is matched by an error of Commit that left nothing of
	// the group behind; the same steps may be committed again.
	ErrNothingStored = errors.New("nothing stored")
	// ErrDiskFull is matched when there is no space left.
	ErrDiskFull = errors.New("disk full")
	// ErrInDoubt is matched when nobody can tell yet whether a step is stored.
	ErrInDoubt = errors.New("in doubt")
	// ErrTooLarge is matched when a step is over the engine's limit.
	ErrTooLarge = errors.New("too large")
	// ErrUnsupported is matched when the engine has no such ability.
	ErrUnsupported = errors.New("unsupported")
	// ErrReadOnly is matched by writes to an engine opened for reading.
	ErrReadOnly = errors.New("read only")
	// ErrClosed is matched by calls after Close. Such a Commit matches
	// ErrNothingStored too.
	ErrClosed = errors.New("closed")
	// ErrDamaged is matched by every *Damage.
	ErrDamaged = errors.New("damaged")
	// ErrChanged ends a long Load whose machine was trimmed or purged under it: load it again.
	ErrChanged = errors.New("the machine was trimmed or purged while it was read: load it again")
	// ErrStopped is matched by writes after an earlier failure of the disk ended all writing.
	ErrStopped = errors.New("savepoint: stopped after a failure of the disk")
)

// Errors of opening.
var (
	// ErrLocked says that another process, or this one, has the file open.
	ErrLocked = errors.New("savepoint: file is in use")
	// ErrForeign says that the file is not one of savepoint's.
	ErrForeign = errors.New("savepoint: not a savepoint file")
	// ErrNewer says that a newer version of the program wrote it.
	ErrNewer = errors.New("savepoint: written by a newer version")
	// ErrCorrupt says that bytes on disk are not what was written.
	ErrCorrupt = errors.New("savepoint: corrupt")
)

// Stop ends a Load or a Scan from within its callback without an error.
//
//lint:ignore ST1012 it is a signal, not an error that anybody sees
var Stop = errors.New("stop")

// Conflict refuses a step whose Expect is not the head's seq. Have is 0 where
// there is no such machine.
type Conflict struct {
	Machine    string
	Want, Have uint64
}

func (e *Conflict) Error() string {
	return fmt.Sprintf("machine %q is at %d, not at %d", e.Machine, e.Have, e.Want)
}

// Damage tells of one value that is not what was written.
type Damage struct {
	Machine string
	Part    string // "head", "snapshot" or "event"
	Seq     uint64
	Why     error
}

func (e *Damage) Error() string {
	return fmt.Sprintf("%s %d of machine %q is damaged: %v", e.Part, e.Seq, e.Machine, e.Why)
}

// Is matches ErrDamaged.
func (e *Damage) Is(target error) bool { return target == ErrDamaged }

// Unwrap is the reason.
func (e *Damage) Unwrap() error { return e.Why }
