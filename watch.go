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

// Watch gives the records of one machine behind seq after, and then those that
// come, as [Store.Events] does: durable ones only, gaps as a *GapError. A machine
// that does not exist yet is waited for. Load and its Seq are where to begin.
//
// It ends with ctx; with ErrClosed when the database is closed; after a failure
// of the disk with an error that matches ErrStopped; with ErrNotFound when the
// machine is purged; and with ErrCompacted when records behind after are not in
// the log any more: load the state and watch from its seq. Under SnapshotOnly
// there are no records to watch: ErrUnsupported.
//
// While the loop's body runs, nothing is held that anybody waits for.
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

// watcher is one Watch.
type watcher[S any] struct {
	store   *Store[S]
	machine *machine
	number  uint64 // of the machine, once it is known
	after   uint64
}

// next yields what there is, or waits.
func (w *watcher[S]) next(ctx context.Context, yield func(Record[S], error) bool) error {
	db := w.store.db
	if db.closed.Load() {
		return ErrClosed
	}
	bell := db.notifier.subscribe(w.machine.key)
	defer db.notifier.unsubscribe(w.machine.key, bell)
	stopped := db.committer.stopped.Load() // before the look: it sees all that is durable then
	seen, err := w.look(ctx, yield)
	if err == nil && !seen {
		err = db.waitForCommit(ctx, bell, stopped)
	}
	return err
}

// look yields what there is.
func (w *watcher[S]) look(ctx context.Context, yield func(Record[S], error) bool) (seen bool, err error) {
	k := w.store.kind
	walk := logReader{db: w.store.db, kind: k, machine: w.machine, r: EventRange{After: w.after}, upcaster: upcaster{kind: k, id: w.machine.id}}
	for more := true; more; {
		var entries []logEntry
		entries, more, err = walk.page(ctx)
		switch {
		case w.number == 0 && walk.number == 0 && errors.Is(err, ErrNotFound):
			return false, nil
		case w.number != 0 && walk.number != w.number && (err == nil || errors.Is(err, ErrNotFound)):
			return false, fmt.Errorf("%w: it was purged", ErrNotFound)
		case walk.number != 0 && walk.damage == nil && w.after < walk.head.Base:
			return false, fmt.Errorf("%w: the log begins at %d", ErrCompacted, walk.head.Base)
		}
		for i := range entries {
			seen = true
			if !yield(entry[S](&walk, &entries[i])) {
				return true, engine.Stop
			}
		}
		if err != nil {
			return seen, err
		}
	}
	w.number, w.after = walk.number, max(w.after, walk.top)
	return seen, nil
}

// notifier wakes those who wait for records. Who waits takes a bell first, looks at
// the engine then, and waits for the bell if there was nothing: so no record is
// missed. The committer never waits for any of them.
type notifier struct {
	waiting atomic.Bool // somebody has a bell

	mu            sync.Mutex
	subscriptions map[string]*subscription // by machine key; "" is for any machine
}

type subscription struct {
	signal chan struct{} // closed by the next group with the machine in it
	heard  int           // how many wait
}

// subscribe gives the bell of a machine; leave gives it back, rung or not.
func (n *notifier) subscribe(machine string) *subscription {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.subscriptions[machine]
	if b == nil {
		b = &subscription{signal: make(chan struct{})}
		if n.subscriptions == nil {
			n.subscriptions = map[string]*subscription{}
		}
		n.subscriptions[machine] = b
		n.waiting.Store(true)
	}
	b.heard++
	return b
}

func (n *notifier) unsubscribe(machine string, b *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b.heard--; b.heard == 0 && n.subscriptions[machine] == b {
		n.drop(machine)
	}
}

func (n *notifier) drop(machine string) {
	delete(n.subscriptions, machine)
	n.waiting.Store(len(n.subscriptions) > 0)
}

// notify rings for what a group wrote, or, where writing has stopped, for all.
func (n *notifier) notify(steps []engine.Step, stopped bool) {
	if !n.waiting.Load() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if stopped {
		for machine := range n.subscriptions {
			n.ring(machine)
		}
		return
	}
	n.ring("")
	for i := range steps {
		for j := range steps[i].Writes {
			n.ring(steps[i].Writes[j].Machine)
		}
	}
}

func (n *notifier) ring(machine string) {
	if b := n.subscriptions[machine]; b != nil {
		close(b.signal)
		n.drop(machine)
	}
}
