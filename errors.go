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
	// ErrLocked means that the file is open already, in another process or in this one.
	ErrLocked = engine.ErrLocked
	// ErrForeign means that the file is not a file of this library.
	ErrForeign = engine.ErrForeign
	// ErrNewer means that a newer library wrote the file, or a newer version of a kind the
	// machine. Nothing is damaged; use the newer program.
	ErrNewer = engine.ErrNewer
	// ErrNoMigration means that no migrations lead from the stored version to the kind's.
	// Nothing is damaged; list them in Kind.Migrations.
	ErrNoMigration = errors.New("savepoint: no migration")
	// ErrCorrupt means that bytes on disk are not what was written; see [*CorruptError].
	ErrCorrupt = engine.ErrCorrupt
	// ErrReadOnly refuses a write to a database that was opened with Options.ReadOnly.
	ErrReadOnly = engine.ErrReadOnly
)

// Errors of a machine.
var (
	// ErrNotFound means that there is no such machine.
	ErrNotFound = errors.New("savepoint: not found")
	// ErrDeleted means that the machine was deleted. It matches ErrNotFound too.
	ErrDeleted = fmt.Errorf("%w: deleted", ErrNotFound)
	// ErrNoPoint means that the machine was never at such a point, or that its state there
	// is not kept.
	ErrNoPoint = errors.New("savepoint: no such point")
	// ErrCompacted means that the point or the record is before the base of the log.
	ErrCompacted = errors.New("savepoint: compacted")
	// ErrQuarantined means that the machine cannot be rebuilt; see [*QuarantineError] and
	// [Store.Recover].
	ErrQuarantined = errors.New("savepoint: quarantined")
)

// Errors of a write. Unless stated otherwise, nothing of the write is stored.
var (
	// ErrBadID refuses an id that is not 1 to 255 bytes of UTF-8 without control characters.
	ErrBadID = errors.New("savepoint: bad id")
	// ErrBadEvent refuses an event that is nil, that the kind does not list, or that cannot
	// be encoded and decoded again.
	ErrBadEvent = errors.New("savepoint: bad event")
	// ErrConflict means that the machine is not at the seq of the write's IfSeq; see
	// [*ConflictError].
	ErrConflict = errors.New("savepoint: conflict")
	// ErrIllegal refuses a change of phase that the kind's Legal does not list.
	ErrIllegal = errors.New("savepoint: illegal phase change")
	// ErrKeyReused means that the write's key was used for a write with other content.
	ErrKeyReused = errors.New("savepoint: key reused")
	// ErrTooLarge refuses an event, a state or a step that is larger than its limit.
	ErrTooLarge = engine.ErrTooLarge
	// ErrBusy means that the queue is full and the write has NoWait. It may be tried again.
	ErrBusy = errors.New("savepoint: busy")
	// ErrAborted means that a write queued before this one failed. It may be tried again.
	ErrAborted = errors.New("savepoint: aborted")
	// ErrDiskFull means that there is no space left. The write may be tried again once there
	// is.
	ErrDiskFull = engine.ErrDiskFull
	// ErrInDoubt means that it is not known whether the write is stored. The next Open
	// decides it; see [*InDoubtError] and [DB.Outcome].
	ErrInDoubt = engine.ErrInDoubt
	// ErrStopped means that an earlier failure of the disk ended all writing. Close the
	// database and open it again.
	ErrStopped = engine.ErrStopped
	// ErrUnsupported means that the engine or the strategy cannot do this.
	ErrUnsupported = engine.ErrUnsupported
	// ErrClosed means that the database is closed.
	ErrClosed = engine.ErrClosed
	// ErrBadCursor refuses a Query.Cursor that no query returned, or another query.
	ErrBadCursor = errors.New("savepoint: bad cursor")
)

// ConflictError says which seq a write expected and which one the machine has. It matches
// ErrConflict.
type ConflictError struct {
	Kind, ID   string
	Want, Have uint64

	// The three states, set by a Save under [ConflictManual]: the state at Want, the one to
	// be saved and the live one, each a value of the kind's state type that the caller may
	// keep. Base is nil if the state at Want is not kept.
	Base, Mine, Theirs any
	// The paths of the values that both sides changed, set by a Save under [ConflictMerge].
	Where []string

	base *mergeBase // set when Save has to look up the state at Want and try again
}

func (e *ConflictError) Error() string {
	if len(e.Where) > 0 {
		return fmt.Sprintf("savepoint: conflict: %s %q is at seq %d, not at %d, and both sides changed %s", e.Kind, e.ID, e.Have, e.Want, strings.Join(e.Where, ", "))
	}
	return fmt.Sprintf("savepoint: conflict: %s %q is at seq %d, not at %d: load it again and decide again", e.Kind, e.ID, e.Have, e.Want)
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// CorruptError says which stored value of a machine is damaged. It matches ErrCorrupt and
// Why.
type CorruptError struct {
	Kind, ID string
	Part     string // "head", "snapshot", "event", "chain" or "state"
	Seq      uint64
	Why      error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("savepoint: corrupt: %s %d of %s %q: %v", e.Part, e.Seq, e.Kind, e.ID, e.Why)
}

// Unwrap returns ErrCorrupt and the reason.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Why} }

// GapError says that the records From to To of a machine are missing.
type GapError struct {
	From, To uint64
	Why      error // why they are lost; nil if a partial recovery gave them up
}

func (e *GapError) Error() string {
	if e.Why != nil {
		return fmt.Sprintf("savepoint: records %d to %d are missing: %v", e.From, e.To, e.Why)
	}
	return fmt.Sprintf("savepoint: records %d to %d were given up by a recovery", e.From, e.To)
}

// Unwrap returns Why.
func (e *GapError) Unwrap() error { return e.Why }

// QuarantineError says why a machine cannot be rebuilt, and since when that is known. It
// matches ErrQuarantined and Cause.
type QuarantineError struct {
	Kind, ID string
	Since    time.Time
	Cause    error
}

func (e *QuarantineError) Error() string {
	return fmt.Sprintf("savepoint: quarantined: %s %q since %s: %v", e.Kind, e.ID, e.Since.Format(time.RFC3339), e.Cause)
}

// Unwrap returns ErrQuarantined and Cause.
func (e *QuarantineError) Unwrap() []error { return []error{ErrQuarantined, e.Cause} }

// InDoubtError says which write is in doubt. It matches ErrInDoubt and Cause. After the
// next Open, [DB.Outcome] returns for Token whether the write is stored.
type InDoubtError struct {
	Token string
	Cause error
}

func (e *InDoubtError) Error() string {
	return fmt.Sprintf("savepoint: in doubt: %v: open the file again and ask for the outcome of %s", e.Cause, e.Token)
}

// Unwrap returns ErrInDoubt and Cause.
func (e *InDoubtError) Unwrap() []error { return []error{ErrInDoubt, e.Cause} }

// PanicError is a panic in a function of the program that the library called. Where the
// panic's value is an error, it matches that.
type PanicError struct {
	In    string // the function: "Check", "Apply", "Validate", ...
	Value any    // of the panic
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in %s: %v", e.In, e.Value) }

// Unwrap returns the panic's value if it is an error, otherwise nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
