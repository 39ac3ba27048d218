package savepoint

import (
	"context"
	"errors"
	"time"
)

// Under SnapshotOnly, Go applies a write at once but stores nothing: its Ack is
// unsaved until one stored state makes it and many others durable.

// saveLater starts the timer that stores the unsaved writes of a locked machine
// when the snapshot interval is over. A save that fails is tried again after
// another interval.
func (db *DB) saveLater(m *machine) {
	every := m.kind.policy.Every
	if m.saver != nil || every <= 0 {
		return
	}
	m.saver = time.AfterFunc(every, func() {
		ctx := db.background
		err := db.save(ctx, m.kind, m.id, nil)
		if err == nil {
			return
		}
		db.log.Warn("an interval snapshot failed", "kind", m.kind.name, "id", m.id, "error", err)
		if m.acquire(ctx) == nil {
			m.saver = nil
			if len(m.unsaved) > 0 {
				db.saveLater(m)
			}
			m.release()
		}
	})
}

// save stores the unsaved writes of a machine and waits until they are durable.
// last is the one of them whose result the caller needs, or nil.
func (db *DB) save(ctx context.Context, k *kind, id string, last *Ack) error {
	ack := db.write(ctx, request{k, id, opFlush, defaultWriteOptions}, func(d *draft) error {
		if len(d.m.unsaved) == 0 {
			return nil
		}
		return d.snapshot("interval", nil)
	})
	_, err := ack.Wait(ctx)
	if errors.Is(err, ErrStopped) { // no later save can store them either
		db.abandon(ctx, k, id, err)
	}
	if err == nil && last != nil {
		_, err = last.Wait(ctx)
	}
	return err
}

// abandon fails the unsaved writes of a machine. The machine is loaded again at
// its next use.
func (db *DB) abandon(ctx context.Context, k *kind, id string, why error) {
	m := db.cache.peek(k, id)
	if m == nil || m.acquire(ctx) != nil {
		return
	}
	if db.failUnsaved(m, why) {
		m.failed.Store(true)
	}
	m.release()
}

// failUnsaved resolves the acks of a locked machine's unsaved writes with why,
// and reports whether there were any.
func (db *DB) failUnsaved(m *machine, why error) bool {
	acks := m.takeUnsaved()
	for _, a := range acks {
		db.metrics.wrote(a, why)
		a.resolve(why)
	}
	return len(acks) > 0
}

// Flush makes every write durable that was made before it, those of Go under
// SnapshotOnly included, and returns once they are. It continues after an error and
// returns the first one. When ctx ends, the writes go on without it.
func (db *DB) Flush(ctx context.Context) error {
	if db.closed.Load() {
		return ErrClosed
	}
	return db.flush(ctx)
}

func (db *DB) flush(ctx context.Context) error {
	var first error
	for _, m := range db.cache.machines() {
		if err := m.acquire(ctx); err != nil {
			return err
		}
		ack := m.ackForReader()
		unsaved := len(m.unsaved) > 0
		m.release()
		var err error
		if unsaved {
			err = db.save(ctx, m.kind, m.id, ack)
		} else {
			_, err = ack.Wait(ctx)
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}
