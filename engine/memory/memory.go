// Package memory is the engine that keeps everything in memory and nothing on
// disk: the one behind the path ":memory:", and the model in tests.
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
	_ engine.Engine  = (*Engine)(nil)
	_ engine.Feeder  = (*Engine)(nil)
	_ engine.Querier = (*Engine)(nil)
)

// Engine is an engine.Engine whose contents die with it. Commit copies what it
// is given; what callbacks are lent is a copy too, overwritten once they
// returned, so that a caller who keeps lent bytes is found out. Callbacks run
// without a lock and see the machine as it was when the call looked at it.
//
// Invariants, under mu:
//  1. order holds exactly the machines of the map.
//  2. What a machine's slices hold is never changed in place; the events' spare
//     capacity is written by Commit only. So a copy of the struct taken under
//     the lock can be read without it.
//  3. number and pos only grow; every number and position in use is at most them.
//  4. places has each event ever stored, by pos, also those trimmed or purged since.
type Engine struct {
	limits engine.Limits

	mu       sync.RWMutex
	closed   bool
	machines map[string]*machine
	order    order
	notes    map[string][]byte
	number   uint64 // the last machine number given
	pos      uint64 // the last position given
	index    []indexEntry
	versions map[version]int64 // of the machines of the map
}

// New is an empty engine that takes steps of any size to any machines.
func New() *Engine {
	return NewLimited(engine.Limits{AtomicAcross: true})
}

// NewLimited is an empty engine that refuses what is over the limits, as an
// engine with fewer abilities does. The size of a step is that of its machine
// keys, events, snapshots and heads.
func NewLimited(limits engine.Limits) *Engine {
	return &Engine{
		limits:   limits,
		machines: make(map[string]*machine),
		notes:    make(map[string][]byte),
		versions: make(map[version]int64),
	}
}

// rlock takes the lock for a call that looks. It is not held after an error.
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

// refuse tells why the step cannot be stored as a whole.
func (e *Engine) refuse(step engine.Step) error {
	if err := step.Check(); err != nil {
		return err
	}
	if len(step.Writes) > 1 && !e.limits.AtomicAcross {
		return fmt.Errorf("step of %d machines: %w", len(step.Writes), engine.ErrUnsupported)
	}
	if most := e.limits.MaxStep; most > 0 {
		if size := stepSize(step); size > most {
			return fmt.Errorf("step of %d bytes, at most %d: %w", size, most, engine.ErrTooLarge)
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

// write stores one write that nothing speaks against and returns the pos of
// its record Seq.
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
		e.putBack(m, w.Kind, &w.Restore[i])
	}
	for i := range w.Events {
		back := uint64(len(w.Events) - 1 - i)
		e.index = append(e.index, indexEntry{m.head.Pos - back, w.Seq - back, m, w.Kind, w.Events[i].Terms})
	}
	e.count(m, 1)
	return m.head.Pos
}

// version is a kind and a schema version of it.
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

// load is the machine as it is now.
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

// scanPage is how many heads a Scan takes under one lock.
const scanPage = 128

type heading struct {
	machine string
	head    engine.Head
}

// page fills into with the next heads and says how many there were.
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

// Close implements engine.Engine: what was stored is gone.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.machines, e.notes, e.order, e.index, e.versions = nil, nil, order{}, nil, nil
	return nil
}
