package memory

import (
	"context"

	"github.com/liap-tui/savepoint/engine"
)

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
