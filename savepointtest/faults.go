package savepointtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// Faults is an engine around another one that fails where it is told to: give it
// to savepoint.Options.Engine. Close leaves the engine within open, so that a
// test can open a second database on the same Faults, as after a crash, and see
// what is there.
type Faults struct {
	engine.Engine

	mu     sync.Mutex
	faults []Fault
	n      int // commits begun
}

// NewFaults is an engine without faults around e, or around a new one in memory
// if e is nil.
func NewFaults(e engine.Engine) *Faults {
	if e == nil {
		e = memory.New()
	}
	return &Faults{Engine: e}
}

// Fault is what happens to one commit or more. A commit makes one or more writes
// durable together.
type Fault struct {
	// Commit is which one, counted from Inject on: 1 is the next.
	Commit int
	// Times is how many in a row; 0 is one, below zero is for ever.
	Times int
	// Err is what they answer; nil: they succeed, if slowly. An error that matches
	// engine.ErrNothingStored may be tried again; after any other one the
	// database stops writing and its writes are in doubt.
	Err error
	// Stored says that the writes are stored all the same.
	Stored bool
	// Delay is how long they take besides.
	Delay time.Duration
}

// ErrInjected is matched by the errors of Fail and InDoubt.
var ErrInjected = errors.New("savepointtest: injected")

// Fail is a disk that fails with the nth commit, for ever: nothing of it is
// stored, and the database stops.
func Fail(n int) Fault {
	return Fault{Commit: n, Times: -1, Err: fmt.Errorf("%w: the disk fails", ErrInjected)}
}

// FailOnce is an engine that refuses the nth commit and takes it the next time.
func FailOnce(n int) Fault {
	return Fault{Commit: n, Err: fmt.Errorf("%w: %w", ErrInjected, engine.ErrNothingStored)}
}

// InDoubt is a disk that fails with the nth commit so that nobody knows whether
// it is stored; stored says so.
func InDoubt(n int, stored bool) Fault {
	return Fault{Commit: n, Times: -1, Err: fmt.Errorf("%w: %w", ErrInjected, engine.ErrInDoubt), Stored: stored}
}

// DiskFull is a disk that is full from the nth commit on, for so many commits.
func DiskFull(n, times int) Fault {
	return Fault{Commit: n, Times: times, Err: fmt.Errorf("%w: %w", engine.ErrDiskFull, engine.ErrNothingStored)}
}

// Slow makes every commit take longer.
func Slow(by time.Duration) Fault { return Fault{Commit: 1, Times: -1, Delay: by} }

// Inject adds a fault.
func (f *Faults) Inject(x Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x.Commit += f.n
	f.faults = append(f.faults, x)
}

// Heal takes all faults away.
func (f *Faults) Heal() {
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
}

// Commits is how many commits were begun.
func (f *Faults) Commits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// Commit implements engine.Engine.
func (f *Faults) Commit(ctx context.Context, steps []engine.Step, out []engine.Result) error {
	failing, delay := f.next()
	if delay > 0 {
		time.Sleep(delay)
	}
	if failing == nil {
		return f.Engine.Commit(ctx, steps, out)
	}
	if failing.Stored {
		if err := f.Engine.Commit(ctx, steps, out); err != nil {
			return err
		}
		for i := range out {
			out[i].Pos = nil
		}
	}
	return failing.Err
}

// next counts a commit and gives its fault, the one that was injected first.
func (f *Faults) next() (failing *Fault, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	for i := range f.faults {
		x := f.faults[i]
		last := x.Commit + max(0, x.Times-1)
		if f.n < x.Commit || x.Times >= 0 && f.n > last {
			continue
		}
		delay += x.Delay
		if x.Err != nil && failing == nil {
			failing = &x
		}
	}
	return failing, delay
}

// Close implements engine.Engine; the engine within stays open.
func (f *Faults) Close() error { return nil }
