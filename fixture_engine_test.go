package savepoint_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// faulty wraps an engine: it fails where a test wants it to, and checks how the library uses it.
type faulty struct {
	engine.Engine
	stays bool // Close leaves the wrapped engine open

	mu      sync.Mutex
	writing bool // a Commit or SetNote is running
	broken  []string
	commits int
	refuse  func(commit, step int, s engine.Step) error       // refuses one step
	fail    func(commit int) (stored bool, err error)         // fails the whole Commit
	damage  func(machine string, it *engine.Item) (lost bool) // changes or loses an item that is read
	head    func(machine string) error                        // damages a head that is read
	loaded  func(machine string, want engine.LoadRange)       // is called after each Load
	gate    chan struct{}                                     // each Commit waits for it, if it is not nil
	delay   func()                                            // is called within each Commit
}

// newFaulty returns an engine in memory without faults.
func newFaulty() *faulty { return &faulty{Engine: memory.New()} }

// begin notes a write that starts, and reports one that is still running.
func (f *faulty) begin(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writing {
		f.broken = append(f.broken, what+" while another write runs")
	}
	f.writing = true
}

func (f *faulty) end() {
	f.mu.Lock()
	f.writing = false
	f.mu.Unlock()
}

// set runs change, which sets the faults, under the lock.
func (f *faulty) set(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
}

func (f *faulty) Commit(ctx context.Context, steps []engine.Step, out []engine.Result) error {
	f.begin("Commit")
	defer f.end()
	f.mu.Lock()
	n, refuse, fail, gate, delay := f.commits, f.refuse, f.fail, f.gate, f.delay
	f.commits++
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if delay != nil {
		delay()
	}
	stored, err := true, error(nil)
	if fail != nil {
		stored, err = fail(n)
	}
	if !stored {
		return err
	}
	// After a refused step the engine refuses the machine's other steps of the group: they were made for a state
	// that was not stored.
	refused := map[string]bool{}
	for i := range steps {
		var why error
		if refuse != nil {
			why = refuse(n, i, steps[i])
		}
		for _, w := range steps[i].Writes {
			if refused[w.Machine] && why == nil {
				why = &engine.Conflict{Machine: w.Machine, Want: w.Expect, Have: w.Expect + 1}
			}
		}
		if why == nil {
			if err := f.Engine.Commit(ctx, steps[i:i+1], out[i:i+1]); err != nil {
				return err
			}
			why = out[i].Err
		}
		if why != nil {
			out[i] = engine.Result{Err: why}
			for _, w := range steps[i].Writes {
				refused[w.Machine] = true
			}
		}
	}
	return err
}

func (f *faulty) SetNote(ctx context.Context, name string, value []byte) error {
	f.begin("SetNote")
	defer f.end()
	return f.Engine.SetNote(ctx, name, value)
}

func (f *faulty) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	f.mu.Lock()
	damage, bad, loaded := f.damage, f.head, f.loaded
	f.mu.Unlock()
	h, err := f.Engine.Load(ctx, machine, want, func(it engine.Item) error {
		if damage != nil && damage(machine, &it) {
			return nil
		}
		return fn(it)
	})
	if err == nil && bad != nil {
		if why := bad(machine); why != nil {
			h, err = engine.Head{}, &engine.Damage{Machine: machine, Part: "head", Why: why}
		}
	}
	if loaded != nil {
		loaded(machine, want)
	}
	return h, err
}

func (f *faulty) Close() error {
	if f.stays {
		return nil
	}
	return f.Engine.Close()
}

// openFaulty opens a database on f and registers a kind.
func openFaulty(t testing.TB, f *faulty, o savepoint.Options, k savepoint.Kind[tally]) (*savepoint.DB, *savepoint.Store[tally]) {
	t.Helper()
	o.Engine = f
	db, err := savepoint.Open("faulty", &o)
	require.NoError(t, err)
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	return db, s
}

// bubble runs a test in a bubble of testing/synctest, with a clock of its own: a wait that never ends fails at once.
func bubble(t *testing.T, fn func(t *testing.T, ctx context.Context)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		fn(t, ctx)
	})
}
