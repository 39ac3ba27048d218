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

// Faults wraps an engine and makes commits fail or wait: set it as
// savepoint.Options.Engine. Its Close does not close the wrapped engine, so that a
// test can open a second database on the same Faults, as after a crash, and check
// what is stored. Methods may be called from several goroutines at once.
type Faults struct {
	engine.Engine

	mu     sync.Mutex
	faults []Fault
	n      int // number of commits started
}

// NewFaults returns a Faults without faults around e, or around a new engine in
// memory if e is nil.
func NewFaults(e engine.Engine) *Faults {
	if e == nil {
		e = memory.New()
	}
	return &Faults{Engine: e}
}

// Fault changes the result of one or more consecutive commits. A commit makes one
// or more writes durable together.
type Fault struct {
	// Commit is the number of the first of these commits, counted from Inject on: 1
	// is the next commit.
	Commit int
	// Times is the number of these commits; 0 means one, below zero all later ones.
	Times int
	// Err is the error that they return, nil if they succeed. After an error that
	// matches engine.ErrNothingStored the database may commit again; after any other
	// error it stops writing, and the writes of the commit are in doubt.
	Err error
	// Stored makes the wrapped engine store the writes although Err is returned.
	Stored bool
	// Delay is waited for before each of these commits.
	Delay time.Duration
}

// ErrInjected is matched by the errors of Fail and InDoubt.
var ErrInjected = errors.New("savepointtest: injected")

// Fail returns a disk failure: the nth commit and all later ones fail and store
// nothing, and the database stops writing.
func Fail(n int) Fault {
	return Fault{Commit: n, Times: -1, Err: fmt.Errorf("%w: the disk fails", ErrInjected)}
}

// FailOnce makes the nth commit fail with an error that matches
// engine.ErrNothingStored, and the next one succeed.
func FailOnce(n int) Fault {
	return Fault{Commit: n, Err: fmt.Errorf("%w: %w", ErrInjected, engine.ErrNothingStored)}
}

// InDoubt makes the nth commit and all later ones return an error that matches
// engine.ErrInDoubt. With stored the writes are stored, otherwise not.
func InDoubt(n int, stored bool) Fault {
	return Fault{Commit: n, Times: -1, Err: fmt.Errorf("%w: %w", ErrInjected, engine.ErrInDoubt), Stored: stored}
}

// DiskFull makes the nth commit and those after it, the given number of times, fail
// with an error that matches engine.ErrDiskFull.
func DiskFull(n, times int) Fault {
	return Fault{Commit: n, Times: times, Err: fmt.Errorf("%w: %w", engine.ErrDiskFull, engine.ErrNothingStored)}
}

// Slow delays every commit.
func Slow(by time.Duration) Fault { return Fault{Commit: 1, Times: -1, Delay: by} }

// Inject adds a fault. If several apply to a commit, their delays add up, and the
// first one with an Err determines the result.
func (f *Faults) Inject(x Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x.Commit += f.n
	f.faults = append(f.faults, x)
}

// Heal removes all faults.
func (f *Faults) Heal() {
	f.mu.Lock()
	f.faults = nil
	f.mu.Unlock()
}

// Commits returns the number of commits started so far.
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

// next counts a commit and returns the first fault that makes it fail, and the sum
// of the delays.
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

// Close implements engine.Engine. It does nothing: the wrapped engine stays open.
func (f *Faults) Close() error { return nil }
