package savepoint

import (
	"context"
	"errors"
	"time"
)

// Under the snapshot-only strategy Go applies at once and is made durable
// later, many writes with one stored state.

// flushDue says that a write of Go has to store the state now.
func (d *draft) flushDue() bool {
	p := &d.m.kind.policy
	since := d.seq - d.m.queued
	return p.Events > 0 && since >= uint64(p.Events) ||
		p.Every > 0 && d.m.queued > 0 && d.now-d.lastSnapshot() >= p.Every.Microseconds()
}

// saveLater has the machine's unsaved writes stored when the interval is over.
// The machine's lock is held.
func (db *DB) saveLater(m *machine) {
	every := m.kind.policy.Every
	if m.saver != nil || every <= 0 {
		return
	}
	m.saver = time.AfterFunc(every, func() {
		err := db.save(db.background, m.kind, m.id, nil)
		if err == nil {
			return
		}
		db.log.Warn("interval snapshot", "kind", m.kind.name, "id", m.id, "error", err)
		if m.acquire(db.background) == nil {
			m.saver = nil
			if len(m.unsaved) > 0 {
				db.saveLater(m)
			}
			m.release()
		}
	})
}

// takeUnsaved gives the acks of the unsaved writes to the step that stores
// them. The machine's lock is held.
func (m *machine) takeUnsaved() []*Ack {
	acks := m.unsaved
	m.unsaved = nil
	if m.saver != nil {
		m.saver.Stop()
		m.saver = nil
	}
	return acks
}

// save stores the unsaved writes of a machine and waits until they are durable.
// Of them, last is the one that the caller cares about, or nil.
func (db *DB) save(ctx context.Context, k *kind, id string, last *Ack) error {
	o := newWriteOptions(nil)
	ack := db.write(ctx, k, id, o, opFlush, func(d *draft) error {
		if len(d.m.unsaved) == 0 {
			return nil
		}
		return d.snapshot("interval", nil)
	})
	_, err := ack.Wait(ctx)
	if errors.Is(err, ErrStopped) { // they never will be
		db.abandon(ctx, k, id, err)
	}
	if err == nil && last != nil {
		_, err = last.Wait(ctx)
	}
	return err
}

// abandon answers the unsaved writes of a machine, which goes back to what is
// durable.
func (db *DB) abandon(ctx context.Context, k *kind, id string, why error) {
	m := db.cache.peek(k, id)
	if m == nil || m.acquire(ctx) != nil {
		return
	}
	for _, a := range m.takeUnsaved() {
		db.answer(a, why)
		m.failed.Store(true)
	}
	m.release()
}

// Flush makes every write that was made before it durable, those of Go under
// the snapshot-only strategy included. It answers the first error.
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
