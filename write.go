package savepoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/queue"
)

// The first half of every write runs in the caller's goroutine: reserve a place in
// the queue, lock the machine, fill a draft, queue its step, unlock. commit.go has
// the second half.

// request says what is to be written to.
type request struct {
	kind *kind
	id   string
	op   op
	opt  *writeOptions
}

// write is the way of every write to one machine. fn fills the draft; an error of
// it refuses the write. write returns once the step is queued or refused.
func (db *DB) write(ctx context.Context, r request, fn func(*draft) error) *Ack {
	ack, err := db.draftAndQueue(ctx, r, fn)
	if err != nil {
		db.metrics.refuse(r.op, err)
		return refused(err)
	}
	return ack
}

func (db *DB) draftAndQueue(ctx context.Context, r request, fn func(*draft) error) (*Ack, error) {
	start := time.Now()
	if err := checkID(r.id); err != nil {
		return nil, err
	}
	if err := db.reserve(ctx, r.opt.noWait, r.op == opFlush); err != nil {
		return nil, err
	}
	m, err := db.acquire(ctx, r.kind, r.id)
	if err != nil {
		db.queue.Release()
		return nil, err
	}
	var d *draft
	queued := false
	defer func() { // deferred because a callback may call runtime.Goexit
		if !queued {
			if d != nil {
				d.rollback()
			}
			m.counts.refused.Add(1)
			db.queue.Release()
		}
		db.release(m)
		if d != nil && (r.op == opAppend || r.op == opGo) { // a callback may have kept the draft of another op, in its Machine
			d.free()
		}
	}()
	d = newDraft(db, m, r.opt)
	if err = d.fill(r.op, fn); err == nil {
		var ack *Ack
		if ack, err = d.queue(ctx, r.op, start); err == nil {
			queued = true
			return ack, nil
		}
	}
	db.anomalies.watchRefusal(m, err)
	return nil, d.errorf(r.op.String()+" to", err)
}

// reserve takes a place in the queue. own is set for the library's own writes,
// which Close makes after the database is closed to others.
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
	case errors.Is(err, queue.ErrClosed):
		return ErrClosed
	case errors.Is(err, queue.ErrFull):
		n, bytes := db.queue.Len()
		return fmt.Errorf("%w: %d writes with %d bytes are queued", ErrBusy, n, bytes)
	}
	return fmt.Errorf("wait for a place in the queue: %w", err)
}

// writable returns the reason why nothing can be written, or nil.
func (db *DB) writable() error {
	if db.opt.ReadOnly {
		return fmt.Errorf("%w: %s was opened with Options.ReadOnly", ErrReadOnly, db.path)
	}
	if why := db.committer.stopped.Load(); why != nil {
		return fmt.Errorf("%w: %w", ErrStopped, *why)
	}
	return nil
}

// fill runs fn, unless the write was done before under its key or its conditions
// do not hold.
func (d *draft) fill(op op, fn func(*draft) error) error {
	if op != opAppend && op != opGo && op != opSave { // fn of those compares the key with the content, then the conditions
		var err error
		if d.key.earlier, _, err = d.m.findKey(d.opt.key, 0); err != nil {
			return err
		}
		if d.key.earlier == nil {
			if err := d.opt.check(d.m); err != nil {
				return err
			}
		}
	}
	if d.key.earlier == nil {
		return fn(d)
	}
	return nil
}

// queue queues the step of a filled draft and returns the write's Ack. It uses up
// the reserved place in the queue unless it returns an error. A draft that changes
// nothing gets the Ack of what the caller has seen instead.
func (d *draft) queue(ctx context.Context, op op, start time.Time) (*Ack, error) {
	db, m := d.db, d.m
	goes := op == opGo || op == opGoUpdate
	if d.empty() && len(m.unsaved) > 0 && !goes {
		if err := d.snapshot("interval", nil); err != nil { // what the caller has seen must be durable on return
			return nil, err
		}
	}
	if d.empty() {
		db.queue.Release()
		if d.key.earlier != nil {
			return d.key.earlier, nil
		}
		return m.ackForReader(), nil
	}
	ack := newAck(op, start)
	if goes && m.kind.strategy == SnapshotOnly && d.first == nil && !flushDue(d) && !db.closed.Load() {
		d.publish(ack)
		db.anomalies.watchWrite(m, d.made.events)
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
	if err := db.fits(&w, d.made.size); err != nil {
		return nil, err
	}
	d.publish(ack)
	db.anomalies.watchWrite(m, d.made.events)
	m.setQueued(ack)
	ack.head = publicHead(m.kind, m.id, m.seq, &m.h)
	s := d.takeStep()
	s.setWrite(ack, m, w)
	s.acks = m.takeUnsaved()
	d.putFirst(s)
	db.push(s, d.made.size)
	if d.key.earlier != nil { // the step only makes the earlier write durable
		return d.key.earlier, nil
	}
	return ack, nil
}

// complete adds what belongs to every write, the snapshot that the policy wants
// and the pruning of older ones, and returns the engine's write.
func (d *draft) complete(ctx context.Context) (engine.Write, error) {
	m, k := d.m, d.m.kind
	if m.seq == 0 && !d.snaps.based && k.strategy.keepsEvents() && len(d.made.events) > 0 {
		m.snaps = &snapshotIndex{}
		d.addBase()
	}
	if reason, due := snapshotDue(d); due && !d.snaps.current && (d.seq > m.seq || len(m.unsaved) > 0) {
		if err := d.snapshot(reason, nil); err != nil {
			return engine.Write{}, err
		}
	}
	if d.snaps.current && (k.policy.Keep >= 0 || k.policy.MaxAge > 0) {
		if err := d.prune(ctx); err != nil {
			return engine.Write{}, err
		}
	}
	return d.engineWrite(), nil
}

// completeInTx completes the draft for the step of a DB.Update. An empty one has read a
// state that is not durable yet: its write changes nothing, but makes the step fail if
// that state is not stored.
func (d *draft) completeInTx(ctx context.Context) (engine.Write, error) {
	if d.empty() && len(d.m.unsaved) > 0 {
		if err := d.snapshot("interval", nil); err != nil {
			return engine.Write{}, err
		}
	}
	return d.complete(ctx)
}

// engineWrite returns the engine's write of what was made so far.
func (d *draft) engineWrite() engine.Write {
	m, k := d.m, d.m.kind
	head := d.appendScratch(func(dst []byte) []byte { return d.h.Append(dst, m.key) })
	w := engine.Write{Machine: m.key, Kind: k.number, Schema: d.h.Version, Expect: m.queued, Seq: d.seq,
		Snapshots: d.snaps.made, Drop: d.snaps.drop, Token: d.h.Digest, Head: head}
	if d.first != nil {
		w.Expect = d.first.Seq
	}
	if k.strategy.keepsEvents() {
		w.Events = d.made.events
	}
	return w
}

// putFirst makes s store the draft's migration, if there is one, before its own
// writes.
func (d *draft) putFirst(s *step) {
	if d.first != nil {
		s.first = append(s.first, *d.first)
	}
}

// publish makes what the draft made the machine's newest moment. ack is the
// write's, for a later write with the same key.
func (d *draft) publish(ack *Ack) {
	m := d.m
	rest := d.made.records // those that lead from the encoded state to the newest
	switch {
	case d.snaps.encoded != nil:
		rest = nil
		m.encoded.reset(d.snaps.encoded, d.seq)
	case d.state.replaced > 0:
		rest = rest[d.state.replaced:]
		m.encoded.reset(d.state.encoded, d.seq-uint64(len(rest)))
	}
	if d.opt.key != "" && d.seq > m.seq {
		m.keys = appendKey(m.keys, newKey(d, ack))
	}
	m.seq, m.h = d.seq, d.h
	for _, b := range rest {
		m.encoded.tail.add(b)
	}
	m.trim()
}

// rollback returns the machine to its state before the draft. The live state is
// rebuilt from the encoded one at the machine's next use.
func (d *draft) rollback() {
	if d.state.touched {
		d.m.live = nil
	}
	d.m.snaps = d.snaps.before
}

// fits refuses a step of size bytes, w's head not counted, that is larger than the
// engine takes.
func (db *DB) fits(w *engine.Write, size int64) error {
	if limit := db.eng.Limits().MaxStep; limit > 0 && size+int64(len(w.Head)) > int64(limit) {
		return fmt.Errorf("%w: the step has %d bytes, the engine takes %d", ErrTooLarge, size, limit)
	}
	return nil
}

// push queues a step of size bytes at a reserved place. The locks of its machines
// are held.
func (db *DB) push(s *step, size int64) {
	for _, p := range s.parts {
		p.machine.pending.Add(1)
	}
	db.queue.Push(s, size+256)
}

// pushWrite queues a step that is one write to a locked machine.
func (db *DB) pushWrite(ack *Ack, m *machine, w engine.Write, size int64) {
	s := stepPool.Get().(*step)
	s.setWrite(ack, m, w)
	db.push(s, size)
}

// WriteOption adds to a write who made it and why, or a condition. An option that a
// write has no use for is ignored, unless the comment of the call says otherwise.
type WriteOption interface{ set(*writeOptions) }

// writeOptions are the options of one write.
type writeOptions struct {
	conditions
	actor, cause, correlation string
	tags                      []string
	origin                    Origin
	derived                   bool   // origin was derived from actor
	reason                    string // of Because
}

// conditions are what has to hold for a write. They belong to the whole write, so
// that a single event of an Update cannot have one of its own.
type conditions struct {
	key              string
	ifSeq            uint64
	hasIfSeq, noWait bool
}

// check returns the error of a condition that does not hold for m.
func (c *conditions) check(m *machine) error {
	if !c.hasIfSeq || c.ifSeq == m.seq || c.ifSeq == 0 && !m.exists() {
		return nil
	}
	return &ConflictError{Kind: m.kind.name, ID: m.id, Want: c.ifSeq, Have: m.seq}
}

type optionFunc func(*writeOptions)

func (f optionFunc) set(o *writeOptions) { f(o) }

// By sets the actor of the records.
func By(actor string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.actor = actor })
}

// IfSeq refuses the write with a *ConflictError unless the machine is at seq, queued
// writes included. 0 means that the machine must not exist.
func IfSeq(seq uint64) WriteOption {
	return optionFunc(func(o *writeOptions) { o.ifSeq, o.hasIfSeq = seq, true })
}

// Tag adds tags to the records, or to a snapshot. A snapshot with tags is never
// pruned.
func Tag(tags ...string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.tags = append(o.tags, tags...) })
}

// Cause records what led to the write, for example another event.
func Cause(cause string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.cause = cause })
}

// Correlation records what the write belongs to, for example a request.
func Correlation(id string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.correlation = id })
}

// Because sets the SnapshotInfo.Reason of a [Store.Snapshot], or the Meta.Error of
// the record that a [Store.Save] adds. Other writes ignore it.
func Because(reason string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.reason = reason })
}

// NoWait refuses the write with ErrBusy where it would wait for a place in the queue.
func NoWait() WriteOption {
	return optionFunc(func(o *writeOptions) { o.noWait = true })
}

// newWriteOptions returns what opts ask for. The result must not be changed.
func newWriteOptions(opts []WriteOption) *writeOptions {
	if len(opts) == 0 {
		return defaultWriteOptions
	}
	o := new(writeOptions)
	o.add(opts)
	return o
}

// defaultWriteOptions is the result for no options. It must not be changed.
var defaultWriteOptions = func() *writeOptions {
	o := new(writeOptions)
	o.add(nil)
	return o
}()

// add applies opts and derives the origin again unless an option sets one.
func (o *writeOptions) add(opts []WriteOption) {
	given := o.origin
	if o.derived {
		given = 0
	}
	o.origin = given
	for _, opt := range opts {
		if opt != nil {
			opt.set(o)
		}
	}
	if o.derived = o.origin == 0; o.derived {
		o.origin = OriginUser
		if strings.HasPrefix(o.actor, "system") {
			o.origin = OriginSystem
		}
	}
}
