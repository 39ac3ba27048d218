// Package peer adapts the stores that are compared to one small interface, a file
// for each. Every store does the same: it checks that the machine is at the seq that
// the caller expects, and returns when the event and the machine's new seq are
// durable.
package peer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/bench/workload"
)

// Append is one event to be appended to a store.
type Append struct {
	Number  int    // of the machine in the load
	Machine string // the machine's key: workload.Key(Number)
	Seq     uint64 // of the event; the machine must be at Seq-1
	Event   workload.Payload
	State   []byte // stored as the machine's snapshot of Seq; nil = none
	Err     error  // of a Batch: why this one was refused
}

// Store is an open store. Start and Batch may be called from several goroutines,
// but for one machine the caller waits until Start has returned before it starts
// the next.
type Store interface {
	// Start starts an append and fixes its place in the order of its machine.
	// The append may be reused once Wait has returned.
	Start(a *Append) (Pending, error)
	// Batch makes many appends durable at once. Refused ones have Err set.
	Batch(as []*Append) error
	// Close leaves a store that opens quickly.
	Close() error
}

// Pending is an append that was started.
type Pending interface {
	// Wait waits until it is durable. It is called once.
	Wait() error
}

// Reader is a store that finds the events of one machine without reading those of others.
type Reader interface {
	// Read calls fn for each event of the machine, oldest first, and returns
	// the machine's seq. The bytes are valid until fn returns.
	Read(machine string, fn func(event []byte)) (uint64, error)
}

// Counter is a store that counts what it holds.
type Counter interface {
	// Count counts the events of all machines by reading them.
	Count() (int64, error)
}

// Viewer is a store that keeps live machines.
type Viewer interface {
	Typed() workload.Typed
}

// Peer is a way to store events.
type Peer struct {
	Name     string
	Ours     bool
	Blocking bool // Start waits for the disk: there is no asynchronous way
	Volatile bool // it cannot be opened again
	Open     func(dir string, load *workload.Load) (Store, error)
}

// Names of savepoint's own peers.
const (
	Engine     = "savepoint-engine"
	API        = "savepoint-api"
	APIDefault = "savepoint-api-default"
)

// All returns all peers, savepoint's first.
func All() []Peer {
	return []Peer{
		{Name: Engine, Ours: true, Open: grouped(openEngine)},
		{Name: API, Ours: true, Open: openAPI(cacheOfAll)},
		{Name: APIDefault, Ours: true, Open: openAPI(cacheDefault)},
		{Name: "bbolt-update", Open: single(openBolt), Blocking: true},
		{Name: "pebble", Open: openPebble},
		{Name: "pebble-grouped", Open: grouped(openPebble)},
		{Name: "badger", Open: openBadger},
		{Name: "sqlite-mattn", Open: single(openMattn), Blocking: true},
		{Name: "sqlite-modernc", Open: single(openModernc), Blocking: true},
		{Name: "sqlite-grouped", Open: grouped(openMattn)},
		{Name: "tidwall-wal", Open: grouped(openTidwall)},
		{Name: "raft-wal", Open: grouped(openRaftWAL)},
		{Name: "raft-boltdb", Open: grouped(openRaftBolt)},
		{Name: "limit", Open: grouped(openLimit), Volatile: true},
	}
}

// Find returns the peers with the given names, in the order of All; without names, all.
func Find(names ...string) ([]Peer, error) {
	if len(names) == 0 {
		return All(), nil
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	var found []Peer
	var known []string
	for _, p := range All() {
		known = append(known, p.Name)
		if wanted[p.Name] {
			found = append(found, p)
			delete(wanted, p.Name)
		}
	}
	for n := range wanted {
		return nil, fmt.Errorf("no peer %q: use some of %v", n, known)
	}
	return found, nil
}

// done is the Pending of an append that is durable already.
type done struct{}

func (done) Wait() error { return nil }

// errConflict refuses an append whose machine is not at the expected seq.
var errConflict = errors.New("conflict")

func conflict(a *Append, have uint64) error {
	return fmt.Errorf("%s is at %d, not %d: %w", a.Machine, have, a.Seq-1, errConflict)
}

// eventKey appends the key of an event in a store whose keys are bytes: the events
// of one machine are adjacent and ordered by seq.
func eventKey(to []byte, prefix byte, machine string, seq uint64) []byte {
	to = append(to, prefix)
	to = append(to, machine...)
	to = append(to, 0)
	return binary.BigEndian.AppendUint64(to, seq)
}

// headKey appends the key of a machine's head.
func headKey(to []byte, machine string) []byte {
	return append(append(to, 'h'), machine...)
}

// headValue appends a machine's head, which is its seq.
func headValue(to []byte, seq uint64) []byte { return binary.BigEndian.AppendUint64(to, seq) }

func headSeq(value []byte) uint64 {
	if len(value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}
