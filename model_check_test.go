package savepoint_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/liap-tui/savepoint"
)

// checkNewest compares the newest state, read by Load and View, with the model's.
func (w *world) checkNewest(k int, id string, p *plain) {
	want := p.newest()
	st, err := w.stores[k].Load(context.Background(), id)
	w.sameError("load", w.there(p), err)
	err2 := w.stores[k].View(context.Background(), id, func(v *savepoint.State[tally]) error {
		w.same("view", want.state, v.Value)
		w.same("view's head", p.seq(), v.Seq)
		return nil
	})
	w.sameError("view", w.there(p), err2)
	if err == nil {
		w.same("load", want.state, st.Value)
		w.head(p, p.seq(), st.Head)
	}
}

// head compares a head with record seq.
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

// point compares the state at a seq.
func (w *world) point(k int, id string, p *plain, seq uint64) {
	w.t.Helper()
	only := w.kinds[k].Strategy == savepoint.SnapshotOnly
	st, err := w.stores[k].At(context.Background(), id, savepoint.AtSeq(seq))
	want := w.reach(p, seq, only, err)
	w.sameError(fmt.Sprintf("%s %s at seq %d", w.kinds[k].Name, id, seq), want, err)
	if err == nil {
		w.same(fmt.Sprintf("%s %s at seq %d", w.kinds[k].Name, id, seq), p.at(seq).state, st.Value)
		w.head(p, seq, st.Head)
	}
}

// atTime compares the state at a random time.
func (w *world) atTime(k int, id string, p *plain) {
	if w.kinds[k].Strategy == savepoint.SnapshotOnly {
		return
	}
	at := p.recs[w.rng.IntN(len(p.recs))].time - int64(w.rng.IntN(2))
	st, err := w.stores[k].At(context.Background(), id, savepoint.AtTime(time.UnixMicro(at)))
	seq, want := uint64(0), error(nil)
	if p.startsAfter() > 0 {
		want = savepoint.ErrCompacted
	}
	for i, r := range slices.Backward(p.recs) {
		if p.base+1+uint64(i) < p.startsAfter() {
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
	w.sameError("at time", want, err)
	if err == nil {
		w.same("at time", seq, st.Seq)
		w.same("at time", p.at(seq).state, st.Value)
	}
}

// atRevision compares the state at a random revision.
func (w *world) atRevision(k int, id string, p *plain) {
	if w.kinds[k].Strategy != savepoint.Versioned || p.newest().rev == p.rev {
		return
	}
	rev := p.rev + 1 + uint64(w.rng.IntN(int(p.newest().rev-p.rev)))
	st, err := w.stores[k].At(context.Background(), id, savepoint.AtRevision(rev))
	i := slices.IndexFunc(p.recs, func(r plainRecord) bool { return r.rev == rev })
	if p.base+1+uint64(i) <= p.cut {
		w.sameError("at revision", savepoint.ErrCompacted, err)
		return
	}
	w.sameError("at revision", nil, err)
	w.same("at revision", p.recs[i].state, st.Value)
}

// events compares the records in a random range.
func (w *world) events(k int, id string, p *plain) {
	w.t.Helper()
	if p.seq() == 0 {
		for _, err := range w.stores[k].Events(context.Background(), id, savepoint.EventRange{}) {
			w.sameError("events", savepoint.ErrNotFound, err)
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
		w.sameError(fmt.Sprintf("events of %s %s, %+v", w.kinds[k].Name, id, r), nil, err)
		got = append(got, shown{rec.Seq, rec.Name, rec.Key, rec.To, rec.Time.UnixMicro(), rec.Revision, 0})
	}
	w.same(fmt.Sprintf("events of %s %s, %+v", w.kinds[k].Name, id, r), want, got)
}

// list compares the list of a kind's machines.
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
		w.sameError("list", nil, err)
		got = append(got, shown{h.ID, h.Seq, h.Deleted})
	}
	w.same("list", want, got)
}

// verify checks that Verify finds nothing.
func (w *world) verify(k int, id string, p *plain) {
	if p.seq() == 0 {
		return
	}
	rep, err := w.stores[k].Verify(context.Background(), id)
	w.sameError(fmt.Sprintf("verify %s %s", w.kinds[k].Name, id), nil, err)
	if !rep.OK() {
		w.fail("verify %s %s: %v", w.kinds[k].Name, id, rep.Divergences)
	}
	w.same("verify", p.seq(), rep.Head)
}

// settle flushes and compares all waiting acks.
func (w *world) settle() {
	w.t.Helper()
	w.sameError("flush", nil, w.db.Flush(context.Background()))
	w.acked()
}

// acked compares the heads of all waiting acks.
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

// again closes and reopens the database.
func (w *world) again() {
	w.t.Helper()
	if w.skip {
		w.settle()
		return
	}
	w.sameError("close", nil, w.db.Close())
	w.acked()
	w.start()
}

// all compares everything, and purges machines that have become long.
func (w *world) all() {
	w.t.Helper()
	for k := range w.kinds {
		w.list(k)
		for _, id := range slices.Sorted(maps.Keys(w.model[k])) {
			p := w.model[k][id]
			w.checkNewest(k, id, p)
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
