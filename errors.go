package savepoint

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/liap-tui/savepoint/engine"
)

// Errors of opening a file.
var (
	// ErrLocked says that another process, or this one, has the file open.
	ErrLocked = engine.ErrLocked
	// ErrForeign says that the file is not one of savepoint's.
	ErrForeign = engine.ErrForeign
	// ErrNewer says that a newer version of the program wrote the file or the
	// machine. Nothing is damaged; use the newer program.
	ErrNewer = engine.ErrNewer
	// ErrNoMigration says that no migrations lead from the version of what is
	// stored to the kind's. Nothing is damaged; list them in Kind.Migrations.
	ErrNoMigration = errors.New("savepoint: no migration")
	// ErrCorrupt says that bytes on disk are not what was written.
	ErrCorrupt = engine.ErrCorrupt
	// ErrReadOnly refuses a write to a file that was opened for reading.
	ErrReadOnly = engine.ErrReadOnly
)

// Errors of a machine.
var (
	// ErrNotFound says that no such machine exists.
	ErrNotFound = errors.New("savepoint: not found")
	// ErrDeleted says that the machine was deleted; it matches ErrNotFound too.
	ErrDeleted = fmt.Errorf("%w: deleted", ErrNotFound)
	// ErrNoPoint says that the machine has no such moment.
	ErrNoPoint = errors.New("savepoint: no such point")
	// ErrCompacted says that the moment lies before the base of the log.
	ErrCompacted = errors.New("savepoint: compacted")
	// ErrQuarantined says that the machine could not be rebuilt; see
	// [Store.Recover].
	ErrQuarantined = errors.New("savepoint: quarantined")
)

// Errors of a write. Unless said otherwise nothing of it is stored.
var (
	// ErrBadID refuses an id that is not 1 to 255 bytes of UTF-8 without
	// control characters.
	ErrBadID = errors.New("savepoint: bad id")
	// ErrBadEvent refuses an event that is nil, not listed in the kind, or does
	// not survive its encoding.
	ErrBadEvent = errors.New("savepoint: bad event")
	// ErrConflict says that the machine is not at the seq the caller named; see
	// [*ConflictError].
	ErrConflict = errors.New("savepoint: conflict")
	// ErrIllegal refuses a phase change that the kind's Legal does not list.
	ErrIllegal = errors.New("savepoint: illegal phase change")
	// ErrKeyReused says that the key was used for another write.
	ErrKeyReused = errors.New("savepoint: key reused")
	// ErrTooLarge refuses an event, a state or a step over its limit.
	ErrTooLarge = engine.ErrTooLarge
	// ErrBusy says that the queue is full and the caller would not wait.
	ErrBusy = errors.New("savepoint: busy")
	// ErrAborted says that a write queued before this one failed. It is safe to
	// try again.
	ErrAborted = errors.New("savepoint: aborted")
	// ErrDiskFull says that there is no space left. It is safe to try again
	// once there is.
	ErrDiskFull = engine.ErrDiskFull
	// ErrInDoubt says that nobody can tell before the next Open whether the
	// write is stored; see [*InDoubtError] and [DB.Outcome].
	ErrInDoubt = engine.ErrInDoubt
	// ErrStopped says that an earlier failure of the disk ended all writing.
	// Reopen the file.
	ErrStopped = engine.ErrStopped
	// ErrUnsupported says that the engine, or the strategy, cannot do this.
	ErrUnsupported = engine.ErrUnsupported
	// ErrClosed says that the database is closed.
	ErrClosed = engine.ErrClosed
	// ErrBadCursor refuses a cursor that is none, or of another query.
	ErrBadCursor = errors.New("savepoint: bad cursor")
)

// ConflictError tells what an IfSeq wanted and what the machine has. It matches
// ErrConflict.
type ConflictError struct {
	Kind, ID   string
	Want, Have uint64

	// Of a Save under [ConflictManual]: the state at Want (nil if that cannot be
	// shown any more), the one to be saved, and the live one, each a value of the
	// kind's state type, the caller's own.
	Base, Mine, Theirs any
	// Of a Save under [ConflictMerge]: the places that both sides changed.
	Where []string

	base *mergeBase // has to be asked for first
}

func (e *ConflictError) Error() string {
	if len(e.Where) > 0 {
		return fmt.Sprintf("savepoint: conflict: %s %q is at seq %d, not at %d, and both sides changed %s", e.Kind, e.ID, e.Have, e.Want, strings.Join(e.Where, ", "))
	}
	return fmt.Sprintf("savepoint: conflict: %s %q is at seq %d, not at %d: load it again and decide anew", e.Kind, e.ID, e.Have, e.Want)
}

// Is matches ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// CorruptError tells which value of a machine is not what was written. It
// matches ErrCorrupt.
type CorruptError struct {
	Kind, ID string
	Part     string // "head", "snapshot", "event", "chain" or "state"
	Seq      uint64
	Why      error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("savepoint: corrupt: %s %d of %s %q: %v", e.Part, e.Seq, e.Kind, e.ID, e.Why)
}

// Is matches ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap is the reason.
func (e *CorruptError) Unwrap() error { return e.Why }

// GapError names the records From to To of a machine, which are lost or were
// given up by a partial recovery.
type GapError struct {
	From, To uint64
	Why      error // nil for a gap that a recovery left on purpose
}

func (e *GapError) Error() string {
	if e.Why != nil {
		return fmt.Sprintf("savepoint: records %d to %d are missing: %v", e.From, e.To, e.Why)
	}
	return fmt.Sprintf("savepoint: records %d to %d were given up by a recovery", e.From, e.To)
}

// Unwrap is the reason, if there is one.
func (e *GapError) Unwrap() error { return e.Why }

// QuarantineError tells why and since when a machine is set aside. It matches
// ErrQuarantined and its cause.
type QuarantineError struct {
	Kind, ID string
	Since    time.Time
	Cause    error
}

func (e *QuarantineError) Error() string {
	return fmt.Sprintf("savepoint: quarantined: %s %q since %s: %v", e.Kind, e.ID, e.Since.Format(time.RFC3339), e.Cause)
}

// Unwrap matches ErrQuarantined and the cause.
func (e *QuarantineError) Unwrap() []error { return []error{ErrQuarantined, e.Cause} }

// InDoubtError tells which write is in doubt. It matches ErrInDoubt. Token goes
// to [DB.Outcome] after the file was opened again.
type InDoubtError struct {
	Token string
	Cause error
}

func (e *InDoubtError) Error() string {
	return fmt.Sprintf("savepoint: in doubt: %v: open the file again and ask for the outcome of %s", e.Cause, e.Token)
}

// Unwrap matches ErrInDoubt and the cause.
func (e *InDoubtError) Unwrap() []error { return []error{ErrInDoubt, e.Cause} }

// PanicError is a panic of one of the kind's functions, caught.
type PanicError struct {
	In    string // the function: "Check", "Apply", "Validate", ...
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in %s: %v", e.In, e.Value) }

// Unwrap is the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
