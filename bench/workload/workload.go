// Package workload makes the content that the benchmarks store: events of generated
// games, events of recorded games, and bytes that do not compress.
package workload

import (
	"context"
	"fmt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
)

// Payload holds the encoded bytes of one event, with the terms that an engine may
// index. They are what the typed API passes to its engine for that event.
type Payload struct {
	Bytes []byte
	Terms engine.Terms
}

// Load is the content of one run: a list of events for each of its machines.
// Machines have different lists. It does not change, and may be read by several goroutines.
type Load struct {
	Name     string
	payloads [][]Payload
	average  float64
	typed    func() Typed
}

// Machines returns how many machines have lists of their own.
func (l *Load) Machines() int { return len(l.payloads) }

// Average returns the mean length of an event in bytes, uncompressed.
func (l *Load) Average() float64 { return l.average }

// At returns the payload of a machine's record seq (1, 2, ...). After the end of the
// machine's list it starts again at the first event: to an engine the bytes are opaque.
func (l *Load) At(machine int, seq uint64) Payload {
	list := l.payloads[machine%len(l.payloads)]
	return list[int((seq-1)%uint64(len(list)))]
}

// Typed returns the load for the typed API.
func (l *Load) Typed() Typed { return l.typed() }

// Key returns the key of a machine.
func Key(machine int) string { return fmt.Sprintf("game/g-%05d", machine) }

// Typed uses the machines of a load through the typed API of a database. A machine
// whose list of events is used up continues under another id, so that each event is
// valid after those before it.
type Typed interface {
	// Register registers the kind.
	Register(db *savepoint.DB, policy savepoint.SnapshotPolicy) error
	// Go appends record seq of a machine without waiting.
	Go(ctx context.Context, machine int, seq uint64, opts ...savepoint.WriteOption) *savepoint.Ack
	// View reads the state of a machine after seq without a copy, Load copies it,
	// Snapshot stores a snapshot of it.
	View(ctx context.Context, machine int, seq uint64) error
	Load(ctx context.Context, machine int, seq uint64) error
	Snapshot(ctx context.Context, machine int, seq uint64) error
	// Rebuild reads what a recovery would read and rebuilds the machine from it.
	Rebuild(ctx context.Context, machine int, seq uint64) error
	// Count returns the number of events of all machines.
	Count(ctx context.Context) (int64, error)
}

// Ways lists the names of payloads that New accepts, in the order of reports.
var Ways = []string{"games", "recorded", "random"}

// New makes a load of the given number of machines with at most the given number of events each.
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
