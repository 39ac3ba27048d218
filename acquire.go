package savepoint

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/parallel"
)

// locked gives the machine of an id, locked, loaded or not.
func (db *DB) locked(ctx context.Context, k *kind, id string) (*machine, error) {
	for {
		m := db.cache.get(k, id)
		if err := m.acquire(ctx); err != nil {
			return nil, err
		}
		if !m.gone {
			return m, nil
		}
		m.release() // evicted meanwhile
	}
}

// acquire gives the machine, locked, with its live state. leave ends it.
func (db *DB) acquire(ctx context.Context, k *kind, id string) (*machine, error) {
	m, err := db.locked(ctx, k, id)
	if err != nil {
		return nil, err
	}
	if db.cache.opt.Off && m.idle() && !m.failed.Load() {
		m.forget()
	}
	if m.st != nil && !m.failed.Load() {
		db.metrics.hits.Add(1)
		return m, nil
	}
	if err := db.load(ctx, m); err != nil {
		db.release(m)
		return nil, err
	}
	return m, nil
}

// load makes a locked machine live.
func (db *DB) load(ctx context.Context, m *machine) error {
	if m.failed.Load() {
		if err := db.reload(ctx, m); err != nil {
			return err
		}
	}
	if m.known {
		db.metrics.secondHits.Add(1)
		if err := m.decodeLive(); err == nil {
			return nil
		}
		// What was applied once does not apply again: the engine decides.
		if m.pending.Load() > 0 {
			return fmt.Errorf("%w: %s %q cannot be rebuilt while writes are queued", ErrBusy, m.kind.name, m.id)
		}
		if err := db.reload(ctx, m); err != nil {
			return err
		}
	}
	if err := m.awaitQueued(ctx); err != nil { // of a Purge whose caller went away
		return err
	}
	db.metrics.misses.Add(1)
	if err := db.quarantine.refuse(m.kind, m.id); err != nil {
		return err
	}
	start := time.Now()
	r, _, tried, err := db.rebuild(ctx, m.kind, m.id, engine.All, 0)
	if err != nil {
		if rebuildable(err) {
			err = db.quarantine.add(m.kind, m.id, err)
			db.log.Error("machine quarantined", "kind", m.kind.name, "id", m.id, "error", err)
		}
		return err
	}
	db.quarantine.remove(m.kind, m.id)
	for _, a := range tried {
		db.log.Warn("recovered another way", "kind", m.kind.name, "id", m.id, "attempt", a.String())
	}
	db.metrics.rebuilt(time.Since(start), len(tried))
	m.counts.rebuilds.Add(1)
	m.setFrom(r)
	if len(r.tail.bytes) > minTail {
		m.trim()
	}
	return nil
}

// reload forgets a machine after one of its writes was not stored, once the
// writes behind that one are answered.
func (db *DB) reload(ctx context.Context, m *machine) error {
	if m.doubt.Load() {
		return fmt.Errorf("%w: a write to %s %q: open the file again", ErrInDoubt, m.kind.name, m.id)
	}
	if err := m.awaitQueued(ctx); err != nil {
		return err
	}
	for _, a := range m.takeUnsaved() {
		db.answer(a, errEarlierFailed)
	}
	m.forget()
	m.newest = nil
	m.failed.Store(false)
	return nil
}

// awaitQueued waits until nothing of a locked machine is queued.
func (m *machine) awaitQueued(ctx context.Context) error {
	if m.pending.Load() == 0 || m.newest == nil {
		return nil
	}
	select {
	case <-m.newest.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for queued writes of %s %q: %w", m.kind.name, m.id, context.Cause(ctx))
	}
}

// release gives a machine back.
func (db *DB) release(m *machine) {
	drop := m.idle() && !m.doubt.Load() && (!m.known || m.seq == 0)
	live, encoded := m.size()
	same := live == m.reportedLive && encoded == m.reportedEncoded
	m.reportedLive, m.reportedEncoded = live, encoded
	if drop {
		m.gone = true
	}
	m.release()
	switch {
	case drop:
		db.cache.remove(m)
	case !same || db.cache.opt.Off:
		db.cache.resize(m, live, encoded)
	}
}

// releaseWhenDurable waits until everything of the machine up to now is durable; the lock is
// held when it is called, and released.
func (db *DB) releaseWhenDurable(ctx context.Context, m *machine) error {
	unsaved := len(m.unsaved) > 0
	if !unsaved && m.durable.Load() == m.seq && m.pending.Load() == 0 {
		db.release(m)
		return nil
	}
	ack := m.ackForReader()
	db.release(m)
	if unsaved {
		return db.save(ctx, m.kind, m.id, ack)
	}
	if _, err := ack.Wait(ctx); err != nil {
		return fmt.Errorf("what was seen of %s %q is not durable: %w", m.kind.name, m.id, err)
	}
	return nil
}

// awaitDurable waits until the machine's queued writes are durable, for readers of
// the engine. It does not load the machine.
func (db *DB) awaitDurable(ctx context.Context, k *kind, id string) (*machine, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if db.closed.Load() {
		return nil, ErrClosed
	}
	m := db.cache.peek(k, id)
	if m == nil {
		return newMachine(k, id), nil
	}
	if err := m.acquire(ctx); err != nil {
		return nil, err
	}
	if m.failed.Load() {
		if err := db.reload(ctx, m); err != nil {
			m.release()
			return nil, err
		}
	}
	return m, db.releaseWhenDurable(ctx, m)
}

// Warm brings machines into memory, several at once, so that their first use
// need not wait for the disk. More than the cache holds push each other out.
// Ids that do not exist are passed over; the errors of the others are joined.
func (s *Store[S]) Warm(ctx context.Context, ids ...string) error {
	if s.db.closed.Load() {
		return ErrClosed
	}
	var errs []error
	err := parallel.Do(ctx, runtime.GOMAXPROCS(0), len(ids), func(i int) (*machine, error) {
		if err := checkID(ids[i]); err != nil {
			return nil, err
		}
		m, err := s.db.acquire(ctx, s.kind, ids[i])
		if err == nil {
			s.db.release(m)
		}
		return m, err
	}, func(i int, _ *machine, err error) error {
		if err != nil {
			errs = append(errs, fmt.Errorf("warm %s %.60q: %w", s.kind.name, ids[i], err))
		}
		return context.Cause(ctx)
	})
	return errors.Join(append(errs, err)...)
}
