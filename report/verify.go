package report

import "fmt"

// Verify is what a Verify found.
type Verify struct {
	Kind, ID string
	// Events is how many records were read.
	Events int
	// Upcast is how many of Events were not compared with what is stored. These
	// are the records that an older version of the kind wrote, those applied to a
	// state that an older version wrote, and those that this program cannot read:
	// what is stored of them has another form than the replay.
	Upcast int
	// Snapshots is how many snapshots were compared.
	Snapshots int
	// Head is the seq of the newest record.
	Head uint64
	// Divergences are the differences, in the order of At.
	Divergences []Divergence
	// Gaps are the records that recoveries gave up. The replay starts again after
	// each of them.
	Gaps []Gap
}

// OK reports whether the replay found no difference.
func (r *Verify) OK() bool { return len(r.Divergences) == 0 }

// Gap is a range of records, From and To included.
type Gap struct{ From, To uint64 }

// Divergence is a place where a replay differs from what is stored.
type Divergence struct {
	Seq  uint64 // the first record after which the difference was seen; its cause may be an earlier record
	Name string // the event of that record
	At   uint64 // the record whose stored phase, snapshot or state differs
	What string // what differs
}

func (d Divergence) String() string {
	return fmt.Sprintf("record %d (%s): %s", d.Seq, d.Name, d.What)
}
