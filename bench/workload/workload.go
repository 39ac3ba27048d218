// Package workload gives the benchmarks something to store: the events of
// generated games, recorded ones, and bytes that do not compress.
package workload

import (
	"context"
	"fmt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
)

// Payload is one event's ready bytes, with the terms that an engine may index.
// They are what the typed API hands to its engine for that event.
type Payload struct {
	Bytes []byte
	Terms engine.Terms
}

// Load is what one run stores: a list of events for each of its machines.
// Machines have different lists. It is read by many goroutines and never changed.
type Load struct {
	Name     string
	payloads [][]Payload
	average  float64
	typed    func() Typed
}

// Machines is how many machines have lists of their own.
func (l *Load) Machines() int { return len(l.payloads) }

// Average is the mean length of an event in bytes, uncompressed.
func (l *Load) Average() float64 { return l.average }

// At is the payload of a machine's record seq (1, 2, ...). Behind the end of the
// machine's list it begins again: to an engine the bytes are opaque.
func (l *Load) At(machine int, seq uint64) Payload {
	list := l.payloads[machine%len(l.payloads)]
	return list[int((seq-1)%uint64(len(list)))]
}

// Typed is the same load for the typed API.
func (l *Load) Typed() Typed { return l.typed() }

// Key is the name of a machine.
func Key(machine int) string { return fmt.Sprintf("game/g-%05d", machine) }

// Typed uses the machines of a load through the typed API of a database. A
// machine whose list of events is used up goes on under another id, so that
// events stay valid in their order.
type Typed interface {
	// Register tells the database about the kind.
	Register(db *savepoint.DB, policy savepoint.SnapshotPolicy) error
	// Go appends the record seq of a machine without waiting.
	Go(ctx context.Context, machine int, seq uint64, opts ...savepoint.WriteOption) *savepoint.Ack
	// View looks at a machine as it is after seq, Load copies it, Snapshot
	// stores a snapshot of it.
	View(ctx context.Context, machine int, seq uint64) error
	Load(ctx context.Context, machine int, seq uint64) error
	Snapshot(ctx context.Context, machine int, seq uint64) error
	// Rebuild reads what a recovery would read and rebuilds the machine from it.
	Rebuild(ctx context.Context, machine int, seq uint64) error
	// Count sums up the events of all machines.
	Count(ctx context.Context) (int64, error)
}

// Ways are the payloads that New knows, in the order of reports.
var Ways = []string{"games", "recorded", "random"}

// New makes a load of that many machines with at most that many events each.
// The recorded games are read from the file at path.
func New(name string, machines, events int, path string) (*Load, error) {
	switch name {
	case "games":
		return games(machines, events)
	case "recorded":
		return recorded(machines, events, path)
	case "random":
		return random(machines, events)
	}
	return nil, fmt.Errorf("no payload %q: use one of %v", name, Ways)
}
