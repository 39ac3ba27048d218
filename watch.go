package savepoint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/liap-tui/savepoint/engine"
)

// Watch returns the records of a machine after seq after, and then each new record as it
// becomes durable, until the loop ends. Records and gaps come as [Store.Events] returns
// them. A machine that does not exist yet is waited for. To follow a machine from now on,
// Load it and watch from its Seq.
//
// The last value is an error: the cause of ctx when that ends; ErrClosed when the database
// is closed; ErrStopped when nothing can be written any more; ErrNotFound when the machine
// is purged; ErrCompacted when records after after were removed from the log (Load the
// machine and watch from its Seq); ErrUnsupported under SnapshotOnly, which stores no
// records.
//
// While the body of the loop runs, no lock is held.
func (s *Store[S]) Watch(ctx context.Context, id string, after uint64) iter.Seq2[Record[S], error] {
	return func(yield func(Record[S], error) bool) {
		if err := s.watch(ctx, id, after, yield); err != nil && !errors.Is(err, engine.Stop) {
			yield(Record[S]{}, fmt.Errorf("watch %s %.60q from %d: %w", s.kind.name, id, after, s.db.wrapEngineError(s.kind, id, err)))
		}
	}
}

func (s *Store[S]) watch(ctx context.Context, id string, after uint64, yield func(Record[S], error) bool) error {
	if err := checkID(id); err != nil {
		return err
	}
	if !s.kind.strategy.keepsEvents() {
		return fmt.Errorf("%w: a kind under %s keeps no records", ErrUnsupported, s.kind.strategy)
	}
	w := watcher[S]{store: s, machine: newMachine(s.kind, id), after: after}
	for {
		if err := w.next(ctx, yield); err != nil {
			return err
		}
	}
}

// watcher is the state of one Watch.
type watcher[S any] struct {
	store   *Store[S]
	machine *machine
	number  uint64 // the engine's number of the machine; 0 until it exists
	after   uint64 // the next read starts after this seq
}

// next yields the records that are stored, or waits if there are none.
func (w *watcher[S]) next(ctx context.Context, yield func(Record[S], error) bool) error {
	db := w.store.db
	if db.closed.Load() {
		return ErrClosed
	}
	sub := db.notifier.subscribe(w.machine.key)
	defer db.notifier.unsubscribe(w.machine.key, sub)
	stopped := db.committer.stopped.Load() // before the read, which then returns all that is durable
	seen, err := w.read(ctx, yield)
	if err == nil && !seen {
		err = db.waitForCommit(ctx, sub, stopped)
	}
	return err
}

// read yields the records that are stored, and reports whether there were any.
func (w *watcher[S]) read(ctx context.Context, yield func(Record[S], error) bool) (seen bool, err error) {
	k := w.store.kind
	reader := logReader{db: w.store.db, kind: k, machine: w.machine, want: EventRange{After: w.after}, upcaster: upcaster{kind: k, id: w.machine.id}}
	for more := true; more; {
		var entries []logEntry
		entries, more, err = reader.page(ctx)
		switch {
		case w.number == 0 && reader.number == 0 && errors.Is(err, ErrNotFound):
			return false, nil
		case w.number != 0 && reader.number != w.number && (err == nil || errors.Is(err, ErrNotFound)):
			return false, fmt.Errorf("%w: it was purged", ErrNotFound)
		case reader.number != 0 && reader.damage == nil && w.after < reader.head.Base:
			return false, fmt.Errorf("%w: the log starts after record %d", ErrCompacted, reader.head.Base)
		}
		for i := range entries {
			seen = true
			if !yield(entry[S](&reader, &entries[i])) {
				return true, engine.Stop
			}
		}
		if err != nil {
			return seen, err
		}
	}
	w.number, w.after = reader.number, max(w.after, reader.top)
	return seen, nil
}

// notifier wakes the goroutines that wait for records. They subscribe first, then read
// the engine, and wait for the signal if they found nothing: so they miss no record. The
// committer never waits for any of them.
type notifier struct {
	waiting atomic.Bool // there is a subscription

	mu            sync.Mutex
	subscriptions map[string]*subscription // by machine key; "" is for any machine
}

// subscription is shared by all that wait for one machine.
type subscription struct {
	signal  chan struct{} // closed by the next group that writes to the machine
	waiters int
}

// subscribe returns the subscription to a machine. The caller ends it with
// unsubscribe, whether it was signalled or not.
func (n *notifier) subscribe(machine string) *subscription {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.subscriptions[machine]
	if s == nil {
		s = &subscription{signal: make(chan struct{})}
		if n.subscriptions == nil {
			n.subscriptions = map[string]*subscription{}
		}
		n.subscriptions[machine] = s
		n.waiting.Store(true)
	}
	s.waiters++
	return s
}

func (n *notifier) unsubscribe(machine string, s *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.waiters--; s.waiters == 0 && n.subscriptions[machine] == s {
		n.drop(machine)
	}
}

func (n *notifier) drop(machine string) {
	delete(n.subscriptions, machine)
	n.waiting.Store(len(n.subscriptions) > 0)
}

// notify signals the subscriptions to the machines that a group wrote, or all of them
// when writing has stopped.
func (n *notifier) notify(steps []engine.Step, stopped bool) {
	if !n.waiting.Load() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if stopped {
		for machine := range n.subscriptions {
			n.signal(machine)
		}
		return
	}
	n.signal("")
	for i := range steps {
		for j := range steps[i].Writes {
			n.signal(steps[i].Writes[j].Machine)
		}
	}
}

func (n *notifier) signal(machine string) {
	if s := n.subscriptions[machine]; s != nil {
		close(s.signal)
		n.drop(machine)
	}
}
