package savepoint

import (
	"context"
	"errors"
	"fmt"
	"iter"

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
			yield(Record[S]{}, fmt.Errorf("watch %s %.60q from %d: %w", s.kind.name, id, after, s.db.explain(s.kind, id, err)))
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
	bell := db.news.await(w.machine.key)
	defer db.news.leave(w.machine.key, bell)
	stopped := db.stopped.Load() // before the look: it sees all that is durable then
	seen, err := w.look(ctx, yield)
	if err == nil && !seen {
		err = db.hear(ctx, bell, stopped)
	}
	return err
}

// look yields what there is.
func (w *watcher[S]) look(ctx context.Context, yield func(Record[S], error) bool) (seen bool, err error) {
	k := w.store.kind
	walk := walk{db: w.store.db, kind: k, machine: w.machine, r: Range{After: w.after}, lift: lifter{kind: k, id: w.machine.id}}
	for more := true; more; {
		var entries []walked
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
