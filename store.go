package savepoint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// Store is the way to the machines of one kind; [Register] returns it. All methods
// may be called from several goroutines; calls for the same machine take turns.
//
// A Store has methods of nearly all features, so each method is in the file of its
// subject: Snapshots in snapshot.go, Events in events.go, and so on.
type Store[S any] struct {
	db   *DB
	kind *kind
}

// State is a machine's state at one moment, and the head that belongs to it.
type State[S any] struct {
	Head
	Value S
}

// DB returns the database of the store.
func (s *Store[S]) DB() *DB { return s.db }

// Kind returns the name of the store's kind.
func (s *Store[S]) Kind() string { return s.kind.name }

// Append appends one event to a machine. The event is durable on return, together
// with the snapshot that the kind's policy asks for. A machine that does not exist
// starts with the event. The event stays the caller's.
//
// An error of the event's Check or Apply is returned wrapped: the text adds the machine
// and the event. Other errors that refuse the write, so that nothing happened: [*ConflictError],
// ErrIllegal, ErrBadEvent, ErrTooLarge, ErrKeyReused, ErrQuarantined, ErrReadOnly,
// ErrStopped, ErrClosed. After ErrBusy, ErrAborted and ErrDiskFull nothing happened
// either, and the write may be tried again. After ErrInDoubt the write may be
// stored; see [*InDoubtError].
func (s *Store[S]) Append(ctx context.Context, id string, ev Event[S], opts ...WriteOption) (Head, error) {
	return waitForWrite(ctx, func() *Ack { return s.appendOne(ctx, id, ev, opAppend, opts) })
}

// Go is Append that does not wait for the disk. On return the event is checked and
// applied in memory, or refused; later calls see its effect. The Ack resolves when
// the event is durable, or with an error when it is not: the machine then returns to
// the state that is stored. The Acks of one machine resolve in the order of its
// records. Under SnapshotOnly an Ack may take until the next snapshot of the
// interval, Flush or Close.
func (s *Store[S]) Go(ctx context.Context, id string, ev Event[S], opts ...WriteOption) *Ack {
	return s.appendOne(ctx, id, ev, opGo, opts)
}

func (s *Store[S]) appendOne(ctx context.Context, id string, ev Event[S], op op, opts []WriteOption) *Ack {
	o := newWriteOptions(opts)
	return s.db.write(ctx, request{s.kind, id, op, o}, func(d *draft) error {
		if o.key != "" {
			t, err := s.kind.typeOf(ev)
			if err != nil {
				return err
			}
			b, err := d.encodeEvent(t, ev)
			if err != nil {
				return err
			}
			if done, err := ackFromKey(d, t.name, b); done || err != nil {
				return err
			}
		}
		if err := d.opt.check(d.m); err != nil {
			return err
		}
		return d.append(ev)
	})
}

// Update calls fn with a machine, to read its state and append events to it: either
// all of fn's events are stored, or none. They are durable on return.
//
// fn holds the machine's lock and must not call any method of a Store or of the DB.
// An error or a panic of fn refuses the whole write. fn runs once; only where
// another process, through a shared engine, wrote to the machine at the same time
// does it run again on the new state, three times at most. The errors are those of
// [Store.Append].
func (s *Store[S]) Update(ctx context.Context, id string, fn func(*Machine[S]) error, opts ...WriteOption) (Head, error) {
	return waitForWrite(ctx, func() *Ack { return s.update(ctx, id, fn, opUpdate, opts) })
}

// GoUpdate is Update that does not wait for the disk: fn has run on return, and the
// Ack resolves as that of [Store.Go] does. fn never runs again.
func (s *Store[S]) GoUpdate(ctx context.Context, id string, fn func(*Machine[S]) error, opts ...WriteOption) *Ack {
	return s.update(ctx, id, fn, opGoUpdate, opts)
}

func (s *Store[S]) update(ctx context.Context, id string, fn func(*Machine[S]) error, op op, opts []WriteOption) *Ack {
	o := newWriteOptions(opts)
	return s.db.write(ctx, request{s.kind, id, op, o}, func(d *draft) error {
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

// maxAttempts is how often something is tried when another writer was first: a write
// to a machine that another process changed, a rebuild from a log that was compacted
// while it was read.
const maxAttempts = 3

// waitForWrite calls write and waits for the Ack that it returns. It calls write
// again where the engine reports that another process was first.
func waitForWrite(ctx context.Context, write func() *Ack) (Head, error) {
	for n := 1; ; n++ {
		a := write()
		h, err := a.Wait(ctx)
		if err == nil || !a.resolved() || !a.again || n >= maxAttempts {
			return h, err
		}
	}
}

// Save replaces a machine's whole state, as one record. It is durable on return.
// Without IfSeq it overwrites whatever the state is; with an IfSeq that is not the
// machine's seq, the kind's OnConflict or Merge decides. Check and Apply of events
// do not run, Legal and Validate hold. The state stays the caller's. The errors are
// those of [Store.Append].
func (s *Store[S]) Save(ctx context.Context, id string, state S, opts ...WriteOption) (Head, error) {
	base := &mergeBase{}
	for {
		h, err := waitForWrite(ctx, func() *Ack { return s.save(ctx, id, &state, base, opts) })
		var c *ConflictError
		if err == nil || !errors.As(err, &c) || c.base == nil {
			return h, err
		}
		base.asked = true // without the machine's lock: the state at a seq does not change
		st, err := s.at(ctx, id, AtSeq(c.Want))
		if base.err = err; err == nil {
			base.value = &st.Value
		}
	}
}

func (s *Store[S]) save(ctx context.Context, id string, state *S, base *mergeBase, opts []WriteOption) *Ack {
	o := newWriteOptions(opts)
	return s.db.write(ctx, request{s.kind, id, opSave, o}, func(d *draft) error {
		enc, err := s.kind.encode(state)
		if err != nil {
			return fmt.Errorf("encode the state: %w", err)
		}
		if o.key != "" {
			if done, err := ackFromKey(d, replacedName, enc); done || err != nil {
				return err
			}
		}
		var c *ConflictError
		if err = d.opt.check(d.m); errors.As(err, &c) {
			enc, err = base.resolve(d, c, enc)
		}
		if err != nil || enc == nil {
			return err
		}
		return d.replace(reasonSaved, enc, o.reason)
	})
}

// Load returns a copy of a machine's newest state, which is the caller's. It waits
// until that state is durable. The errors: ErrNotFound, ErrDeleted of a deleted
// machine, ErrQuarantined, ErrInDoubt, ErrClosed, and those of a failed write that
// the state contained.
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
	head, enc := m.head(), m.encoded.state
	if !m.encoded.current(m.seq) {
		if enc, err = s.kind.encode(s.kind.value(m.live)); err != nil {
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

// View calls fn with a machine's newest state, without a copy. fn must not change
// the state, must not keep the pointer after it returns, and must not call any
// method of a Store or of the DB, because it holds the machine's lock.
//
// The state may contain writes that are not durable yet. View waits for them after
// fn: when it returns nil, everything that fn saw is durable. When it returns an
// error, the caller must ignore what fn saw, for it may not be stored. Head.Pos is 0
// while the newest record is not durable. The errors are those of [Store.Load] and
// of fn.
func (s *Store[S]) View(ctx context.Context, id string, fn func(*State[S]) error) error {
	start := s.db.metrics.sample()
	m, err := s.acquireExisting(ctx, id)
	if err == nil {
		st := m.live.(*State[S])
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

// viewHeld calls fn and releases m unless fn succeeded, also when fn calls
// runtime.Goexit.
func (s *Store[S]) viewHeld(m *machine, st *State[S], fn func(*State[S]) error) (err error) {
	returned := false
	defer func() {
		if !returned || err != nil {
			s.db.release(m)
		}
	}()
	err = callView(st, fn)
	returned = true
	return err
}

func callView[S any](st *State[S], fn func(*State[S]) error) (err error) {
	defer guard("the callback", &err)
	return fn(st)
}

// acquireExisting returns a machine that exists, live and with its lock held.
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
	Prefix  string // only ids that start with it
	After   string // only ids greater than it: the last id of the page before
	Limit   int    // at most this many machines; 0 = all
	Deleted bool   // deleted machines too
}

// listPage is how many heads List reads from the engine at a time.
const listPage = 256

// List returns the heads of the kind's machines, ordered by the bytes of their ids,
// as they are on disk: queued writes are not seen. A machine whose head is damaged
// yields a *CorruptError and a Head with only Kind and ID, and the list continues after
// it; any other error ends the list.
func (s *Store[S]) List(ctx context.Context, o ListOptions) iter.Seq2[Head, error] {
	return func(yield func(Head, error) bool) {
		type found struct {
			head Head
			err  error
		}
		prefix, after, listed := keyOf(s.kind.name, o.Prefix), "", 0
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
				if listed++; o.Limit > 0 && listed > o.Limit {
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
