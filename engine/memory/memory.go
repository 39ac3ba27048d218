// Package memory is the engine that stores everything in memory and nothing on
// disk. It is used for the path ":memory:", and as the model in tests.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/liap-tui/savepoint/engine"
)

var (
	_ engine.Engine   = (*Engine)(nil)
	_ engine.Feeder   = (*Engine)(nil)
	_ engine.Querier  = (*Engine)(nil)
	_ engine.Bucketer = (*Engine)(nil)
)

// Engine is an engine.Engine that exists in memory only: Close removes everything.
// Commit copies the steps. The bytes lent to callbacks are copies too, and are
// overwritten after the callback returned, so that tests detect a caller that keeps
// lent bytes. Callbacks run without a lock and see the machine at one moment.
//
// Invariants, under mu:
//  1. order holds exactly the machines of the map.
//  2. The elements of a machine's slices are never changed in place; the spare
//     capacity of events is written by Commit only. So a copy of the struct that is
//     made under the lock can be read without the lock.
//  3. number and pos only increase; every number and position in use is at most
//     number or pos.
//  4. index has an entry for each position at which an event was ever stored,
//     ascending, even if the event was trimmed or purged since.
type Engine struct {
	limits engine.Limits

	mu       sync.RWMutex
	closed   bool
	machines map[string]*machine
	order    order
	notes    map[string][]byte
	number   uint64 // the last machine number assigned
	pos      uint64 // the last position assigned
	index    []indexEntry
	versions map[version]int64 // number of machines of each version
}

// New returns an empty engine without limits.
func New() *Engine {
	return NewLimited(engine.Limits{AtomicAcross: true})
}

// NewLimited returns an empty engine that refuses steps beyond the limits, like an
// engine with fewer abilities. The size of a step is that of its machine keys,
// events, snapshots and heads.
func NewLimited(limits engine.Limits) *Engine {
	return &Engine{
		limits:   limits,
		machines: make(map[string]*machine),
		notes:    make(map[string][]byte),
		versions: make(map[version]int64),
	}
}

// rlock locks the engine for reading. After an error it is not locked.
func (e *Engine) rlock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.RLock()
	if e.closed {
		e.mu.RUnlock()
		return engine.ErrClosed
	}
	return nil
}

// Commit implements engine.Engine.
func (e *Engine) Commit(ctx context.Context, steps []engine.Step, out []engine.Result) error {
	if err := ctx.Err(); err != nil {
		return nothingStored(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nothingStored(engine.ErrClosed)
	}
	for i := range steps {
		out[i] = e.commitStep(steps[i])
	}
	return nil
}

func nothingStored(why error) error {
	return fmt.Errorf("%w: %w", engine.ErrNothingStored, why)
}

func (e *Engine) commitStep(step engine.Step) engine.Result {
	if err := e.refuse(step); err != nil {
		return engine.Result{Err: err}
	}
	pos := make([]uint64, len(step.Writes))
	for i := range step.Writes {
		pos[i] = e.write(&step.Writes[i])
	}
	return engine.Result{Pos: pos}
}

// refuse returns the error for which the step cannot be stored, or nil.
func (e *Engine) refuse(step engine.Step) error {
	if err := step.Check(); err != nil {
		return err
	}
	if len(step.Writes) > 1 && !e.limits.AtomicAcross {
		return fmt.Errorf("step of %d machines: %w", len(step.Writes), engine.ErrUnsupported)
	}
	if limit := e.limits.MaxStep; limit > 0 {
		if size := stepSize(step); size > limit {
			return fmt.Errorf("step of %d bytes, at most %d: %w", size, limit, engine.ErrTooLarge)
		}
	}
	var positions uint64
	for i := range step.Writes {
		w := &step.Writes[i]
		var have uint64
		if m := e.machines[w.Machine]; m != nil {
			have = m.head.Seq
		}
		if w.Expect != have {
			return &engine.Conflict{Machine: w.Machine, Want: w.Expect, Have: have}
		}
		if w.Purge {
			continue
		}
		taken := w.Seq - w.Expect
		if taken > math.MaxUint64-e.pos-positions {
			return fmt.Errorf("write to machine %q: no positions left", w.Machine)
		}
		positions += taken
	}
	return nil
}

func stepSize(step engine.Step) int {
	var n int
	for i := range step.Writes {
		w := &step.Writes[i]
		n += len(w.Machine) + len(w.Head)
		for j := range w.Events {
			n += len(w.Events[j].Bytes)
		}
		for j := range w.Snapshots {
			n += len(w.Snapshots[j].Bytes)
		}
		for j := range w.Restore {
			n += len(w.Restore[j].Bytes)
		}
	}
	return n
}

// write stores a write that refuse has accepted, and returns the position of its
// record Seq, 0 for a purge.
func (e *Engine) write(w *engine.Write) uint64 {
	m := e.machines[w.Machine]
	if w.Purge {
		if m != nil {
			delete(e.machines, m.key)
			e.order.remove(m.key)
			e.count(m, -1)
		}
		return 0
	}
	if m == nil {
		e.number++
		m = &machine{key: w.Machine, head: engine.Head{Number: e.number}}
		e.machines[m.key] = m
		e.order.insert(m)
	} else {
		e.count(m, -1)
	}
	if w.Seq > w.Expect {
		e.pos += w.Seq - w.Expect
		m.head.Pos = e.pos
	}
	m.apply(w)
	for i := range w.Restore {
		e.restoreEntry(m, w.Kind, &w.Restore[i])
	}
	for i := range w.Events {
		back := uint64(len(w.Events) - 1 - i)
		e.index = append(e.index, indexEntry{m.head.Pos - back, w.Seq - back, m, w.Kind, w.Events[i].Terms})
	}
	e.count(m, 1)
	return m.head.Pos
}

// version is a schema version of a kind.
type version struct {
	kind   uint32
	schema uint64
}

func (e *Engine) count(m *machine, by int64) {
	v := version{m.kind, m.schema}
	if e.versions[v] += by; e.versions[v] == 0 {
		delete(e.versions, v)
	}
}

// Versions implements engine.Engine.
func (e *Engine) Versions(ctx context.Context, kind uint32) (map[uint64]int64, error) {
	if err := e.rlock(ctx); err != nil {
		return nil, err
	}
	defer e.mu.RUnlock()
	out := map[uint64]int64{}
	for v, n := range e.versions {
		if v.kind == kind {
			out[v.schema] = n
		}
	}
	return out, nil
}

// Load implements engine.Engine.
func (e *Engine) Load(ctx context.Context, key string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	m, err := e.load(ctx, key)
	if err != nil || m.head.Number == 0 {
		return engine.Head{}, err
	}
	if err := m.deliver(ctx, want, fn); err != nil && !errors.Is(err, engine.Stop) {
		return engine.Head{}, err
	}
	m.head.Bytes = bytes.Clone(m.head.Bytes)
	return m.head, nil
}

// load returns a copy of the machine, the zero value if it does not exist.
func (e *Engine) load(ctx context.Context, key string) (machine, error) {
	if err := e.rlock(ctx); err != nil {
		return machine{}, err
	}
	defer e.mu.RUnlock()
	if m := e.machines[key]; m != nil {
		return *m, nil
	}
	return machine{}, nil
}

// Scan implements engine.Engine.
func (e *Engine) Scan(ctx context.Context, prefix, after string, limit int, fn func(machine string, h engine.Head) error) error {
	var page [scanPage]heading
	var lent lender
	defer lent.end()
	for {
		want := len(page)
		if limit > 0 && limit < want {
			want = limit
		}
		got, err := e.page(ctx, prefix, after, page[:want])
		if err != nil {
			return err
		}
		for _, at := range page[:got] {
			if err := ctx.Err(); err != nil {
				return err
			}
			at.head.Bytes = lent.lend(at.head.Bytes)
			if err := fn(at.machine, at.head); errors.Is(err, engine.Stop) {
				return nil
			} else if err != nil {
				return err
			}
			after = at.machine
		}
		if limit > 0 {
			if limit -= got; limit == 0 {
				return nil
			}
		}
		if got < want {
			return nil
		}
	}
}

// scanPage is the largest number of heads that a Scan reads under one lock.
const scanPage = 128

type heading struct {
	machine string
	head    engine.Head
}

// page fills into with the next heads and returns their number.
func (e *Engine) page(ctx context.Context, prefix, after string, into []heading) (int, error) {
	if err := e.rlock(ctx); err != nil {
		return 0, err
	}
	defer e.mu.RUnlock()
	n := 0
	for m := range e.order.scan(prefix, after) {
		if n == len(into) {
			break
		}
		into[n] = heading{m.key, m.head}
		n++
	}
	return n, nil
}

// Note implements engine.Engine.
func (e *Engine) Note(ctx context.Context, name string) ([]byte, error) {
	if err := e.rlock(ctx); err != nil {
		return nil, err
	}
	defer e.mu.RUnlock()
	return bytes.Clone(e.notes[name]), nil
}

// SetNote implements engine.Engine.
func (e *Engine) SetNote(ctx context.Context, name string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return engine.ErrClosed
	}
	if value == nil {
		delete(e.notes, name)
	} else {
		e.notes[name] = bytes.Clone(value)
	}
	return nil
}

// Limits implements engine.Engine.
func (e *Engine) Limits() engine.Limits { return e.limits }

// Size implements engine.Engine.
func (e *Engine) Size(ctx context.Context) (engine.Size, error) {
	if err := e.rlock(ctx); err != nil {
		return engine.Size{}, err
	}
	defer e.mu.RUnlock()
	return engine.Size{Machines: int64(len(e.machines))}, nil
}

// Buckets implements engine.Bucketer. The buckets are "events", "machines",
// "notes" and "snapshots"; there are no pages. It takes the lock for a few
// machines at a time.
func (e *Engine) Buckets(ctx context.Context) (engine.Usage, error) {
	events, machines, notes, snapshots := engine.Bucket{Name: "events"}, engine.Bucket{Name: "machines"}, engine.Bucket{Name: "notes"}, engine.Bucket{Name: "snapshots"}
	var page [scanPage]machine
	for after, got := "", len(page); got == len(page); {
		var err error
		if got, err = e.some(ctx, after, page[:]); err != nil {
			return engine.Usage{}, err
		}
		for i := range page[:got] {
			m := &page[i]
			after = m.key
			machines.Entries++
			machines.KeyBytes += int64(len(m.key))
			machines.ValueBytes += int64(len(m.head.Bytes))
			events.Entries += int64(len(m.events))
			for j := range m.events {
				events.ValueBytes += int64(len(m.events[j].bytes))
			}
			snapshots.Entries += int64(len(m.snapshots))
			for j := range m.snapshots {
				snapshots.ValueBytes += int64(len(m.snapshots[j].Bytes))
			}
		}
	}
	if err := e.rlock(ctx); err != nil {
		return engine.Usage{}, err
	}
	defer e.mu.RUnlock()
	notes.Entries = int64(len(e.notes))
	for name, value := range e.notes {
		notes.KeyBytes += int64(len(name))
		notes.ValueBytes += int64(len(value))
	}
	return engine.Usage{Buckets: []engine.Bucket{events, machines, notes, snapshots}}, nil
}

// some fills into with the next machines as they are now, and returns how many
// there were.
func (e *Engine) some(ctx context.Context, after string, into []machine) (n int, err error) {
	if err := e.rlock(ctx); err != nil {
		return 0, err
	}
	defer e.mu.RUnlock()
	for m := range e.order.scan("", after) {
		if n == len(into) {
			break
		}
		into[n] = *m
		n++
	}
	return n, nil
}

// Close implements engine.Engine. It removes everything that was stored.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.machines, e.notes, e.order, e.index, e.versions = nil, nil, order{}, nil, nil
	return nil
}
