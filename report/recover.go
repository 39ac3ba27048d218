// Package report has what the calls of package savepoint report to an operator: what a recovery found, what
// a compaction removed, how long writes took. A type has the name of the method that returns it. Programs read
// the fields; few need the names.
package report

import (
	"fmt"
	"time"
)

// Status is how a recovery ended.
type Status string

// How a recovery ended.
const (
	Healthy  Status = "healthy"   // the newest state was rebuilt without a loss; nothing was written
	Restored Status = "recovered" // the state at the point was restored
	Partial  Status = "partially" // the state after the longest good prefix was restored
	Failed   Status = "failed"    // nothing was written
)

// Recover is what a recovery found and did. It is stored as JSON with the record
// that the recovery appends.
type Recover struct {
	Kind, ID string
	To       string // RecoverOptions.To
	Status   Status
	DryRun   bool          `json:",omitempty"`
	Source   string        // where the rebuild started: "snapshot", "new" or "replaced"
	From     uint64        // the seq of that snapshot or record
	Seq      uint64        // the state right after this record was restored
	Time     time.Time     // of that record
	Head     uint64        // the newest record before the recovery
	Restored uint64        // the record that the recovery appended; 0 = none
	Replayed int           // how many records
	Tried    []Attempt     `json:",omitempty"` // the attempts that failed, in order
	LostFrom uint64        `json:",omitempty"` // the first record given up; 0 = none
	LostTo   uint64        `json:",omitempty"` // the last one
	Reason   string        `json:",omitempty"` // RecoverOptions.Reason
	Took     time.Duration // how long the rebuild took, without the write
}

func (r *Recover) String() string {
	s := fmt.Sprintf("%s %q to %s: %s at seq %d from %s %d, %d records replayed in %v", r.Kind, r.ID, r.To, r.Status, r.Seq, r.Source, r.From, r.Replayed, r.Took.Round(time.Microsecond))
	if r.LostTo > 0 {
		s += fmt.Sprintf(", records %d to %d given up", r.LostFrom, r.LostTo)
	}
	for _, a := range r.Tried {
		s += "; " + a.String()
	}
	return s
}

// Attempt is one way of rebuilding a state that did not work.
type Attempt struct {
	Source string // where it started: "snapshot", "new" or "replaced"
	From   uint64 // the seq of that snapshot or record
	Good   uint64 // the last record up to which the state could be rebuilt
	Err    string // why it stopped there
}

func (a Attempt) String() string {
	return fmt.Sprintf("%s %d: good up to %d: %s", a.Source, a.From, a.Good, a.Err)
}

// RecoverAll is what RecoverAll found and did.
type RecoverAll struct {
	Machines  int           // rebuilt, or tried
	Healthy   int           // of these; deleted ones count
	Recovered int           // restored to their longest good prefix, because of RecoverAllOptions.Partial
	Failed    []*Recover    // of the machines in quarantine; Tried says why
	Took      time.Duration // how long it took
}
