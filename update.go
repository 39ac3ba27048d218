package savepoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/engine"
)

// Machine is a machine inside the callback of an Update. It is for the callback's
// goroutine only. After the callback its methods return zero values or an error.
type Machine[S any] struct {
	id     string
	draft  *draft // nil after the callback of a Store's Update
	tx     *Tx    // of a db.Update; nil of a Store's
	failed error  // the first error of a Store's Update
}

var errMachineEnded = errors.New("the Machine was used after its callback")

func (m *Machine[S]) end() { m.draft = nil }

// ID returns the machine's id.
func (m *Machine[S]) ID() string { return m.id }

// Head returns the machine's head, the records of this Update included. After the
// callback it is zero.
func (m *Machine[S]) Head() Head {
	if m.over() {
		return Head{}
	}
	return m.draft.head()
}

// State returns the machine's live state, for reading: only events may change it. A
// change made through the pointer is not stored, and the machine then differs from the
// result of a replay. Call State again after an Append or a Save, because they may
// replace the state. After the callback State returns nil.
func (m *Machine[S]) State() *S {
	if m.over() {
		return nil
	}
	return m.draft.valueForCallback().(*S)
}

func (m *Machine[S]) over() bool { return m.draft == nil || m.tx != nil && m.tx.ended }

// Append appends events, in order, and stops at the first error. The whole Update is
// refused then, even if the callback returns nil. The events stay the caller's.
func (m *Machine[S]) Append(events ...Event[S]) error {
	if err := m.usable(); err != nil {
		return err
	}
	for _, ev := range events {
		if err := m.draft.append(ev); err != nil {
			return m.fail(err)
		}
	}
	return nil
}

// usable returns the reason why nothing can be appended any more, or nil.
func (m *Machine[S]) usable() error {
	switch {
	case m.over():
		return errMachineEnded
	case m.tx != nil:
		return m.tx.failed
	}
	return m.failed
}

// fail makes the whole Update fail, whatever its callback returns.
func (m *Machine[S]) fail(err error) error {
	if m.tx != nil {
		m.tx.failed = m.draft.errorf("write to", err)
		return m.tx.failed
	}
	m.failed = err
	return err
}

// With sets options for what is appended after it: By, Tag, Cause, Correlation, an
// Origin. Its tags replace all tags set before. IfSeq, Key and NoWait belong to the
// whole write, so they are refused here with ErrUnsupported.
func (m *Machine[S]) With(opts ...WriteOption) error {
	if err := m.usable(); err != nil {
		return err
	}
	o := *m.draft.opt
	o.tags = nil
	o.add(opts)
	if o.conditions != m.draft.opt.conditions {
		return m.fail(fmt.Errorf("%w: IfSeq, Key and NoWait apply to the whole write: pass them to the call", ErrUnsupported))
	}
	m.draft.opt = &o
	return nil
}

// Save replaces the machine's whole state, as one record. An error refuses the whole
// Update, even if the callback returns nil. The state stays the caller's.
func (m *Machine[S]) Save(state S) error {
	if err := m.usable(); err != nil {
		return err
	}
	enc, err := m.draft.m.kind.encode(&state)
	if err == nil {
		err = m.draft.replace(reasonSaved, enc, "")
	}
	if err != nil {
		return m.fail(err)
	}
	return nil
}

// Tx is the argument of a [DB.Update] callback; [Store.In] takes machines from it. It
// is for the callback's goroutine only, and of no use after the callback.
type Tx struct {
	db     *DB
	ctx    context.Context
	opt    writeOptions
	drafts []*draft // of the machines in the order of In; their locks are held
	ended  bool     // the callback has returned
	failed error    // the first error, which refuses the Update
}

var errTxEnded = errors.New("the Tx was used after its callback")

// Update writes to several machines, which may be of several kinds: everything that fn
// appends is stored, or nothing is. It is durable on return.
//
// In fn, [Store.In] returns each machine that is to be read or written. Its lock is
// held until Update has queued the step, so fn must use the machines of tx only, and
// no method of a Store or of the DB except In. fn runs once, or again in the case that
// [Store.Update] describes. Only one DB.Update runs at a time, but the next one starts while
// this one waits for the disk. Machines that fn only reads are not written; what fn
// saw of them is durable on return.
//
// The options By, Tag, Cause, Correlation, NoWait and an Origin hold for all
// machines; IfSeq and Key are refused with ErrUnsupported. A second machine is refused
// with it too if the engine cannot write to several machines in one step. The other
// errors are those of [Store.Append].
func (db *DB) Update(ctx context.Context, fn func(*Tx) error, opts ...WriteOption) error {
	_, err := waitForWrite(ctx, func() *Ack {
		ack, err := db.updateAcross(ctx, fn, opts)
		if err != nil {
			db.metrics.refuse(opAcross, err)
			return refused(fmt.Errorf("update: %w", err))
		}
		return ack
	})
	return err
}

func (db *DB) updateAcross(ctx context.Context, fn func(*Tx) error, opts []WriteOption) (*Ack, error) {
	start := time.Now()
	o := newWriteOptions(opts)
	if o.conditions != (conditions{noWait: o.noWait}) {
		return nil, fmt.Errorf("%w: IfSeq and Key apply to one machine: pass them to In", ErrUnsupported)
	}
	if err := db.reserve(ctx, o.noWait, false); err != nil {
		return nil, err
	}
	select {
	case db.across <- struct{}{}:
		defer func() { <-db.across }()
	case <-ctx.Done():
		db.queue.Release()
		return nil, fmt.Errorf("wait for another Update: %w", context.Cause(ctx))
	}
	tx := &Tx{db: db, ctx: ctx, opt: *o}
	var ack *Ack
	queued := false
	defer func() { // deferred because the callback may call runtime.Goexit
		tx.ended = true
		if ack == nil { // nothing was queued
			db.queue.Release()
		}
		for _, d := range tx.drafts {
			if !queued {
				d.rollback()
			}
			db.release(d.m)
		}
	}()
	ack, err := tx.queue(ctx, start, fn)
	if err != nil {
		return nil, err
	}
	queued = true
	if ack == nil {
		return resolvedAck(Head{}), nil
	}
	return ack, nil
}

// queue calls fn, makes one step of what it did and queues the step. It returns no
// Ack where nothing has to become durable.
func (tx *Tx) queue(ctx context.Context, start time.Time, fn func(*Tx) error) (*Ack, error) {
	err := tx.call(fn)
	tx.ended = true
	if err == nil {
		err = tx.failed
	}
	if err != nil {
		return nil, err
	}
	s := &step{ack: newAck(opAcross, start)}
	var drafts []*draft // those that take part in the step
	var size int64
	for _, d := range tx.drafts {
		if d.empty() && (d.m.idle() || d.seq == 0) { // fn only read the machine, and what it read is durable
			continue
		}
		w, err := d.completeInTx(ctx)
		if err != nil {
			return nil, d.errorf("write to", err)
		}
		s.writes = append(s.writes, w)
		size += d.made.size
		if err := tx.db.fits(&w, size); err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	if len(drafts) == 0 {
		return nil, nil
	}
	for _, d := range drafts {
		d.publish(s.ack)
		tx.db.anomalies.watchWrite(d.m, d.made.events)
		d.m.setQueued(s.ack)
		d.putFirst(s)
		s.acks = append(s.acks, d.m.takeUnsaved()...)
		s.parts = append(s.parts, part{&d.m.commitState, d.m.seq})
	}
	ack := s.ack // push hands s to the committer
	tx.db.push(s, size)
	return ack, nil
}

func (tx *Tx) call(fn func(*Tx) error) (err error) {
	if fn == nil {
		return errors.New("the callback is nil")
	}
	defer guard("the callback", &err)
	return fn(tx)
}

// In returns a machine for use in tx, with its newest state, and holds its lock until
// the Update has queued its step. The options By, Tag, Cause, Correlation and an Origin
// hold for what tx appends to this machine; IfSeq is compared at once with the seq
// that the machine had before tx. An error refuses the whole Update, even if the
// callback returns nil.
func (s *Store[S]) In(tx *Tx, id string, opts ...WriteOption) (*Machine[S], error) {
	m, err := s.in(tx, id, opts)
	if err != nil {
		if tx.failed == nil {
			tx.failed = err
		}
		return nil, err
	}
	return m, nil
}

func (s *Store[S]) in(tx *Tx, id string, opts []WriteOption) (*Machine[S], error) {
	if tx.ended {
		return nil, errTxEnded
	}
	if tx.db != s.db {
		return nil, fmt.Errorf("kind %q is of another database", s.kind.name)
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	o := tx.opt
	o.add(opts)
	if o.key != "" {
		return nil, fmt.Errorf("%w: a Key is for a write to one machine", ErrUnsupported)
	}
	for _, d := range tx.drafts {
		if d.m.kind == s.kind && d.m.id == id {
			d.opt = &o
			return &Machine[S]{id: id, draft: d, tx: tx}, d.opt.check(d.m)
		}
	}
	if len(tx.drafts) > 0 && !s.db.eng.Limits().AtomicAcross {
		return nil, fmt.Errorf("%w: the engine stores one machine at a time", engine.ErrUnsupported)
	}
	m, err := s.db.acquire(tx.ctx, s.kind, id)
	if err != nil {
		return nil, err
	}
	d := newDraft(s.db, m, &o)
	if err := d.opt.check(d.m); err != nil {
		s.db.release(m)
		return nil, err
	}
	tx.drafts = append(tx.drafts, d)
	return &Machine[S]{id: id, draft: d, tx: tx}, nil
}
