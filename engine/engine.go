// Package engine is the seam between savepoint and whatever stores its bytes.
//
// An engine stores steps durably and reads them back. Its calls are in the
// library's own words (machines, events, snapshots, heads), not in keys and
// values, so that an engine across a network needs one round trip per call.
//
// The caller's bytes (Event.Bytes, Snapshot.Bytes, Head.Bytes, notes) are opaque
// to an engine, with two exceptions: it may read an event's Terms from
// Event.Bytes, see Querier, and whether a snapshot is pinned from Snapshot.Bytes,
// see Snapshot. It must accept bytes in which it recognizes neither.
//
// Package enginetest holds the conformance suite every engine has to pass.
package engine

import "context"

// Engine stores steps. All methods may be called from several goroutines at
// once, except that the caller runs at most one Commit or SetNote at a time.
//
// Load, Scan and the methods of Feeder and Querier share these rules. fn is
// called from the calling goroutine and must not call the engine. An error of fn
// ends the call and is returned; Stop ends it without an error. Bytes passed to
// fn are lent: they are valid until fn returns, and must not be changed. When ctx
// ends, the call returns the error of ctx, possibly after some more calls of fn.
type Engine interface {
	// Commit makes the steps durable, in order, and fills out[i] for steps[i];
	// len(out) == len(steps). Each step sees what the steps before it stored, so
	// that one machine may be written several times in a group. A step is refused
	// alone, as a whole and before any part of it is stored: out[i].Err is then a
	// *Conflict, ErrTooLarge, ErrUnsupported, the error of Step.Check or another
	// error, and the other steps go on.
	//
	// An error of Commit itself applies to every step that was not refused alone.
	// errors.Is(err, ErrNothingStored) promises that none of them is stored and
	// that Commit may be called again; after any other error they are in doubt
	// and Commit must not be called again. A ctx that has ended before Commit
	// starts is an error that matches ErrNothingStored.
	//
	// The engine keeps no slice of a step after Commit returned.
	Commit(ctx context.Context, steps []Step, out []Result) error

	// Load reads one machine: its head, and the items that want selects, all
	// snapshots before all events, each in the order of seq, or in reverse with
	// LoadRange.Newest. A machine that does not exist has a Head whose Number is
	// 0, and no items. Item.Bytes is lent; Head.Bytes is the caller's.
	//
	// A damaged value is passed to fn as an Item with Err set, and the items after
	// it follow. If the head is damaged, Load returns a *Damage after it has passed
	// on the items that can still be found; at most Number of the Head is set then.
	// After any other error the Head is not to be used; after Stop it is valid.
	//
	// Head and items are of one moment, whatever is committed meanwhile. A Load
	// that takes the engine several transactions cannot always keep that: if, in
	// between, the machine is purged, its events are trimmed or restored, or a
	// snapshot that is still to be read is removed or replaced, Load returns an
	// error that matches ErrChanged instead of a mixture. The items passed to fn
	// until then are those of the first moment. The caller loads again, and has to
	// expect that a retry ends with ErrChanged too.
	Load(ctx context.Context, machine string, want LoadRange, fn func(Item) error) (Head, error)

	// Scan calls fn for the machines whose key starts with prefix and is greater
	// than after, in the order of the keys' bytes, at most limit of them
	// (0 = all). Head.Bytes is lent. A damaged head does not end the Scan: it is
	// passed to fn with Head.Err set to a *Damage. Each head is of one moment, but
	// all of them together need not be: a machine that is created or purged during
	// the Scan may be seen or not, and none is seen twice.
	Scan(ctx context.Context, prefix, after string, limit int, fn func(machine string, h Head) error) error

	// Note reads a small named value: nil if it was never set or is removed. The
	// returned bytes are the caller's. The name is not empty. It may run during a
	// Commit or SetNote, and then returns the value before or after it.
	Note(ctx context.Context, name string) ([]byte, error)

	// SetNote stores a small named value durably; nil removes it, a value of
	// length 0 does not. The engine keeps no slice of the value. After an error
	// that matches ErrInDoubt the value may be stored or not, after any other error
	// it is not.
	SetNote(ctx context.Context, name string, value []byte) error

	// Versions counts the machines of a kind, tombstones included, by the Schema
	// of their newest write. The counts are stored with the heads: no machine is
	// read for them. A machine whose head is damaged may be counted under its last
	// version, or not at all. The map is the caller's.
	Versions(ctx context.Context, kind uint32) (map[uint64]int64, error)

	// Limits returns the engine's fixed abilities.
	Limits() Limits

	// Size returns the space that the engine occupies now.
	Size(ctx context.Context) (Size, error)

	// Close releases everything. Every later call returns ErrClosed; a second
	// Close does nothing.
	Close() error
}

// Limits holds an engine's fixed abilities.
type Limits struct {
	AtomicAcross bool // a step may have writes to several machines
	MaxStep      int  // most bytes of one step, of which the engine counts at least those of its events, snapshots and heads; 0 = no limit of its own
}

// Size is the space that an engine occupies.
type Size struct {
	FileBytes int64 // on disk; 0 in memory
	Machines  int64 // number of machines that exist, tombstones included
}

// Step is stored as a whole or not at all. An engine refuses a step that breaks a
// rule stated here or at Write; Check tests these rules.
type Step struct {
	Writes []Write // of different machines; more than one only where Limits.AtomicAcross
}

// Write is one machine's part of a step. It occupies Seq-Expect positions, one
// per seq that it adds, even if that seq has no event. A write with Seq == Expect
// occupies no position; its other fields are applied too.
type Write struct {
	Machine string // the machine's key: any bytes, not empty; every engine accepts at least 1,024 of them
	Kind    uint32 // number of the kind, stored with each value
	Schema  uint64 // schema version, stored with each value

	Expect uint64 // the head's seq before the write; 0 = the machine does not exist
	Seq    uint64 // the head's seq after the write; at least 1 and at least Expect+len(Events), seqs skipped have no event

	Events    []Event    // the records Seq-len(Events)+1 .. Seq
	Snapshots []Snapshot // each of any seq from 0 up to Seq; replaces a stored snapshot of the same seq
	Head      []byte     // the caller's part of the head; replaces the stored one

	Drop    []uint64      // seqs of snapshots to remove before Snapshots are stored; those that do not exist are skipped
	TrimTo  uint64        // events up to and including this seq are removed, those of this write included; at most Seq
	Restore []StoredEvent // events to store again; they replace all events up to the last of them; not with TrimTo
	Purge   bool          // remove the machine; all fields but Machine and Expect are ignored, and a later write creates a new machine

	Token [16]byte // identifies this attempt to write; stored with the head
}

// Event is one record of a machine.
type Event struct {
	Bytes []byte // canonical bytes, covered by the caller's digest chain
	Terms Terms  // what queries filter on; the same as in Bytes, if Bytes encode terms
}

// StoredEvent is an event with the terms, seq and position that it had when it
// was removed, for Write.Restore: seqs ascend and are at most Expect, positions
// ascend.
type StoredEvent struct {
	Event
	Seq, Pos uint64
}

// Terms holds the parts of an event that an engine may index.
type Terms struct {
	Name, From, To, Actor string
	Origin                uint8
	Time                  int64 // microseconds since 1970
}

// Snapshot is an encoded state right after record Seq. An engine may recognize a
// pinned snapshot (one that a machine can be rebuilt from without older events)
// by the first two of its Bytes, and store it with more care. Engine bolt does:
// it compresses a pinned snapshot without a shared dictionary.
type Snapshot struct {
	Seq   uint64
	Bytes []byte
}

// Result is the outcome of one step.
//
// Positions start at 1 and grow over the whole engine, in the order of steps
// and of the writes in them. Those of one write are consecutive: record s has
// Pos-(Seq-s). Between writes there may be gaps. A position is never assigned
// again, not even after its machine is purged or the engine is opened again.
type Result struct {
	Pos []uint64 // for each write the position of the machine's record Seq, 0 for a purge; nil when Err is set; the caller's to keep
	Err error
}

// Head is the current end of a machine.
type Head struct {
	Number uint64 // the machine number, never reused; 0 = no such machine
	Seq    uint64
	Pos    uint64   // of the record Seq
	Token  [16]byte // of the last write
	Bytes  []byte   // the caller's part
	Err    error    // a *Damage, set in Scan only: the head is damaged
}

// Part is the type of an Item.
type Part uint8

// The parts of a machine that Load delivers.
const (
	PartSnapshot Part = iota + 1
	PartEvent
)

// Item is one value of a machine, or the report that values are damaged.
type Item struct {
	Part  Part
	Seq   uint64
	Last  uint64 // last seq of damaged consecutive events, as far as it is known; otherwise Seq
	Pos   uint64 // of an event; 0 if it is damaged
	Bytes []byte // lent; nil if Err is set
	Err   error  // a *Damage
}

// SnapshotSelection selects the snapshots that a Load delivers.
type SnapshotSelection uint8

// The selections of snapshots.
const (
	NoSnapshot     SnapshotSelection = iota
	NewestSnapshot                   // the newest at or before SnapshotTo
	EverySnapshot                    // all at or before SnapshotTo
)

// LoadRange selects the items of a machine that a Load delivers.
type LoadRange struct {
	Snapshot   SnapshotSelection
	SnapshotTo uint64 // highest seq of a snapshot
	Events     bool
	After, To  uint64 // events with After < seq <= To; with NewestSnapshot, After is raised to the seq of the snapshot found, damaged or not, if that is higher
	Newest     bool   // snapshots newest first, then events newest first
}

// All is the value of To or SnapshotTo that includes every seq.
const All = ^uint64(0)
