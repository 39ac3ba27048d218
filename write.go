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
	ack    *Ack
	acks   []*Ack         // of Go under snapshot-only: writes this step makes durable too
	first  []engine.Write // steps of their own that go before
	writes []engine.Write
	parts  []part
	behind error // not sent to the engine, and why

	// Room of a step with one machine, kept from step to step: the engine keeps
	// nothing of a step behind its Commit.
	one    [1]engine.Write
	whose  [1]part
	bytes  []byte // of records and head
	events []engine.Event
}

// steps are those that are done.
var steps = sync.Pool{New: func() any { return new(step) }}

// of makes it the step of one write to one machine.
func (s *step) of(ack *Ack, m *machine, w engine.Write) *step {
	s.ack, s.one[0], s.whose[0] = ack, w, part{m, m.seq}
	s.writes, s.parts = s.one[:], s.whose[:]
	return s
}

// free gives the step's room back.
func (s *step) free() {
	clear(s.events)
	*s = step{bytes: s.bytes[:0], events: s.events[:0]}
	if cap(s.bytes) > longestRoom || cap(s.events) > longestRoom/256 {
		s.bytes, s.events = nil, nil
	}
	steps.Put(s)
}

// longestRoom is the largest buffer that is kept for the next write.
const longestRoom = 64 << 10

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
	ack, err := db.draft(ctx, k, id, o, op, fn)
	if err != nil {
		db.metrics.refuse(op, err)
		return refused(err)
	}
	return ack
}

func (db *DB) draft(ctx context.Context, k *kind, id string, o *writeOptions, op op, fn func(*draft) error) (*Ack, error) {
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
				d.undo()
			}
			m.counts.refuse.Add(1)
			db.queue.Release()
		}
		db.leave(m)
		if d != nil && (op == opAppend || op == opGo) { // of an Update its Machine knows it, too
			d.free()
		}
	}()
	d = db.newDraft(m, o)
	ack, err := d.run(ctx, op, start, fn)
	if err != nil {
		if db.anomalies != nil {
			db.watchRefusal(m, err)
		}
		return nil, d.errorf(op.String()+" to", err)
	}
	made = true
	return ack, nil
}

// run drafts and queues. The place in the queue is used up unless it answers an
// error.
func (d *draft) run(ctx context.Context, op op, start time.Time, fn func(*draft) error) (*Ack, error) {
	db, m := d.db, d.m
	if op != opAppend && op != opGo && op != opSave { // those know their content and look themselves
		var err error
		if d.earlier, _, err = d.keyed(0); err != nil {
			return nil, err
		}
		if d.earlier == nil {
			if err := d.admit(); err != nil {
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
		return m.asSeen(), nil
	}
	ack := newAck(op, start)
	if m.kind.strategy == SnapshotOnly && (op == opGo || op == opGoUpdate) && d.first == nil && !d.flushDue() && !db.closed.Load() {
		d.land(ack)
		d.watched()
		ack.head = m.head()
		m.unsaved = append(m.unsaved, ack)
		db.saveLater(m)
		db.queue.Release()
		return ack, nil
	}
	w, err := d.finish(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.fits(&w, d.bytes); err != nil {
		return nil, err
	}
	d.land(ack)
	d.watched() // while the events are the draft's
	m.queued, m.newest = m.seq, ack
	ack.head = publicHead(m.kind, m.id, m.seq, &m.h)
	s := d.step().of(ack, m, w)
	s.acks = m.takeUnsaved()
	s.begin(d)
	db.push(s, d.bytes)
	if d.earlier != nil { // which this step makes durable
		return d.earlier, nil
	}
	return ack, nil
}

// asSeen is the Ack of a look at the machine as it is now: it waits for what is
// not durable yet.
func (m *machine) asSeen() *Ack {
	youngest := m.newest
	if n := len(m.unsaved); n > 0 {
		youngest = m.unsaved[n-1]
	} else if m.durable.Load() == m.seq && m.pending.Load() == 0 {
		youngest = nil
	}
	if youngest == nil {
		return settled(m.head())
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

// commitGroup makes one group durable and answers its callers, in order. It
// runs in the committer alone and takes no lock of a machine.
func (db *DB) commitGroup(group []*step, free func()) {
	g := &db.group
	g.steps, g.out, g.live = g.steps[:0], g.out[:0], g.live[:0]
	for _, s := range group {
		if why := db.stopped.Load(); why != nil {
			s.behind = *why
		} else if s.stale() {
			s.behind = errBehind
			s.spoil() // for those behind it
		} else {
			g.live = append(g.live, s)
			for i := range s.first {
				g.steps = append(g.steps, engine.Step{Writes: s.first[i : i+1]})
			}
			g.steps = append(g.steps, engine.Step{Writes: s.writes})
			g.out = append(g.out, make([]engine.Result, 1+len(s.first))...)
		}
	}
	err := db.store(g)
	free()
	live := 0
	for _, s := range group { // in the order of the queue
		if s.behind != nil {
			db.fail(s, s.behind, s.behind != errBehind)
			continue
		}
		out := s.result(g.out[live:])
		live += 1 + len(s.first)
		switch {
		case out.Err != nil && s.stale():
			db.fail(s, errBehind, false)
		case out.Err != nil:
			db.fail(s, out.Err, errors.Is(out.Err, ErrInDoubt))
		case errors.Is(err, engine.ErrNothingStored):
			db.fail(s, err, false)
		case err != nil:
			db.fail(s, err, true)
		default:
			db.done(s, out)
		}
	}
	db.news.tell(g.steps, db.stopped.Load() != nil)
	clear(g.steps)
	clear(g.live)
	clear(g.out)
	for _, s := range group {
		s.free()
	}
}

// store gives the group's live steps to the engine.
func (db *DB) store(g *group) error {
	if len(g.live) == 0 {
		return nil
	}
	start := time.Now()
	db.storing.Lock()
	err := db.eng.Commit(context.Background(), g.steps, g.out)
	db.storing.Unlock()
	db.metrics.group(len(g.live), time.Since(start))
	if err != nil && !errors.Is(err, engine.ErrNothingStored) {
		why := fmt.Errorf("commit: %w", err)
		db.stopped.CompareAndSwap(nil, &why)
		db.log.Error("writing has stopped: open the file again", "path", db.path, "error", err)
	}
	return err
}

// result is what became of a step: of those before it, if they failed.
func (s *step) result(out []engine.Result) *engine.Result {
	for i := range s.first {
		if out[i].Err != nil {
			return &out[i]
		}
	}
	return &out[len(s.first)]
}

var errBehind = fmt.Errorf("%w: a write queued before it failed", ErrAborted)

// stale says that a write queued before this one was not stored.
func (s *step) stale() bool {
	for _, p := range s.parts {
		if p.m.failed.Load() {
			return true
		}
	}
	return false
}

// spoil tells the step's machines that a write of theirs is not stored.
func (s *step) spoil() {
	for _, p := range s.parts {
		p.m.failed.Store(true)
	}
}

func (db *DB) done(s *step, out *engine.Result) {
	took := time.Since(s.ack.start)
	for i, p := range s.parts {
		p.m.counts.writes.add(took)
		p.m.pos.Store(out.Pos[i])
		p.m.durable.Store(p.seq)
		p.m.pending.Add(-1)
	}
	if len(s.parts) == 1 {
		s.ack.head.Pos = out.Pos[0]
	}
	for i := range s.first {
		db.metrics.snapshots.Add(int64(len(s.first[i].Snapshots)))
	}
	for i := range s.writes {
		db.metrics.snapshots.Add(int64(len(s.writes[i].Snapshots)))
		db.metrics.position.Store(max(db.metrics.position.Load(), out.Pos[i]))
	}
	for _, a := range s.acks { // they are older
		db.answer(a, nil)
	}
	db.answer(s.ack, nil)
}

func (db *DB) fail(s *step, err error, doubt bool) {
	for i, p := range s.parts {
		if doubt {
			p.m.doubt.Store(true)
			if i == 0 {
				err = &InDoubtError{Token: token(&s.writes[0]), Cause: err}
			}
		}
		p.m.counts.failed.Add(1)
		p.m.failed.Store(true)
		p.m.pending.Add(-1)
	}
	var c *engine.Conflict
	if errors.As(err, &c) {
		kind, id, _ := splitKey(c.Machine)
		err = &ConflictError{Kind: kind, ID: id, Want: c.Want, Have: c.Have}
		s.ack.again = true
	}
	for _, a := range s.acks {
		db.answer(a, err)
	}
	db.answer(s.ack, err)
}

func (db *DB) answer(a *Ack, err error) {
	db.metrics.wrote(a, err)
	a.resolve(err)
}
