package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/report"
)

// event returns a random event, some of which are refused.
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

// state returns a random state.
func (w *world) state() tally {
	t := tally{Phase: []string{"any", "even", "end"}[w.rng.IntN(3)], Sum: int64(w.rng.IntN(100)), By: "saved"}
	if w.rng.IntN(2) == 0 {
		t.Slots, t.Last = map[string]int64{"s": 1}, []int64{7, 7}
	}
	return t
}

// options returns random options of a write, for the model and for the library.
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

// write runs one write to one machine on the model and on the library, and compares the results.
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
		w.sameError(op, err, got)
		if err == nil {
			w.same(op+": seq", seq, h.Seq)
		}
	}
	if err == nil && !found && q.seq() > 0 {
		w.model[k][id] = q
	}
}

// step runs one random operation.
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
		w.sameError("snapshot", w.there(p), err)
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
			w.sameError("purge", savepoint.ErrNotFound, err)
		} else {
			w.sameError("purge", nil, err)
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
		w.checkNewest(k, id, p)
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

// there returns the error of a write that needs the machine.
func (w *world) there(p *plain) error {
	switch {
	case p.exists():
		return nil
	case p.seq() > 0:
		return savepoint.ErrDeleted
	}
	return savepoint.ErrNotFound
}

// across runs DB.Update on some machines.
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
	w.sameError("db.Update", err, got)
	if err == nil {
		for at, q := range drafts {
			if q.seq() > 0 {
				w.model[at.k][at.id] = q
			}
		}
	}
}

// deleteSnapshot deletes a random snapshot, and checks that those with a tag are there.
func (w *world) deleteSnapshot(k int, id string, p *plain) {
	ctx, s := context.Background(), w.stores[k]
	if p.seq() == 0 {
		_, err := s.DeleteSnapshot(ctx, id, 1)
		w.sameError("delete snapshot", savepoint.ErrNotFound, err)
		return
	}
	var all []savepoint.SnapshotInfo
	for info, err := range s.Snapshots(ctx, id, savepoint.SnapshotRange{}) {
		w.sameError("snapshots", nil, err)
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
	w.sameError("delete snapshot", nil, err)
	w.same("delete snapshot", true, found)
	delete(p.tagged, info.Seq)
}

// fork runs Fork to a random machine.
func (w *world) fork(k int, id string, p *plain, only bool) {
	to := fmt.Sprint("g", w.rng.IntN(worldIDs))
	seq := uint64(w.rng.IntN(int(p.seq()) + 2))
	if w.rng.IntN(2) == 0 {
		seq = p.seq()
	}
	h, err := w.stores[k].Fork(context.Background(), id, savepoint.AtSeq(seq), to)
	reached := err
	if errors.Is(err, savepoint.ErrConflict) { // the point exists, and so does the other machine
		reached = nil
	}
	want := w.reach(p, seq, only, reached)
	if want == nil && w.get(k, to).seq() > 0 {
		want = savepoint.ErrConflict
	}
	w.sameError("fork", want, err)
	if want == nil {
		from := p.at(seq)
		q := &plain{base: seq, first: from.state.copied(), rev: from.rev, tagged: map[uint64]bool{}}
		q.add("_replaced", from.state.copied(), false, &writeModel{now: w.now})
		w.same("fork", seq+1, h.Seq)
		w.model[k][to] = q
	}
}

// reach returns the error of reaching a seq. Under snapshot-only it depends on what is kept: got may then be ErrNoPoint,
// but the state is never another one.
func (w *world) reach(p *plain, seq uint64, only bool, got error) error {
	switch {
	case p.seq() == 0:
		return savepoint.ErrNotFound
	case seq > p.seq():
		return savepoint.ErrNoPoint
	case only && seq < p.seq() && errors.Is(got, savepoint.ErrNoPoint):
		return savepoint.ErrNoPoint
	case seq < p.startsAfter() && !(seq >= p.base && p.tagged[seq] && got == nil): // a snapshot with a tag stays
		return savepoint.ErrCompacted
	case p.at(seq).deleted:
		return savepoint.ErrDeleted
	}
	return nil
}

// compact runs Compact, or Unarchive, which brings the whole log back.
func (w *world) compact(k int, id string, p *plain, only bool) {
	ctx, s := context.Background(), w.stores[k]
	if w.rng.IntN(3) == 0 {
		rep, err := s.Unarchive(ctx, id)
		switch {
		case p.seq() == 0:
			w.sameError("unarchive", savepoint.ErrNotFound, err)
		case only:
		case p.cut <= p.base && p.base > 0:
			w.sameError("unarchive a fork", savepoint.ErrNotFound, err)
		default:
			w.sameError("unarchive", nil, err)
			w.same("unarchive", []int{int(p.startsAfter() - p.base), int(p.base)}, []int{rep.Records, int(rep.Base)})
			p.cut = 0
		}
		return
	}
	seq := uint64(w.rng.IntN(int(p.seq()) + 2))
	rep, err := s.Compact(ctx, id, savepoint.AtSeq(seq))
	switch {
	case only:
		w.sameError("compact", savepoint.ErrUnsupported, err)
	case p.seq() == 0:
		w.sameError("compact", savepoint.ErrNotFound, err)
	case seq > p.seq():
		w.sameError("compact", savepoint.ErrNoPoint, err)
	default:
		w.sameError("compact", nil, err)
		before := p.startsAfter()
		p.cut = max(p.cut, seq)
		w.same("compact", []uint64{p.startsAfter(), p.startsAfter() - before}, []uint64{rep.Base, uint64(rep.Records)})
	}
}

// recover runs Recover to a random point.
func (w *world) recover(k int, id string, p *plain, only bool) {
	ctx, s := context.Background(), w.stores[k]
	var to savepoint.Point
	seq := uint64(w.rng.IntN(int(p.seq()) + 2))
	switch w.rng.IntN(4) {
	case 0:
		rep, err := s.Recover(ctx, id, savepoint.RecoverOptions{})
		w.sameError("recover to latest", w.there(p), err)
		if err == nil {
			w.same("recover", report.Healthy, rep.Status)
		}
		return
	case 1:
		if p.seq() > 0 && p.mark == 0 {
			_, err := s.Recover(ctx, id, savepoint.RecoverOptions{To: savepoint.BeforeError()})
			w.sameError("recover without a mark", savepoint.ErrNoPoint, err)
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
	w.sameError("recover", want, err)
	if want == nil {
		st := p.at(seq).state
		q := p.copied()
		q.add("_replaced", st.copied(), false, &writeModel{now: w.now})
		w.same("recover", q.seq(), rep.Restored)
		w.same("recover", report.Restored, rep.Status)
		w.model[k][id] = q
	}
}

// sameError compares an error with the model's.
func (w *world) sameError(op string, want, got error) {
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
