// Package engine is the seam between savepoint and whatever keeps its bytes.
//
// An engine stores steps durably and gives them back. It speaks in the
// library's own words (machines, events, snapshots, heads), not in keys and
// values, so that an engine across a network needs one round trip a call. To an
// engine all bytes are opaque but for the Terms of an event, which it may index.
//
// Package enginetest holds the conformance suite every engine has to pass.
package engine

import "context"

// Engine stores steps. All methods may be called from several goroutines at
// once, but Commit and SetNote never run at the same time as another Commit:
// the caller has one committer.
type Engine interface {
	// Commit makes the steps durable, in order, and fills out[i] for steps[i];
	// len(out) == len(steps). Each step meets what the steps before it left, so
	// that one machine may be written several times in a group. A step is refused
	// alone, as a whole and before anything of it is stored: out[i].Err is then a
	// *Conflict, ErrTooLarge, ErrUnsupported, what Step.Check says or another
	// error, and the other steps go on.
	//
	// An error of Commit itself speaks for every step not refused alone.
	// errors.Is(err, ErrNothingStored) promises that none of them is stored and
	// that Commit may be called again; after any other error they are in doubt
	// and the engine must not be asked to commit again. A ctx that is over
	// before Commit begins is an error that matches ErrNothingStored.
	//
	// The engine keeps no slice of a step after Commit returned.
	Commit(ctx context.Context, steps []Step, out []Result) error

	// Load reads one machine: its head, then the items that want names, in the
	// order snapshots before events. A machine that does not exist has a Head
	// whose Number is 0, and no items. A damaged value is delivered as an Item
	// with Err set, and reading goes on behind it; a damaged head is a *Damage
	// from Load itself, after the items that could still be found. An
	// error of fn ends the reading and is returned, but for Stop, which ends it
	// without one: the head is returned all the same. Item.Bytes is lent: it
	// dies when fn returns. Head.Bytes is the caller's.
	//
	// Head and items are of one moment, whatever is committed meanwhile. fn must
	// not call the engine. A ctx that ends, ends the reading with its error, if
	// not at once.
	Load(ctx context.Context, machine string, want LoadRange, fn func(Item) error) (Head, error)

	// Scan calls fn for the machines whose key begins with prefix and is
	// greater than after, in the order of the keys' bytes, at most limit of them
	// (0 = all). Head.Bytes is lent until fn returns. A damaged head has Head.Err
	// set. fn's errors, Stop, its calls and ctx are as in Load. Each head is of
	// one moment, the whole need not be: a machine that comes or goes during the
	// Scan may be seen or not.
	Scan(ctx context.Context, prefix, after string, limit int, fn func(machine string, h Head) error) error

	// Note reads a small named value; nil if it was never set or is removed. The
	// bytes are the caller's. The name is not empty.
	Note(ctx context.Context, name string) ([]byte, error)

	// SetNote stores a small named value durably; nil removes it, a value of
	// length 0 does not. The engine keeps no slice of the caller's.
	SetNote(ctx context.Context, name string, value []byte) error

	// Versions counts the machines of a kind, those that are only tombstones
	// included, by the Schema of their newest write. The counts are kept with the
	// heads: this looks at no machine. One whose head is damaged may count as
	// what it was, or not at all. The map is the caller's.
	Versions(ctx context.Context, kind uint32) (map[uint64]int64, error)

	Limits() Limits

	// Size is what the engine occupies now.
	Size(ctx context.Context) (Size, error)

	// Close releases everything. Every later call answers ErrClosed; a second
	// Close does nothing.
	Close() error
}

// Limits are an engine's fixed abilities.
type Limits struct {
	AtomicAcross bool // a step may have writes to several machines
	MaxStep      int  // bytes of one step as the engine counts them, at least those of its events, snapshots and heads; 0 = no limit of its own
}

// Size is the space an engine takes.
type Size struct {
	FileBytes int64 // on disk, 0 in memory
	Machines  int64 // machines that exist, tombstones included
}

// Step is what lands as a whole. One that breaks a rule stated here or at Write
// is refused; Check knows these rules.
type Step struct {
	Writes []Write // of different machines; more than one only where Limits.AtomicAcross
}

// Write is one machine's part of a step. It takes Seq-Expect positions, one for
// each seq it goes on, also for those that have no event; a write that goes on
// by none takes none and changes the rest of the machine all the same.
type Write struct {
	Machine string // the machine's key: any bytes, not empty; every engine takes 1,024 of them
	Kind    uint32 // number of the kind, kept in the header of each value
	Schema  uint64 // schema version, kept in the header of each value

	Expect uint64 // the head's seq before; 0 = the machine does not exist
	Seq    uint64 // the head's seq after; at least 1 and at least Expect+len(Events), seqs skipped have no event

	Events    []Event    // the records Seq-len(Events)+1 .. Seq
	Snapshots []Snapshot // any seq from 0 up to Seq; replaces a snapshot of the same seq
	Head      []byte     // the caller's part of the head, in place of the one before

	Drop    []uint64      // snapshots to remove before Snapshots are stored; absent ones are passed over
	TrimTo  uint64        // events up to and including this seq are removed, also those of this write; at most Seq
	Restore []StoredEvent // records put back, in the place of all events up to the last of them; not with TrimTo
	Purge   bool          // forget the machine: all but Machine and Expect is ignored; what comes after begins a new machine

	Token [16]byte // of this attempt, kept with the head
}

// Event is one record of a machine.
type Event struct {
	Bytes []byte // canonical bytes, covered by the caller's digest chain
	Terms Terms  // what queries filter on
}

// StoredEvent is an event with the terms and the place that it had when it was
// removed, for Write.Older: seqs ascend and are at most Expect, positions ascend.
type StoredEvent struct {
	Event
	Seq, Pos uint64
}

// Terms are the parts of an event that an engine may index.
type Terms struct {
	Name, From, To, Actor string
	Origin                uint8
	Time                  int64 // microseconds since 1970
}

// Snapshot is an encoded state right after record Seq.
type Snapshot struct {
	Seq   uint64
	Bytes []byte
}

// Result is what became of one step.
//
// Positions begin at 1 and grow over the whole engine, in the order of steps
// and of the writes in them. Those of one write have no holes: record s has
// Pos-(Seq-s). Between writes there may be holes. A position is never given
// again, also not when its machine is purged or the engine opened again.
type Result struct {
	Pos []uint64 // for each write, pos of the machine's record Seq, 0 of a purge; nil when Err is set; the caller's to keep
	Err error
}

// Head is where a machine is.
type Head struct {
	Number uint64 // the machine number, never reused; 0 = no such machine
	Seq    uint64
	Pos    uint64   // of the record Seq
	Token  [16]byte // of the last write
	Bytes  []byte   // the caller's part
	Err    error    // only in Scan: the head is damaged
}

// Part says what an Item is.
type Part uint8

// The parts of a machine.
const (
	PartSnapshot Part = iota + 1
	PartEvent
)

// Item is one value of a machine, or the place where one is damaged.
type Item struct {
	Part  Part
	Seq   uint64
	Last  uint64 // of a damaged stretch of events: its last seq, as far as known; else Seq
	Pos   uint64 // events only
	Bytes []byte
	Err   error // a *Damage
}

// SnapshotSelection says which snapshots a Load delivers.
type SnapshotSelection uint8

// Which snapshots a Load delivers.
const (
	NoSnapshot     SnapshotSelection = iota
	NewestSnapshot                   // the newest at or before SnapshotTo
	EverySnapshot                    // all at or before SnapshotTo
)

// LoadRange says which items of a machine a Load delivers.
type LoadRange struct {
	Snapshot   SnapshotSelection
	SnapshotTo uint64 // highest seq of a snapshot
	Events     bool
	After, To  uint64 // records After < seq <= To; with NewestSnapshot, After is raised to the seq of the snapshot found, damaged or not, if that is higher
	Newest     bool   // snapshots newest first, then events newest first
}

// All is a To that leaves nothing out.
const All = ^uint64(0)
