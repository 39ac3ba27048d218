package savepoint

import "fmt"

// Strategy says what a kind stores for each write. Under all of them, Append and Save are
// durable on return.
type Strategy uint8

// The strategies. The zero Strategy means that of Options, by default Hybrid.
const (
	// Hybrid stores each event, and in the same step a snapshot of the state when the
	// snapshot policy asks for one. Every point that the log holds can be shown.
	Hybrid Strategy = iota + 1
	// EventSourced stores each event, and no snapshots by policy; [Store.Snapshot] stores
	// one. Every point that the log holds can be shown.
	EventSourced
	// SnapshotOnly stores no events. Append and Save store the whole state, as a snapshot.
	// Go changes the state in memory only; a later write, the end of the snapshot interval,
	// Flush or Close stores the state, and the Acks of all changes before it resolve then. A
	// crash loses the changes whose Ack has not resolved. Only the snapshots that the policy
	// keeps can be shown of a machine's past; others are ErrNoPoint.
	SnapshotOnly
	// Versioned is Hybrid where in addition each Save makes a revision, with a number and
	// a snapshot of its own; see [RevisionNaming].
	Versioned
)

var strategyNames = [...]string{"", "hybrid", "event_sourced", "snapshot_only", "versioned"}

func (s Strategy) String() string {
	if int(s) < len(strategyNames) {
		return strategyNames[s]
	}
	return fmt.Sprintf("strategy(%d)", uint8(s))
}

func (s Strategy) validate() error {
	if int(s) >= len(strategyNames) {
		return fmt.Errorf("strategy %d does not exist: use Hybrid, EventSourced, SnapshotOnly or Versioned", uint8(s))
	}
	return nil
}

// keepsEvents reports whether records are stored.
func (s Strategy) keepsEvents() bool { return s != SnapshotOnly }

// byPolicy reports whether the snapshot policy adds snapshots to appends.
func (s Strategy) byPolicy() bool { return s == Hybrid || s == Versioned }
