package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// The model: what the library has to answer, kept in plain slices.

// plainRecord is a record of the model and what it left.
type plainRecord struct {
	name    string
	key     string
	time    int64
	state   tally
	deleted bool
	rev     uint64
}

// plain is a machine of the model. recs[i] is record base+1+i.
type plain struct {
	base   uint64
	first  tally // the state at the base
	rev    uint64
	recs   []plainRecord
	keys   []plainKey
	mark   uint64
	tagged map[uint64]bool
	cut    uint64 // the log was compacted up to it; 0 = it was not
}

type plainKey struct {
	name string
	what any // of the write; nil of a callback
	seq  uint64
}

func newPlain() *plain { return &plain{first: tally{Phase: "any"}, tagged: map[uint64]bool{}} }

// begins is where the log begins.
func (p *plain) begins() uint64 { return max(p.base, p.cut) }

func (p *plain) seq() uint64 { return p.base + uint64(len(p.recs)) }

// at is what record seq left; the base counts as one.
func (p *plain) at(seq uint64) plainRecord {
	if seq == p.base {
		return plainRecord{state: p.first, rev: p.rev}
	}
	return p.recs[seq-p.base-1]
}

func (p *plain) newest() plainRecord { return p.at(p.seq()) }
func (p *plain) exists() bool        { return p.seq() > 0 && !p.newest().deleted }

// copied is a draft: what is added to it does not show in p.
func (p *plain) copied() *plain {
	q := *p
	q.recs, q.keys = slices.Clip(p.recs), slices.Clip(p.keys)
	return &q
}

func (t tally) copied() tally {
	t.Slots, t.Last = maps.Clone(t.Slots), slices.Clone(t.Last)
	return t
}

// refusals of the model.
var (
	errRule    = errors.New("a rule") // Check, Apply or Validate
	errIllegal = savepoint.ErrIllegal
)

var legal = tallyKind("", 0, noPolicy).Legal

func (p *plain) add(name string, st tally, deleted bool, w *writeModel) {
	p.recs = append(p.recs, plainRecord{name, w.key, w.now, st, deleted, p.newest().rev})
}

// writeModel is what a write brings along.
type writeModel struct {
	actor, key string
	now        int64
}

func (p *plain) append(ev savepoint.Event[tally], w *writeModel) error {
	if p.newest().deleted {
		p.add("_replaced", tally{Phase: "any"}, false, w)
	}
	old := p.newest().state
	st := old.copied()
	m := savepoint.Meta{Actor: w.actor, Key: w.key, Time: time.UnixMicro(w.now), Seq: p.seq() + 1}
	if c, ok := ev.(savepoint.Checker[tally]); ok && c.Check(&st, m) != nil {
		return errRule
	}
	if ev.Apply(&st, m) != nil {
		return errRule
	}
	name := "turned"
	if _, ok := ev.(added); ok {
		name = "added"
	}
	return p.check(name, old, st, w)
}

func (p *plain) save(st tally, w *writeModel, versioned bool) error {
	if err := p.check("_replaced", p.newest().state, st.copied(), w); err != nil {
		return err
	}
	if versioned {
		p.recs[len(p.recs)-1].rev++
	}
	return nil
}

func (p *plain) check(name string, old, st tally, w *writeModel) error {
	if old.Phase != st.Phase && !slices.Contains(legal[old.Phase], st.Phase) {
		return errIllegal
	}
	if st.Sum < -1_000_000 {
		return errRule
	}
	p.add(name, st, false, w)
	return nil
}

// keyed is the seq that a key's first write led to.
func (p *plain) keyed(key string, what any) (uint64, bool, error) {
	for _, k := range slices.Backward(p.keys) {
		if key != "" && k.name == key {
			if !reflect.DeepEqual(k.what, what) {
				return 0, true, savepoint.ErrKeyReused
			}
			return k.seq, true, nil
		}
	}
	return 0, false, nil
}

func (p *plain) remember(key string, what any) {
	if key != "" {
		p.keys = append(p.keys, plainKey{key, what, p.seq()})
		p.keys = p.keys[max(0, len(p.keys)-256):]
	}
}

// world is a database and its model.
type world struct {
	t      testing.TB
	rng    *rand.Rand
	seed   uint64
	opt    savepoint.Options
	open   func(*savepoint.Options) *savepoint.DB
	reopen bool
	skip   bool // reopening only settles, with the same random numbers

	db     *savepoint.DB
	kinds  []savepoint.Kind[tally]
	stores []*savepoint.Store[tally]
	model  []map[string]*plain
	acks   []waiting
	now    int64
	log    []string
	ops    int
}

type waiting struct {
	ack *savepoint.Ack
	seq uint64
	op  string
}

const worldIDs = 5

func worldKinds() []savepoint.Kind[tally] {
	p := savepoint.SnapshotPolicy{Events: 7, Every: 90 * time.Second, OnError: true, Keep: 3}
	often := savepoint.SnapshotPolicy{Events: 1, Every: -1, Keep: 2, OnPhase: true, MaxAge: time.Minute, NoClose: true}
	lazy := savepoint.SnapshotPolicy{Events: 5, Every: -1, Keep: 4, MaxAge: -1}
	return []savepoint.Kind[tally]{
		tallyKind("hybrid", savepoint.Hybrid, p),
		tallyKind("sourced", savepoint.EventSourced, p),
		tallyKind("only", savepoint.SnapshotOnly, lazy),
		tallyKind("versioned", savepoint.Versioned, p),
		tallyKind("often", savepoint.Hybrid, often),
	}
}

func newWorld(t testing.TB, seed uint64, o savepoint.Options, reopen bool, open func(*savepoint.Options) *savepoint.DB) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), seed: seed, opt: o, open: open, reopen: reopen,
		kinds: worldKinds(), now: 1_700_000_000_000_000}
	w.opt.Archive = newShelf()
	w.opt.Now = func() time.Time { return time.UnixMicro(w.now) }
	for range w.kinds {
		w.model = append(w.model, map[string]*plain{})
	}
	w.start()
	return w
}

func (w *world) start() {
	o := w.opt
	w.db = w.open(&o)
	w.stores = nil
	for _, k := range w.kinds {
		s, err := savepoint.Register(w.db, k)
		require.NoError(w.t, err)
		w.stores = append(w.stores, s)
	}
}

// fail tells how to see it again.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("operation %d of seed %d: %s\nthe last ones: %q", w.ops, w.seed, fmt.Sprintf(format, args...), w.log[max(0, len(w.log)-12):])
}

func (w *world) same(what string, want, got any) {
	w.t.Helper()
	if !reflect.DeepEqual(want, got) {
		w.fail("%s: want %+v, got %+v", what, want, got)
	}
}

// answered compares an answer with the model's.
func (w *world) answered(op string, want, got error) {
	w.t.Helper()
	switch {
	case want == nil && got == nil:
	case want == nil || got == nil:
		w.fail("%s: want error %v, got %v", op, want, got)
	case want == errRule:
		if !errors.Is(got, errOdd) && !errors.Is(got, errCallback) && got.Error() == "" {
			w.fail("%s: want a rule, got %v", op, got)
		}
	case !errors.Is(got, want):
		w.fail("%s: want error %v, got %v", op, want, got)
	}
}

var errCallback = errors.New("the callback would not")

func (w *world) pick() (k int, id string, p *plain) {
	k, id = w.rng.IntN(len(w.kinds)), fmt.Sprint("g", w.rng.IntN(worldIDs))
	return k, id, w.get(k, id)
}

func (w *world) get(k int, id string) *plain {
	if p := w.model[k][id]; p != nil {
		return p
	}
	return newPlain()
}

func (w *world) event() savepoint.Event[tally] {
	r := w.rng
	switch n := r.IntN(20); {
	case n < 14:
		return added{N: int64(r.IntN(9)), Slot: []string{"", "a", "b"}[r.IntN(3)]}
	case n == 14:
		return added{N: failsInApply}
	case n == 15:
		return added{N: -3_000_000}
	}
	return &turned{To: []string{"any", "even", "end"}[r.IntN(3)], More: map[string]int64{"m": int64(r.IntN(5))}}
}

func (w *world) state() tally {
	t := tally{Phase: []string{"any", "even", "end"}[w.rng.IntN(3)], Sum: int64(w.rng.IntN(100)), By: "saved"}
	if w.rng.IntN(2) == 0 {
		t.Slots, t.Last = map[string]int64{"s": 1}, []int64{7, 7}
	}
	return t
}

// options of a write, for both sides.
func (w *world) options(p *plain) (wm *writeModel, opts []savepoint.WriteOption, admit func(*plain) error) {
	r := w.rng
	wm = &writeModel{actor: []string{"", "ann", "system:x"}[r.IntN(3)], now: w.now}
	if wm.actor != "" {
		opts = append(opts, savepoint.By(wm.actor))
	}
	switch r.IntN(6) {
	case 0:
		wm.key = fmt.Sprint("k", r.IntN(400))
	case 1:
		if len(p.keys) > 0 {
			wm.key = p.keys[r.IntN(len(p.keys))].name
		}
	}
	if wm.key != "" {
		opts = append(opts, savepoint.Key(wm.key))
	}
	admit = func(*plain) error { return nil }
	if r.IntN(5) == 0 {
		n := []uint64{p.seq(), p.seq() + 1, 0}[r.IntN(3)]
		opts = append(opts, savepoint.IfSeq(n))
		admit = func(p *plain) error {
			if n == p.seq() || n == 0 && !p.exists() {
				return nil
			}
			return savepoint.ErrConflict
		}
	}
	return wm, opts, admit
}

// write runs one single-machine write on both sides.
func (w *world) write(op string, k int, id string, what any, model func(*plain, *writeModel) error,
	do func(opts []savepoint.WriteOption) (*savepoint.Ack, savepoint.Head, error)) {
	w.t.Helper()
	p := w.get(k, id)
	wm, opts, admit := w.options(p)
	q := p.copied()
	seq, found, err := p.keyed(wm.key, what)
	if !found {
		if err = admit(p); err == nil {
			err = model(q, wm)
		}
		if err == nil {
			if seq = q.seq(); seq > p.seq() {
				q.remember(wm.key, what)
			}
		}
	}
	ack, h, got := do(opts)
	if ack != nil && err == nil {
		w.acks = append(w.acks, waiting{ack, seq, w.log[len(w.log)-1]})
	} else {
		w.answered(op, err, got)
		if err == nil {
			w.same(op+": seq", seq, h.Seq)
		}
	}
	if err == nil && !found && q.seq() > 0 {
		w.model[k][id] = q
	}
}

// step is one random operation.
func (w *world) step() {
	ctx, r := context.Background(), w.rng
	w.ops++
	w.now += int64(r.IntN(3_000_000))
	if r.IntN(100) == 0 {
		w.now += int64(r.IntN(400_000_000)) - 200_000_000
	}
	k, id, p := w.pick()
	s := w.stores[k]
	versioned := w.kinds[k].Strategy == savepoint.Versioned
	only := w.kinds[k].Strategy == savepoint.SnapshotOnly
	n := r.IntN(100)
	w.log = append(w.log, fmt.Sprintf("%d %s %s at %d", n, w.kinds[k].Name, id, p.seq()))
	wait := func(h savepoint.Head, err error) (*savepoint.Ack, savepoint.Head, error) { return nil, h, err }
	goes := func(a *savepoint.Ack) (*savepoint.Ack, savepoint.Head, error) {
		select {
		case <-a.Done():
			h, err := a.Wait(ctx)
			return nil, h, err
		default:
			return a, savepoint.Head{}, nil
		}
	}
	switch {
	case n < 25:
		ev := w.event()
		w.write("append", k, id, ev, func(q *plain, m *writeModel) error { return q.append(ev, m) },
			func(o []savepoint.WriteOption) (*savepoint.Ack, savepoint.Head, error) {
				return wait(s.Append(ctx, id, ev, o...))
			})
	case n < 40:
		ev := w.event()
		w.write("go", k, id, ev, func(q *plain, m *writeModel) error { return q.append(ev, m) },
			func(o []savepoint.WriteOption) (*savepoint.Ack, savepoint.Head, error) {
				return goes(s.Go(ctx, id, ev, o...))
			})
	case n < 52:
		var evs []savepoint.Event[tally]
		for range r.IntN(4) {
			evs = append(evs, w.event())
		}
		saved, refuse := w.state(), r.IntN(6) == 0
		withSave := r.IntN(4) == 0
		model := func(q *plain, m *writeModel) error {
			for _, ev := range evs {
				if err := q.append(ev, m); err != nil {
					return err
				}
			}
			if withSave {
				if err := q.save(saved, m, versioned); err != nil {
					return err
				}
			}
			if refuse {
				return errCallback
			}
			return nil
		}
		fn := func(m *savepoint.Machine[tally]) error {
			want := p.newest()
			if want.deleted {
				want.state = tally{Phase: "any"}
			}
			w.same("a callback's state", want.state, *m.State())
			if err := m.Append(evs...); err != nil {
				return err
			}
			if withSave {
				if err := m.Save(saved); err != nil {
					return err
				}
			}
			if refuse {
				return errCallback
			}
			return nil
		}
		w.write("update", k, id, nil, model, func(o []savepoint.WriteOption) (*savepoint.Ack, savepoint.Head, error) {
			if n%2 == 0 {
				return wait(s.Update(ctx, id, fn, o...))
			}
			return goes(s.GoUpdate(ctx, id, fn, o...))
		})
	case n < 57:
		st := w.state()
		w.write("save", k, id, st, func(q *plain, m *writeModel) error { return q.save(st, m, versioned) },
			func(o []savepoint.WriteOption) (*savepoint.Ack, savepoint.Head, error) {
				return wait(s.Save(ctx, id, st, o...))
			})
	case n < 62:
		w.across()
	case n < 66:
		tag := r.IntN(3) == 0
		var opts []savepoint.WriteOption
		if tag {
			opts = append(opts, savepoint.Tag("t"))
		}
		info, err := s.Snapshot(ctx, id, opts...)
		w.answered("snapshot", w.there(p), err)
		if err == nil {
			w.same("snapshot", p.seq(), info.Seq)
			if tag {
				p.tagged[p.seq()] = true
			}
		}
	case n < 69:
		w.deleteSnapshot(k, id, p)
	case n < 71:
		w.write("delete", k, id, nil, func(q *plain, m *writeModel) error {
			if err := w.there(q); err != nil {
				return err
			}
			q.add("_deleted", q.newest().state, true, m)
			return nil
		}, func(o []savepoint.WriteOption) (*savepoint.Ack, savepoint.Head, error) {
			return wait(s.Delete(ctx, id, o...))
		})
	case n < 72:
		err := s.Purge(ctx, id)
		if p.seq() == 0 {
			w.answered("purge", savepoint.ErrNotFound, err)
		} else {
			w.answered("purge", nil, err)
			delete(w.model[k], id)
		}
	case n < 75:
		w.fork(k, id, p, only)
	case n < 78:
		seq := uint64(r.IntN(int(p.seq()) + 2))
		w.write("mark", k, id, nil, func(q *plain, m *writeModel) error {
			if err := w.there(q); err != nil {
				return err
			}
			if seq == 0 || seq > q.seq() {
				return savepoint.ErrNoPoint
			}
			q.add("_marked", q.newest().state, false, m)
			q.mark = seq
			return nil
		}, func(o []savepoint.WriteOption) (*savepoint.Ack, savepoint.Head, error) {
			return wait(s.Mark(ctx, id, seq, errCallback, o...))
		})
	case n < 82:
		w.recover(k, id, p, only)
	case n < 90:
		w.look(k, id, p)
	case n < 93:
		if p.seq() > 0 {
			w.point(k, id, p, p.base+uint64(r.IntN(len(p.recs)+1)))
			w.atTime(k, id, p)
			w.atRevision(k, id, p)
		}
	case n < 96:
		w.events(k, id, p)
	case n < 97:
		w.list(k)
	case n < 98:
		w.verify(k, id, p)
	case n < 99:
		w.compact(k, id, p, only)
	default:
		if w.reopen && r.IntN(3) == 0 {
			w.again()
		} else if r.IntN(2) == 0 {
			w.settle()
		}
	}
}

func (w *world) there(p *plain) error {
	switch {
	case p.exists():
		return nil
	case p.seq() > 0:
		return savepoint.ErrDeleted
	}
	return savepoint.ErrNotFound
}

// across is db.Update on some machines.
func (w *world) across() {
	type one struct {
		k  int
		id string
	}
	var order []one
	parts := map[one][]savepoint.Event[tally]{}
	for range 1 + w.rng.IntN(3) {
		k, id, _ := w.pick()
		at := one{k, id}
		order = append(order, at)
		for range w.rng.IntN(3) {
			parts[at] = append(parts[at], w.event())
		}
	}
	refuse := w.rng.IntN(6) == 0
	drafts := map[one]*plain{}
	wm := &writeModel{actor: "all", now: w.now}
	err := func() error {
		for _, at := range order {
			if drafts[at] == nil {
				drafts[at] = w.get(at.k, at.id).copied()
				for _, ev := range parts[at] {
					if err := drafts[at].append(ev, wm); err != nil {
						return err
					}
				}
			}
		}
		if refuse {
			return errCallback
		}
		return nil
	}()
	done := map[one]bool{}
	got := w.db.Update(context.Background(), func(tx *savepoint.Tx) error {
		for _, at := range order {
			m, err := w.stores[at.k].In(tx, at.id)
			if err != nil {
				return err
			}
			if done[at] {
				continue
			}
			done[at] = true
			if err := m.Append(parts[at]...); err != nil {
				return err
			}
		}
		if refuse {
			return errCallback
		}
		return nil
	}, savepoint.By("all"))
	w.answered("db.Update", err, got)
	if err == nil {
		for at, q := range drafts {
			if q.seq() > 0 {
				w.model[at.k][at.id] = q
			}
		}
	}
}

func (w *world) deleteSnapshot(k int, id string, p *plain) {
	ctx, s := context.Background(), w.stores[k]
	if p.seq() == 0 {
		_, err := s.DeleteSnapshot(ctx, id, 1)
		w.answered("delete snapshot", savepoint.ErrNotFound, err)
		return
	}
	var all []savepoint.SnapshotInfo
	for info, err := range s.Snapshots(ctx, id, savepoint.SnapshotRange{}) {
		w.answered("snapshots", nil, err)
		all = append(all, info)
	}
	for seq := range p.tagged {
		if !slices.ContainsFunc(all, func(i savepoint.SnapshotInfo) bool { return i.Seq == seq && slices.Contains(i.Tags, "t") }) {
			w.fail("the tagged snapshot %d of %s is gone", seq, id)
		}
	}
	info := all[w.rng.IntN(len(all))]
	found, err := s.DeleteSnapshot(ctx, id, info.Seq)
	if info.Base {
		if err == nil {
			w.fail("the base was deleted")
		}
		return
	}
	w.answered("delete snapshot", nil, err)
	w.same("delete snapshot", true, found)
	delete(p.tagged, info.Seq)
}

func (w *world) fork(k int, id string, p *plain, only bool) {
	to := fmt.Sprint("g", w.rng.IntN(worldIDs))
	seq := uint64(w.rng.IntN(int(p.seq()) + 2))
	if w.rng.IntN(2) == 0 {
		seq = p.seq()
	}
	h, err := w.stores[k].Fork(context.Background(), id, savepoint.AtSeq(seq), to)
	reached := err
	if errors.Is(err, savepoint.ErrConflict) { // the point is there, and so is the other machine
		reached = nil
	}
	want := w.reach(p, seq, only, reached)
	if want == nil && w.get(k, to).seq() > 0 {
		want = savepoint.ErrConflict
	}
	w.answered("fork", want, err)
	if want == nil {
		from := p.at(seq)
		q := &plain{base: seq, first: from.state.copied(), rev: from.rev, tagged: map[uint64]bool{}}
		q.add("_replaced", from.state.copied(), false, &writeModel{now: w.now})
		w.same("fork", seq+1, h.Seq)
		w.model[k][to] = q
	}
}

// reach is the error of going to a seq. Under snapshot-only it depends on what
// is kept: then the answer may be ErrNoPoint, but never another state.
func (w *world) reach(p *plain, seq uint64, only bool, got error) error {
	switch {
	case p.seq() == 0:
		return savepoint.ErrNotFound
	case seq > p.seq():
		return savepoint.ErrNoPoint
	case only && seq < p.seq() && errors.Is(got, savepoint.ErrNoPoint):
		return savepoint.ErrNoPoint
	case seq < p.begins() && !(seq >= p.base && p.tagged[seq] && got == nil): // a snapshot with a tag stays
		return savepoint.ErrCompacted
	case p.at(seq).deleted:
		return savepoint.ErrDeleted
	}
	return nil
}

// compact cuts a log, or puts all of it back.
func (w *world) compact(k int, id string, p *plain, only bool) {
	ctx, s := context.Background(), w.stores[k]
	if w.rng.IntN(3) == 0 {
		rep, err := s.Unarchive(ctx, id)
		switch {
		case p.seq() == 0:
			w.answered("unarchive", savepoint.ErrNotFound, err)
		case only:
		case p.cut <= p.base && p.base > 0:
			w.answered("unarchive a fork", savepoint.ErrNotFound, err)
		default:
			w.answered("unarchive", nil, err)
			w.same("unarchive", []int{int(p.begins() - p.base), int(p.base)}, []int{rep.Records, int(rep.Base)})
			p.cut = 0
		}
		return
	}
	seq := uint64(w.rng.IntN(int(p.seq()) + 2))
	rep, err := s.Compact(ctx, id, savepoint.AtSeq(seq))
	switch {
	case only:
		w.answered("compact", savepoint.ErrUnsupported, err)
	case p.seq() == 0:
		w.answered("compact", savepoint.ErrNotFound, err)
	case seq > p.seq():
		w.answered("compact", savepoint.ErrNoPoint, err)
	default:
		w.answered("compact", nil, err)
		before := p.begins()
		p.cut = max(p.cut, seq)
		w.same("compact", []uint64{p.begins(), p.begins() - before}, []uint64{rep.Base, uint64(rep.Records)})
	}
}

func (w *world) recover(k int, id string, p *plain, only bool) {
	ctx, s := context.Background(), w.stores[k]
	var to savepoint.Point
	seq := uint64(w.rng.IntN(int(p.seq()) + 2))
	switch w.rng.IntN(4) {
	case 0:
		rep, err := s.Recover(ctx, id, savepoint.RecoverOptions{})
		w.answered("recover to latest", w.there(p), err)
		if err == nil {
			w.same("recover", savepoint.RecoverHealthy, rep.Status)
		}
		return
	case 1:
		if p.seq() > 0 && p.mark == 0 {
			_, err := s.Recover(ctx, id, savepoint.RecoverOptions{To: savepoint.BeforeError()})
			w.answered("recover without a mark", savepoint.ErrNoPoint, err)
			return
		}
		if p.mark > 0 {
			seq = p.mark - 1
		}
		to = savepoint.BeforeError()
	default:
		to = savepoint.AtSeq(seq)
	}
	rep, err := s.Recover(ctx, id, savepoint.RecoverOptions{To: to, Partial: w.rng.IntN(2) == 0})
	want := w.reach(p, seq, only, err)
	w.answered("recover", want, err)
	if want == nil {
		st := p.at(seq).state
		q := p.copied()
		q.add("_replaced", st.copied(), false, &writeModel{now: w.now})
		w.same("recover", q.seq(), rep.Restored)
		w.same("recover", savepoint.RecoverRestored, rep.Status)
		w.model[k][id] = q
	}
}

// look compares the newest state.
func (w *world) look(k int, id string, p *plain) {
	want := p.newest()
	st, err := w.stores[k].Load(context.Background(), id)
	w.answered("load", w.there(p), err)
	err2 := w.stores[k].View(context.Background(), id, func(v *savepoint.State[tally]) error {
		w.same("view", want.state, v.Value)
		w.same("view's head", p.seq(), v.Seq)
		return nil
	})
	w.answered("view", w.there(p), err2)
	if err == nil {
		w.same("load", want.state, st.Value)
		w.head(p, p.seq(), st.Head)
	}
}

func (w *world) head(p *plain, seq uint64, h savepoint.Head) {
	w.t.Helper()
	r := p.at(seq)
	w.same("head", seq, h.Seq)
	w.same("head's phase", r.state.Phase, h.Phase)
	w.same("head's revision", r.rev, h.Revision)
	w.same("head's deleted", r.deleted, h.Deleted)
	if seq > p.base {
		w.same("head's time", r.time, h.Updated.UnixMicro())
	}
}

func (w *world) point(k int, id string, p *plain, seq uint64) {
	w.t.Helper()
	only := w.kinds[k].Strategy == savepoint.SnapshotOnly
	st, err := w.stores[k].At(context.Background(), id, savepoint.AtSeq(seq))
	want := w.reach(p, seq, only, err)
	w.answered(fmt.Sprintf("%s %s at seq %d", w.kinds[k].Name, id, seq), want, err)
	if err == nil {
		w.same(fmt.Sprintf("%s %s at seq %d", w.kinds[k].Name, id, seq), p.at(seq).state, st.Value)
		w.head(p, seq, st.Head)
	}
}

func (w *world) atTime(k int, id string, p *plain) {
	if w.kinds[k].Strategy == savepoint.SnapshotOnly {
		return
	}
	at := p.recs[w.rng.IntN(len(p.recs))].time - int64(w.rng.IntN(2))
	st, err := w.stores[k].At(context.Background(), id, savepoint.AtTime(time.UnixMicro(at)))
	seq, want := uint64(0), error(nil)
	if p.begins() > 0 {
		want = savepoint.ErrCompacted
	}
	for i, r := range slices.Backward(p.recs) {
		if p.base+1+uint64(i) < p.begins() {
			break
		}
		if r.time <= at {
			seq, want = p.base+1+uint64(i), nil
			if r.deleted {
				want = savepoint.ErrDeleted
			}
			break
		}
	}
	w.answered("at time", want, err)
	if err == nil {
		w.same("at time", seq, st.Seq)
		w.same("at time", p.at(seq).state, st.Value)
	}
}

func (w *world) atRevision(k int, id string, p *plain) {
	if w.kinds[k].Strategy != savepoint.Versioned || p.newest().rev == p.rev {
		return
	}
	rev := p.rev + 1 + uint64(w.rng.IntN(int(p.newest().rev-p.rev)))
	st, err := w.stores[k].At(context.Background(), id, savepoint.AtRevision(rev))
	i := slices.IndexFunc(p.recs, func(r plainRecord) bool { return r.rev == rev })
	if p.base+1+uint64(i) <= p.cut {
		w.answered("at revision", savepoint.ErrCompacted, err)
		return
	}
	w.answered("at revision", nil, err)
	w.same("at revision", p.recs[i].state, st.Value)
}

func (w *world) events(k int, id string, p *plain) {
	w.t.Helper()
	if p.seq() == 0 {
		for _, err := range w.stores[k].Events(context.Background(), id, savepoint.EventRange{}) {
			w.answered("events", savepoint.ErrNotFound, err)
		}
		return
	}
	r := savepoint.EventRange{Newest: w.rng.IntN(2) == 0}
	if w.rng.IntN(2) == 0 {
		r.After, r.To, r.Limit = uint64(w.rng.IntN(int(p.seq())+1)), uint64(w.rng.IntN(int(p.seq())+2)), w.rng.IntN(4)
	}
	type shown struct {
		seq            uint64
		name, key, to  string
		at             int64
		revision, mark uint64
	}
	var want, got []shown
	for i, rec := range p.recs {
		seq := p.base + 1 + uint64(i)
		if seq <= p.cut || seq <= r.After || r.To != 0 && seq > r.To || w.kinds[k].Strategy == savepoint.SnapshotOnly {
			continue
		}
		s := shown{seq: seq, name: rec.name, key: rec.key, to: rec.state.Phase, at: rec.time}
		if rec.rev != p.at(seq-1).rev {
			s.revision = rec.rev
		}
		want = append(want, s)
	}
	if r.Newest {
		slices.Reverse(want)
	}
	if r.Limit > 0 {
		want = want[:min(len(want), r.Limit)]
	}
	for rec, err := range w.stores[k].Events(context.Background(), id, r) {
		w.answered(fmt.Sprintf("events of %s %s, %+v", w.kinds[k].Name, id, r), nil, err)
		got = append(got, shown{rec.Seq, rec.Name, rec.Key, rec.To, rec.Time.UnixMicro(), rec.Revision, 0})
	}
	w.same(fmt.Sprintf("events of %s %s, %+v", w.kinds[k].Name, id, r), want, got)
}

func (w *world) list(k int) {
	w.settle()
	type shown struct {
		id      string
		seq     uint64
		deleted bool
	}
	var want, got []shown
	for _, id := range slices.Sorted(maps.Keys(w.model[k])) {
		p := w.model[k][id]
		want = append(want, shown{id, p.seq(), p.newest().deleted})
	}
	for h, err := range w.stores[k].List(context.Background(), savepoint.ListOptions{Deleted: true}) {
		w.answered("list", nil, err)
		got = append(got, shown{h.ID, h.Seq, h.Deleted})
	}
	w.same("list", want, got)
}

func (w *world) verify(k int, id string, p *plain) {
	if p.seq() == 0 {
		return
	}
	rep, err := w.stores[k].Verify(context.Background(), id)
	w.answered(fmt.Sprintf("verify %s %s", w.kinds[k].Name, id), nil, err)
	if !rep.OK() {
		w.fail("verify %s %s: %v", w.kinds[k].Name, id, rep.Divergences)
	}
	w.same("verify", p.seq(), rep.Head)
}

// settle waits for all acks.
func (w *world) settle() {
	w.t.Helper()
	w.answered("flush", nil, w.db.Flush(context.Background()))
	w.acked()
}

func (w *world) acked() {
	w.t.Helper()
	for _, a := range w.acks {
		h, err := a.ack.Wait(context.Background())
		if err != nil || h.Seq != a.seq {
			w.fail("ack of %s: %v, want seq %d, got %d", a.op, err, a.seq, h.Seq)
		}
	}
	w.acks = w.acks[:0]
}

// again closes and opens.
func (w *world) again() {
	w.t.Helper()
	if w.skip {
		w.settle()
		return
	}
	w.answered("close", nil, w.db.Close())
	w.acked()
	w.start()
}

// all compares everything.
func (w *world) all() {
	w.t.Helper()
	for k := range w.kinds {
		w.list(k)
		for _, id := range slices.Sorted(maps.Keys(w.model[k])) {
			p := w.model[k][id]
			w.look(k, id, p)
			w.events(k, id, p)
			w.verify(k, id, p)
			for seq := p.base; seq <= p.seq(); seq++ {
				w.point(k, id, p, seq)
			}
			if p.seq() < 150 {
				continue
			}
			if err := w.stores[k].Purge(context.Background(), id); err != nil {
				w.fail("purge: %v", err)
			}
			delete(w.model[k], id)
		}
	}
}

// run makes n operations and compares everything now and then.
func (w *world) run(n int) {
	for range n {
		w.step()
		if w.ops%2500 == 0 {
			w.all()
		}
	}
	w.all()
	if w.reopen {
		w.again()
		w.all()
	}
	require.NoError(w.t, w.db.Close())
	w.acked()
}

// modelSeed is given by SAVEPOINT_SEED, else random; modelOps by SAVEPOINT_OPS.
func modelSeed(t testing.TB) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("SAVEPOINT_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		seed = n
	}
	t.Logf("SAVEPOINT_SEED=%d", seed)
	return seed
}

func modelOps(t testing.TB, n int) int {
	if s := os.Getenv("SAVEPOINT_OPS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	if testing.Short() {
		n /= 10
	}
	return n
}

// TestModel_RandomOperations compares random operations on machines of all
// strategies with a model in plain slices:
//  1. each operation is taken or refused as the model says, with its seq;
//  2. Load, View, At each seq, AtTime, AtRevision, Events and List show what the
//     model has, also after reopening;
//  3. what Compact cuts off is gone and counted, what Unarchive puts back is as it was;
//  4. Verify finds nothing; tagged snapshots stay; every Ack is answered.
//
// SAVEPOINT_SEED repeats a run, SAVEPOINT_OPS makes a longer one.
func TestModel_RandomOperations(t *testing.T) {
	f := newFaulty()
	f.stays = true
	w := newWorld(t, modelSeed(t), savepoint.Options{}, true, func(o *savepoint.Options) *savepoint.DB {
		o.Engine = f
		db, err := savepoint.Open("model", o)
		require.NoError(t, err)
		return db
	})
	w.run(modelOps(t, 20_000))
	require.Empty(t, f.broken)
}
