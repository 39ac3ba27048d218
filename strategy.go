package savepoint

import "fmt"

// Strategy says what a kind stores for each write. Append and Save are durable
// on return under all of them.
type Strategy uint8

// The strategies. The zero Strategy means what Options say.
const (
	// Hybrid stores each event and, by the snapshot policy, a snapshot in the
	// same step. Every point can be shown.
	Hybrid Strategy = iota + 1
	// EventSourced stores each event, and snapshots only by hand.
	EventSourced
	// SnapshotOnly stores the state alone, at each Append and Save. Go is
	// acknowledged with the next interval snapshot, Flush or Close. Only kept
	// snapshots can be shown.
	SnapshotOnly
	// Versioned is Hybrid, and each Save is a numbered revision with a snapshot
	// of its own.
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

// keepsEvents says whether records are stored.
func (s Strategy) keepsEvents() bool { return s != SnapshotOnly }

// byPolicy says whether the snapshot policy adds snapshots to appends.
func (s Strategy) byPolicy() bool { return s == Hybrid || s == Versioned }
