package savepoint

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// Store is the way to the machines of one kind. All methods may be called from
// several goroutines; those of one machine take turns.
type Store[S any] struct {
	db   *DB
	kind *kind
}

// State is a machine at one moment.
type State[S any] struct {
	Head
	Value S
}

// DB is the database of the store.
func (s *Store[S]) DB() *DB { return s.db }

// Kind is the name of the store's kind.
func (s *Store[S]) Kind() string { return s.kind.name }

// Append appends one event. It is durable on return, together with the
// snapshot that the kind's policy wants. A machine that does not exist begins
// with it. The event stays the caller's.
//
// Its errors: those of Check and Apply as they are, within what was attempted;
// [*ConflictError], ErrIllegal, ErrBadEvent, ErrTooLarge, ErrKeyReused: nothing
// happened; ErrBusy, ErrAborted, ErrDiskFull: nothing happened, try again;
// ErrInDoubt: it may have; ErrStopped, ErrQuarantined, ErrClosed.
func (s *Store[S]) Append(ctx context.Context, id string, ev Event[S], opts ...WriteOption) (Head, error) {
	return s.db.wait(ctx, func() *Ack { return s.appendOne(ctx, id, ev, opAppend, opts) })
}

// Go is Append without waiting for the disk: the event is checked and applied
// when it returns, or refused, and the Ack tells when it is durable. Acks of one
// machine resolve in the order of their records.
func (s *Store[S]) Go(ctx context.Context, id string, ev Event[S], opts ...WriteOption) *Ack {
	return s.appendOne(ctx, id, ev, opGo, opts)
}

func (s *Store[S]) appendOne(ctx context.Context, id string, ev Event[S], op op, opts []WriteOption) *Ack {
	o := newWriteOptions(opts)
	return s.db.write(ctx, s.kind, id, o, op, func(d *draft) error {
		if o.key != "" {
			t, err := s.kind.typeOf(ev)
			if err != nil {
				return err
			}
			b, err := d.encodeEvent(t, ev)
			if err != nil {
				return err
			}
			if done, err := d.answerFromKey(t.name, b); done || err != nil {
				return err
			}
		}
		if err := d.checkPreconditions(); err != nil {
			return err
		}
		return d.append(ev)
	})
}

// answerFromKey looks for the write's key and notes the earlier answer.
func (d *draft) answerFromKey(name string, payload []byte) (bool, error) {
	sum, err := keySum(name, payload)
	if err != nil {
		return false, err
	}
	d.keySum = sum
	ack, found, err := d.findKey(sum)
	if err == nil && found {
		d.earlier = ack
	}
	return found, err
}

// keySum tells two writes under one key apart: by their event and its content,
// in whatever order a map was encoded. It is stored with the key.
func keySum(name string, payload []byte) (uint64, error) {
	doc, err := codec.Document(payload)
	if err != nil {
		return 0, fmt.Errorf("%w: event %q as a document: %w", ErrBadEvent, name, err)
	}
	h := sha256.New()
	codec.SumDocument(h, name)
	codec.SumDocument(h, doc)
	return max(1, binary.BigEndian.Uint64(h.Sum(nil))), nil // 0 stands for a callback
}

// Update lets fn look at a machine and append to it: all of fn's events land,
// or none. It is durable on return. fn runs once (again only if another process
// owns the engine's machine), holds the machine, and must not use any store
// itself. An error or panic of fn refuses the whole.
func (s *Store[S]) Update(ctx context.Context, id string, fn func(*Machine[S]) error, opts ...WriteOption) (Head, error) {
	return s.db.wait(ctx, func() *Ack { return s.update(ctx, id, fn, opUpdate, opts) })
}

// GoUpdate is Update without waiting for the disk.
func (s *Store[S]) GoUpdate(ctx context.Context, id string, fn func(*Machine[S]) error, opts ...WriteOption) *Ack {
	return s.update(ctx, id, fn, opGoUpdate, opts)
}

func (s *Store[S]) update(ctx context.Context, id string, fn func(*Machine[S]) error, op op, opts []WriteOption) *Ack {
	o := newWriteOptions(opts)
	return s.db.write(ctx, s.kind, id, o, op, func(d *draft) error {
		m := &Machine[S]{id: id, draft: d}
		defer m.end()
		return callBack(m, fn)
	})
}

func callBack[S any](m *Machine[S], fn func(*Machine[S]) error) (err error) {
	if fn == nil {
		return errors.New("the callback is nil")
	}
	defer guard("the callback", &err)
	if err := fn(m); err != nil {
		return err
	}
	return m.failed
}

// maxAttempts is how often a write is made anew when another process was first.
const maxAttempts = 3

// wait is the waiting half of every write.
func (db *DB) wait(ctx context.Context, write func() *Ack) (Head, error) {
	for n := 1; ; n++ {
		a := write()
		h, err := a.Wait(ctx)
		if err == nil || !a.resolved() || !a.again || n >= maxAttempts {
			return h, err
		}
	}
}

// Save stores a whole state, as one record. It is durable on return. Without
// IfSeq it overwrites; with one that is not the machine's seq the kind's
// OnConflict or Merge decides. The state stays the caller's. Its errors are those
// of Append.
func (s *Store[S]) Save(ctx context.Context, id string, state S, opts ...WriteOption) (Head, error) {
	base := &mergeBase{}
	for {
		h, err := s.db.wait(ctx, func() *Ack { return s.save(ctx, id, &state, base, opts) })
		var c *ConflictError
		if err == nil || !errors.As(err, &c) || c.base == nil {
			return h, err
		}
		base.asked = true // outside of the machine's lock: what is at a seq does not change
		st, err := s.at(ctx, id, AtSeq(c.Want))
		if base.err = err; err == nil {
			base.value = &st.Value
		}
	}
}

func (s *Store[S]) save(ctx context.Context, id string, state *S, base *mergeBase, opts []WriteOption) *Ack {
	o := newWriteOptions(opts)
	return s.db.write(ctx, s.kind, id, o, opSave, func(d *draft) error {
		enc, err := s.kind.encode(state)
		if err != nil {
			return fmt.Errorf("encode the state: %w", err)
		}
		if o.key != "" {
			if done, err := d.answerFromKey(replacedName, enc); done || err != nil {
				return err
			}
		}
		var c *ConflictError
		if err = d.checkPreconditions(); errors.As(err, &c) {
			enc, err = d.resolveConflict(c, enc, base)
		}
		if err != nil || enc == nil {
			return err
		}
		return d.replace(reasonSaved, enc, o.reason)
	})
}

// Load gives a copy of the machine's newest state. What it shows is durable on
// return. A machine that does not exist answers ErrNotFound, a deleted one
// ErrDeleted.
func (s *Store[S]) Load(ctx context.Context, id string) (State[S], error) {
	start := time.Now()
	st, err := s.load(ctx, id, start)
	s.db.metrics.read(opLoad, start, err)
	if err != nil {
		return State[S]{}, fmt.Errorf("load %s %.60q: %w", s.kind.name, id, err)
	}
	return st, nil
}

func (s *Store[S]) load(ctx context.Context, id string, start time.Time) (State[S], error) {
	m, err := s.acquireExisting(ctx, id)
	if err != nil {
		return State[S]{}, err
	}
	head, enc := m.head(), m.enc
	if m.encSeq != m.seq || len(m.tail.ends) > 0 {
		if enc, err = s.kind.encode(s.kind.value(m.st)); err != nil {
			s.db.release(m)
			return State[S]{}, err
		}
	}
	ack := m.newest
	if err := s.db.releaseWhenDurable(ctx, m); err != nil {
		return State[S]{}, err
	}
	if head.Pos == 0 && ack != nil && ack.resolved() && ack.head.Seq == head.Seq {
		head.Pos = ack.head.Pos
	}
	st, err := s.kind.decode(enc)
	if err != nil {
		return State[S]{}, err
	}
	m.counts.loads.Add(time.Since(start))
	copied := st.(*State[S])
	copied.Head = head
	return *copied, nil
}

// View lets fn look at the machine's newest state without a copy. fn holds the
// machine, changes nothing, must not use any store, and the pointer dies with
// it. What fn saw is durable, and counts, when View answers nil; Head.Pos is 0
// where the newest record was still queued.
func (s *Store[S]) View(ctx context.Context, id string, fn func(*State[S]) error) error {
	start := s.db.metrics.sample()
	m, err := s.acquireExisting(ctx, id)
	if err == nil {
		st := m.st.(*State[S])
		if st.Seq != m.seq || st.Pos == 0 || st.Kind == "" {
			st.Head = m.head()
		}
		if err = s.viewHeld(m, st, fn); err == nil {
			err = s.db.releaseWhenDurable(ctx, m)
		}
		if !start.IsZero() {
			m.counts.loads.Add(time.Since(start))
		}
	}
	s.db.metrics.viewed(start, err)
	if err != nil {
		return fmt.Errorf("view %s %.60q: %w", s.kind.name, id, err)
	}
	return nil
}

// viewHeld gives m back unless fn answers nil, also when fn ends its goroutine.
func (s *Store[S]) viewHeld(m *machine, st *State[S], fn func(*State[S]) error) (err error) {
	looked := false
	defer func() {
		if !looked || err != nil {
			s.db.release(m)
		}
	}()
	err = callView(st, fn)
	looked = true
	return err
}

func callView[S any](st *State[S], fn func(*State[S]) error) (err error) {
	defer guard("the callback", &err)
	return fn(st)
}

// acquireExisting gives a live machine that exists, locked, for a look at it.
func (s *Store[S]) acquireExisting(ctx context.Context, id string) (*machine, error) {
	if s.db.closed.Load() {
		return nil, ErrClosed
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	m, err := s.db.acquire(ctx, s.kind, id)
	if err == nil && !m.exists() {
		err = notFoundError(m)
		s.db.release(m)
	}
	return m, err
}

// ListOptions say which machines to list.
type ListOptions struct {
	Prefix  string // only ids that begin with it
	After   string // only ids greater than it: the last one of the page before
	Limit   int    // at most so many; 0 = all
	Deleted bool   // deleted machines too
}

// listPage is how many heads one look at the engine takes.
const listPage = 256

// List gives the heads of the machines of the kind, in the order of their ids,
// as they are on disk: queued writes do not show. A machine whose head is
// damaged gives a *CorruptError beside a Head with its id, and the list goes on
// behind it; any other error ends the list.
func (s *Store[S]) List(ctx context.Context, o ListOptions) iter.Seq2[Head, error] {
	return func(yield func(Head, error) bool) {
		type found struct {
			head Head
			err  error
		}
		prefix, after, given := keyOf(s.kind.name, o.Prefix), "", 0
		if o.After != "" {
			after = keyOf(s.kind.name, o.After)
		}
		for {
			if s.db.closed.Load() {
				yield(Head{}, ErrClosed)
				return
			}
			var page []found
			n := 0
			err := s.db.eng.Scan(ctx, prefix, after, listPage, func(key string, eh engine.Head) error {
				n++
				after = key
				_, id, _ := splitKey(key)
				var h record.Head
				err := eh.Err
				if err == nil {
					err = h.Parse(eh.Bytes, key)
				}
				if err != nil {
					page = append(page, found{Head{Kind: s.kind.name, ID: id}, corrupt(s.kind, id, "head", eh.Seq, err)})
					return nil
				}
				if h.Deleted && !o.Deleted {
					return nil
				}
				head := publicHead(s.kind, id, eh.Seq, &h)
				head.Pos = eh.Pos
				page = append(page, found{head, nil})
				return nil
			})
			for _, f := range page {
				if given++; o.Limit > 0 && given > o.Limit {
					return
				}
				if !yield(f.head, f.err) {
					return
				}
			}
			if err != nil {
				yield(Head{}, fmt.Errorf("list %s: %w", s.kind.name, err))
				return
			}
			if n < listPage {
				return
			}
		}
	}
}
