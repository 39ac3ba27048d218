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

// locked returns the machine of an id with its lock held, loaded or not.
func (db *DB) locked(ctx context.Context, k *kind, id string) (*machine, error) {
	for {
		m := db.cache.get(k, id)
		if err := m.acquire(ctx); err != nil {
			return nil, err
		}
		if !m.gone {
			return m, nil
		}
		m.release() // evicted while this waited for the lock
	}
}

// acquire returns the machine of an id with its lock held and its live state
// loaded. The caller ends it with release.
func (db *DB) acquire(ctx context.Context, k *kind, id string) (*machine, error) {
	m, err := db.locked(ctx, k, id)
	if err != nil {
		return nil, err
	}
	if db.cache.opt.Off && m.idle() && !m.failed.Load() {
		m.forget()
	}
	if m.live != nil && !m.failed.Load() {
		db.metrics.hits.Add(1)
		return m, nil
	}
	if err := db.load(ctx, m); err != nil {
		db.release(m)
		return nil, err
	}
	return m, nil
}

// load loads the live state of a locked machine, from its encoded state or from
// the engine.
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
		// Records that were applied once do not apply again: only the engine knows
		// the state.
		if m.pending.Load() > 0 {
			return fmt.Errorf("%w: %s %q cannot be rebuilt while writes are queued", ErrBusy, m.kind.name, m.id)
		}
		if err := db.reload(ctx, m); err != nil {
			return err
		}
	}
	if err := m.awaitQueued(ctx); err != nil { // a Purge may be queued whose caller does not wait any more
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
	m.setRebuilt(r)
	if len(r.tail.bytes) > minTail {
		m.trim()
	}
	return nil
}

// reload forgets a locked machine after one of its writes was not stored, once
// all its queued writes have resolved. The next load reads the engine.
func (db *DB) reload(ctx context.Context, m *machine) error {
	if m.doubt.Load() {
		return fmt.Errorf("%w: a write to %s %q: open the file again", ErrInDoubt, m.kind.name, m.id)
	}
	if err := m.awaitQueued(ctx); err != nil {
		return err
	}
	db.failUnsaved(m, errEarlierFailed)
	m.forget()
	m.newest = nil
	m.failed.Store(false)
	return nil
}

// awaitQueued waits until no step of a locked machine is queued.
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

// release unlocks m and reports its size to the cache. A machine that does not
// exist, or is not loaded, leaves the cache.
func (db *DB) release(m *machine) {
	drop := m.idle() && !m.doubt.Load() && (!m.known || m.seq == 0)
	size := m.size()
	resized := size != m.reported
	m.reported = size
	if drop {
		m.gone = true
	}
	m.release()
	switch {
	case drop:
		db.cache.remove(m)
	case resized || db.cache.opt.Off:
		db.cache.resize(m, size)
	}
}

// dropUnused removes a machine from memory if it was not loaded and nobody uses it.
func (db *DB) dropUnused(ctx context.Context, m *machine) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	db.release(m)
	return nil
}

// releaseWhenDurable releases a locked machine, then waits until everything that
// it held in memory is durable.
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

// awaitDurable waits until the writes that the machine has in memory are durable,
// for those who read the engine. It does not load the machine.
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

// acquireIdle returns the machine locked, loaded or not, with none of its writes queued.
// With place it also takes a place in the queue, which the caller fills or
// releases.
func (db *DB) acquireIdle(ctx context.Context, k *kind, id string, place bool) (*machine, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if db.closed.Load() {
		return nil, ErrClosed
	}
	for {
		if place {
			if err := db.reserve(ctx, false, false); err != nil {
				return nil, err
			}
		}
		m, err := db.acquireIfSaved(ctx, k, id)
		if m != nil {
			return m, nil
		}
		if place { // saving takes a place of its own
			db.queue.Release()
		}
		if err == nil {
			err = db.save(ctx, k, id, nil)
		}
		if err != nil {
			return nil, err
		}
	}
}

// acquireIfSaved is acquireIdle without the saving. It returns nil and no error where
// writes of the machine have to be saved first.
func (db *DB) acquireIfSaved(ctx context.Context, k *kind, id string) (*machine, error) {
	m, err := db.locked(ctx, k, id)
	if err != nil {
		return nil, err
	}
	if len(m.unsaved) > 0 && !m.failed.Load() {
		m.release()
		return nil, nil
	}
	err = m.awaitQueued(ctx)
	if err == nil && m.failed.Load() {
		err = db.reload(ctx, m)
	}
	if err != nil {
		db.release(m)
		return nil, err
	}
	return m, nil
}

// Warm loads machines into memory, several at once, so that their first use need
// not wait for the disk. Where they are more than the cache holds, later ones
// evict earlier ones. Ids that do not exist are skipped; the errors of the other
// ids are joined, and do not keep the rest from being loaded. It stops when ctx
// ends.
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
