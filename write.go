package savepoint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/commit"
)

// step is what lands as a whole, on its way through the queue.
type step struct {
	ack     *Ack
	acks    []*Ack         // of Go under snapshot-only: writes this step makes durable too
	first   []engine.Write // steps of their own that go before
	writes  []engine.Write
	parts   []part
	skipped error // not sent to the engine, and why

	// Room of a step with one machine, kept from step to step: the engine keeps
	// nothing of a step behind its Commit.
	oneWrite [1]engine.Write
	onePart  [1]part
	bytes    []byte // of records and head
	events   []engine.Event
}

// steps are those that are done.
var steps = sync.Pool{New: func() any { return new(step) }}

// of makes it the step of one write to one machine.
func (s *step) of(ack *Ack, m *machine, w engine.Write) *step {
	s.ack, s.oneWrite[0], s.onePart[0] = ack, w, part{m, m.seq}
	s.writes, s.parts = s.oneWrite[:], s.onePart[:]
	return s
}

// free gives the step's room back.
func (s *step) free() {
	clear(s.events)
	*s = step{bytes: s.bytes[:0], events: s.events[:0]}
	if cap(s.bytes) > maxScratch || cap(s.events) > maxScratch/256 {
		s.bytes, s.events = nil, nil
	}
	steps.Put(s)
}

// maxScratch is the largest buffer that is kept for the next write.
const maxScratch = 64 << 10

// part is one machine's share of a step.
type part struct {
	m   *machine
	seq uint64
}

// reserve takes a place in the queue. Closing makes writes of its own.
func (db *DB) reserve(ctx context.Context, noWait, own bool) error {
	if db.closed.Load() && !own {
		return ErrClosed
	}
	if err := db.writable(); err != nil {
		return err
	}
	err := db.queue.Reserve(ctx, noWait)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, commit.ErrClosed):
		return ErrClosed
	case errors.Is(err, commit.ErrFull):
		n, bytes := db.queue.Len()
		return fmt.Errorf("%w: %d writes with %d bytes are queued", ErrBusy, n, bytes)
	}
	return fmt.Errorf("wait for a place in the queue: %w", err)
}

// writable says why nothing can be written, if so.
func (db *DB) writable() error {
	if db.opt.ReadOnly {
		return fmt.Errorf("%w: %s was opened with Options.ReadOnly", ErrReadOnly, db.path)
	}
	if why := db.stopped.Load(); why != nil {
		return fmt.Errorf("%w: %w", ErrStopped, *why)
	}
	return nil
}

// write is the one way of every write to one machine: reserve a place, take the
// machine's lock, let fn draft, queue the draft, give the lock back.
func (db *DB) write(ctx context.Context, k *kind, id string, o *writeOptions, op op, fn func(*draft) error) *Ack {
	ack, err := db.makeDraft(ctx, k, id, o, op, fn)
	if err != nil {
		db.metrics.refuse(op, err)
		return refused(err)
	}
	return ack
}

func (db *DB) makeDraft(ctx context.Context, k *kind, id string, o *writeOptions, op op, fn func(*draft) error) (*Ack, error) {
	start := time.Now()
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := db.reserve(ctx, o.noWait, op == opFlush); err != nil {
		return nil, err
	}
	m, err := db.acquire(ctx, k, id)
	if err != nil {
		db.queue.Release()
		return nil, err
	}
	var d *draft
	made := false
	defer func() { // also when a callback ends its goroutine
		if !made {
			if d != nil {
				d.rollback()
			}
			m.counts.refuse.Add(1)
			db.queue.Release()
		}
		db.release(m)
		if d != nil && (op == opAppend || op == opGo) { // of an Update its Machine knows it, too
			d.free()
		}
	}()
	d = db.newDraft(m, o)
	ack, err := d.queue(ctx, op, start, fn)
	if err != nil {
		if db.anomalies != nil {
			db.watchRefusal(m, err)
		}
		return nil, d.errorf(op.String()+" to", err)
	}
	made = true
	return ack, nil
}

// queue drafts and queues. The place in the queue is used up unless it answers an
// error.
func (d *draft) queue(ctx context.Context, op op, start time.Time, fn func(*draft) error) (*Ack, error) {
	db, m := d.db, d.m
	if op != opAppend && op != opGo && op != opSave { // those know their content and look themselves
		var err error
		if d.earlier, _, err = d.findKey(0); err != nil {
			return nil, err
		}
		if d.earlier == nil {
			if err := d.checkPreconditions(); err != nil {
				return nil, err
			}
		}
	}
	if d.earlier == nil {
		if err := fn(d); err != nil {
			return nil, err
		}
	}
	if d.empty() && len(m.unsaved) > 0 && op != opGo && op != opGoUpdate {
		if err := d.snapshot("interval", nil); err != nil { // what was seen has to be durable on return
			return nil, err
		}
	}
	if d.empty() {
		db.queue.Release()
		if d.earlier != nil {
			return d.earlier, nil
		}
		return m.ackForReader(), nil
	}
	ack := newAck(op, start)
	if m.kind.strategy == SnapshotOnly && (op == opGo || op == opGoUpdate) && d.first == nil && !d.flushDue() && !db.closed.Load() {
		d.publish(ack)
		d.watched()
		ack.head = m.head()
		m.unsaved = append(m.unsaved, ack)
		db.saveLater(m)
		db.queue.Release()
		return ack, nil
	}
	w, err := d.complete(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.fits(&w, d.bytes); err != nil {
		return nil, err
	}
	d.publish(ack)
	d.watched() // while the events are the draft's
	m.queued, m.newest = m.seq, ack
	ack.head = publicHead(m.kind, m.id, m.seq, &m.h)
	s := d.takeStep().of(ack, m, w)
	s.acks = m.takeUnsaved()
	s.begin(d)
	db.push(s, d.bytes)
	if d.earlier != nil { // which this step makes durable
		return d.earlier, nil
	}
	return ack, nil
}

// ackForReader is the Ack of a look at the machine as it is now: it waits for what is
// not durable yet.
func (m *machine) ackForReader() *Ack {
	youngest := m.newest
	if n := len(m.unsaved); n > 0 {
		youngest = m.unsaved[n-1]
	} else if m.durable.Load() == m.seq && m.pending.Load() == 0 {
		youngest = nil
	}
	if youngest == nil {
		return resolvedAck(m.head())
	}
	return youngest.follow(m.head())
}

// fits refuses a step that the engine could not take.
func (db *DB) fits(w *engine.Write, bytes int64) error {
	if limit := db.eng.Limits().MaxStep; limit > 0 && bytes+int64(len(w.Head)) > int64(limit) {
		return fmt.Errorf("%w: the step has %d bytes, the engine takes %d", ErrTooLarge, bytes, limit)
	}
	return nil
}

// begin lets the step that a draft needs before go first.
func (s *step) begin(d *draft) {
	if d.first != nil {
		s.first = append(s.first, *d.first)
	}
}

// push queues a step. The locks of its machines are held.
func (db *DB) push(s *step, bytes int64) {
	for _, p := range s.parts {
		p.m.pending.Add(1)
	}
	db.queue.Push(s, bytes+256)
}
