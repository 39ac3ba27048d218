package savepoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/engine"
)

// Machine is a machine in the hands of an Update. It dies with the callback.
type Machine[S any] struct {
	id     string
	draft  *draft // nil when it is over
	tx     *Tx    // of a db.Update, or nil
	failed error
}

var errMachineDead = errors.New("the Machine was used after its callback")

func (m *Machine[S]) end() { m.draft = nil }

// ID is the machine's id.
func (m *Machine[S]) ID() string { return m.id }

// Head is where the machine is, the events of this Update included; after the
// callback it is zero.
func (m *Machine[S]) Head() Head {
	if m.over() {
		return Head{}
	}
	return m.draft.head()
}

// State is the live state, to look at. Only events change it; what is written
// to it here is not stored and differs from what a replay gives. After the
// callback it is nil.
func (m *Machine[S]) State() *S {
	if m.over() {
		return nil
	}
	return m.draft.valueForCallback().(*S)
}

func (m *Machine[S]) over() bool { return m.draft == nil || m.tx != nil && m.tx.ended }

// Append appends events, in order. The first error ends it; then the whole
// Update is refused, even if the callback answers nil.
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

func (m *Machine[S]) usable() error {
	switch {
	case m.over():
		return errMachineDead
	case m.tx != nil:
		return m.tx.failed
	}
	return m.failed
}

// fail makes the whole Update fail, whatever its callback answers.
func (m *Machine[S]) fail(err error) error {
	if m.tx != nil {
		m.tx.failed = m.draft.errorf("write to", err)
		return m.tx.failed
	}
	m.failed = err
	return err
}

// With sets options for what is appended from here on: By, Tag, Cause,
// Correlation, an Origin. The conditions of the whole write, IfSeq, Key and
// NoWait, belong to the call and are refused here.
func (m *Machine[S]) With(opts ...WriteOption) error {
	if err := m.usable(); err != nil {
		return err
	}
	o := *m.draft.opt
	key, seq, has, noWait := o.key, o.ifSeq, o.hasIfSeq, o.noWait
	o.tags = nil
	o.add(opts)
	if o.key != key || o.ifSeq != seq || o.hasIfSeq != has || o.noWait != noWait {
		return m.fail(fmt.Errorf("%w: IfSeq, Key and NoWait are for the whole write: give them to the call", ErrUnsupported))
	}
	m.draft.opt = &o
	return nil
}

// Save replaces the whole state, as one record.
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

// Tx is a db.Update in progress. It dies with the callback.
type Tx struct {
	db     *DB
	ctx    context.Context
	opt    writeOptions
	drafts []*draft
	ended  bool
	failed error
}

var errTxDead = errors.New("the Tx was used after its callback")

// Update changes several machines, of several kinds, all or nothing. In fn,
// [Store.In] gives each machine; it is held until Update has queued the step.
// fn runs once and must use the machines of the Tx only, never a Store. Updates
// of several machines run one at a time, but the next one need not wait for the
// disk. It is durable on return; its errors are those of [Store.Append]. On an
// engine that cannot do it, the second machine answers ErrUnsupported. The
// options By, Tag, Cause, Correlation, NoWait and an Origin go for all machines.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error, opts ...WriteOption) error {
	_, err := db.wait(ctx, func() *Ack {
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
	if o.hasIfSeq || o.key != "" {
		return nil, fmt.Errorf("%w: IfSeq and Key are for one machine: give them to In", ErrUnsupported)
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
	made := false
	defer func() { // also when the callback ends its goroutine
		tx.ended = true
		if ack == nil { // nothing was queued
			db.queue.Release()
		}
		for _, d := range tx.drafts {
			if !made {
				d.rollback()
			}
			db.release(d.m)
		}
	}()
	ack, err := tx.queue(ctx, start, fn)
	if err != nil {
		return nil, err
	}
	made = true
	if ack == nil {
		return resolvedAck(Head{}), nil
	}
	return ack, nil
}

func (tx *Tx) queue(ctx context.Context, start time.Time, fn func(*Tx) error) (*Ack, error) {
	err := tx.call(fn)
	tx.ended = true
	if err == nil {
		err = tx.failed
	}
	if err != nil {
		return nil, err
	}
	db := tx.db
	s := &step{ack: newAck(opAcross, start)}
	var bytes int64
	var drafts []*draft
	for _, d := range tx.drafts {
		if d.empty() {
			if d.m.idle() || d.seq == 0 {
				continue
			}
			// The rest rests on what is not durable yet: it lands behind that, or not at all.
			if len(d.m.unsaved) > 0 {
				if err := d.snapshot("interval", nil); err != nil {
					return nil, d.errorf("write to", err)
				}
			}
		}
		w, err := d.complete(ctx)
		if err != nil {
			return nil, d.errorf("write to", err)
		}
		s.writes = append(s.writes, w)
		bytes += d.bytes
		if err := db.fits(&w, bytes); err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	if len(drafts) == 0 {
		return nil, nil
	}
	for _, d := range drafts {
		d.publish(s.ack)
		d.watched()
		s.begin(d)
		d.m.queued, d.m.newest = d.m.seq, s.ack
		s.acks = append(s.acks, d.m.takeUnsaved()...)
		s.parts = append(s.parts, part{d.m, d.m.seq})
	}
	ack := s.ack // the step is the committer's from here on
	db.push(s, bytes)
	return ack, nil
}

func (tx *Tx) call(fn func(*Tx) error) (err error) {
	if fn == nil {
		return errors.New("the callback is nil")
	}
	defer guard("the callback", &err)
	return fn(tx)
}

// In gives the machine for use in tx, live and held until the Update ends. The
// options IfSeq, By, Tag and so on go for what tx appends to this machine; IfSeq
// is checked at once.
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
		return nil, errTxDead
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
			return &Machine[S]{id: id, draft: d, tx: tx}, d.checkPreconditions()
		}
	}
	if len(tx.drafts) > 0 && !s.db.eng.Limits().AtomicAcross {
		return nil, fmt.Errorf("%w: the engine stores one machine at a time", engine.ErrUnsupported)
	}
	m, err := s.db.acquire(tx.ctx, s.kind, id)
	if err != nil {
		return nil, err
	}
	d := s.db.newDraft(m, &o)
	if err := d.checkPreconditions(); err != nil {
		s.db.release(m)
		return nil, err
	}
	tx.drafts = append(tx.drafts, d)
	return &Machine[S]{id: id, draft: d, tx: tx}, nil
}
