package workload

import (
	"context"
	"fmt"

	"github.com/liap-tui/savepoint"
)

// typed implements Typed for machines with the state S.
type typed[S any] struct {
	kind  savepoint.Kind[S]
	lists [][]savepoint.Event[S]
	ids   []string // of each machine's first list, so that a write need not make it
	store *savepoint.Store[S]
}

func newTyped[S any](kind savepoint.Kind[S], lists [][]savepoint.Event[S]) *typed[S] {
	t := &typed[S]{kind: kind, lists: lists, ids: make([]string, len(lists))}
	for i := range lists {
		t.ids[i] = id(i)
	}
	return t
}

// id returns the machine's id: Key without the kind.
func id(machine int) string { return fmt.Sprintf("g-%05d", machine) }

// place returns the id under which a machine's record seq is appended, and the event
// of its list.
func (t *typed[S]) place(machine int, seq uint64) (string, savepoint.Event[S]) {
	list := t.lists[machine%len(t.lists)]
	turn, at := (seq-1)/uint64(len(list)), (seq-1)%uint64(len(list))
	if turn == 0 && machine < len(t.ids) {
		return t.ids[machine], list[at]
	}
	return fmt.Sprintf("%s.%d", id(machine), turn), list[at]
}

// Register registers the kind without its Validate: the cost of the game's own rules
// is not the store's.
func (t *typed[S]) Register(db *savepoint.DB, policy savepoint.SnapshotPolicy) (err error) {
	kind := t.kind
	kind.Snapshot = policy
	t.store, err = savepoint.Register(db, kind)
	return err
}

func (t *typed[S]) Go(ctx context.Context, machine int, seq uint64, opts ...savepoint.WriteOption) *savepoint.Ack {
	id, ev := t.place(machine, seq)
	return t.store.Go(ctx, id, ev, opts...)
}

func (t *typed[S]) View(ctx context.Context, machine int, seq uint64) error {
	id, _ := t.place(machine, seq)
	return t.store.View(ctx, id, func(*savepoint.State[S]) error { return nil })
}

func (t *typed[S]) Load(ctx context.Context, machine int, seq uint64) error {
	id, _ := t.place(machine, seq)
	_, err := t.store.Load(ctx, id)
	return err
}

func (t *typed[S]) Snapshot(ctx context.Context, machine int, seq uint64) error {
	id, _ := t.place(machine, seq)
	_, err := t.store.Snapshot(ctx, id)
	return err
}

func (t *typed[S]) Rebuild(ctx context.Context, machine int, seq uint64) error {
	id, _ := t.place(machine, seq)
	_, err := t.store.At(ctx, id, savepoint.Latest())
	return err
}

func (t *typed[S]) Count(ctx context.Context) (int64, error) {
	var n int64
	for h, err := range t.store.List(ctx, savepoint.ListOptions{}) {
		if err != nil {
			return n, err
		}
		n += int64(h.Seq)
	}
	return n, nil
}
