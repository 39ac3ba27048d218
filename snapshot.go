package savepoint

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// SnapshotPolicy says when a write takes a snapshot in the same step, and how
// many snapshots a machine keeps. In each field zero means the default and a
// negative number "off" or "without limit".
type SnapshotPolicy struct {
	// Events takes one when so many records follow the newest. Default 100.
	Events int
	// Every takes one with the first write that comes so long after the newest
	// was stored. Default 5 minutes.
	Every time.Duration
	// OnPhase takes one with each change of phase.
	OnPhase bool
	// OnError takes one with each error mark.
	OnError bool
	// NoClose leaves out the snapshots that Close takes of machines whose newest
	// snapshot is not of their newest record.
	NoClose bool
	// Keep is how many are kept. Tagged ones, the base of the log and the last
	// one of each version before the newest do not count and are never pruned.
	// Default 10.
	Keep int
	// MaxAge prunes those taken longer ago, by Options.Now, but never the newest.
	// Default: no limit. Where events are kept, no state is lost with one; under
	// SnapshotOnly prefer Keep, for a clock that jumps ahead makes all old.
	MaxAge time.Duration
}

var defaultSnapshotPolicy = SnapshotPolicy{Events: 100, Every: 5 * time.Minute, Keep: 10, MaxAge: -1}

// or fills the zero fields from d.
func (p SnapshotPolicy) or(d SnapshotPolicy) SnapshotPolicy {
	orDefault(&p.Events, d.Events)
	orDefault(&p.Every, d.Every)
	orDefault(&p.OnPhase, d.OnPhase)
	orDefault(&p.OnError, d.OnError)
	orDefault(&p.NoClose, d.NoClose)
	orDefault(&p.Keep, d.Keep)
	orDefault(&p.MaxAge, d.MaxAge)
	return p
}

// Because names the reason of a snapshot or of a write by hand.
func Because(reason string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.reason = reason })
}

// SnapshotInfo tells about one snapshot.
type SnapshotInfo struct {
	Kind, ID     string
	Seq          uint64 // the record it is right after
	Phase        string
	Version      Version
	Taken        time.Time
	Updated      time.Time // time of record Seq
	Size         int       // bytes of the encoded state
	Digest       string    // of the machine's records up to Seq, 32 hex digits
	Base         bool      // the log begins here: it cannot be deleted
	Revision     uint64
	RevisionName string
	Reason       string
	Tags         []string
	Err          error // the stored bytes are damaged: only Kind, ID and Seq are known
}

// SnapshotRange says which snapshots to list. The zero value lists all, oldest
// first.
type SnapshotRange struct {
	Newest bool   // newest first
	Limit  int    // at most so many; 0 = all
	Tag    string // only those with this tag
}

// snapshotIndex is what pruning needs to know of a machine's snapshots, queued
// ones included, in the order of seq. It is never changed in place: a draft that
// is refused leaves the machine the one from before.
type snapshotIndex struct{ all []snapshotEntry }

type snapshotEntry struct {
	seq     uint64
	version uint64
	taken   int64
	pinned  bool
	tags    []string
}

// protected says that the entry is never pruned.
func (e *snapshotEntry) protected() bool { return e.pinned || len(e.tags) > 0 }

func (x *snapshotIndex) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(x.all, seq, func(e snapshotEntry, seq uint64) int { return cmp.Compare(e.seq, seq) })
}

// with is the index with e, in the place of the entry of the same seq.
func (x *snapshotIndex) with(e snapshotEntry) *snapshotIndex {
	i, found := x.find(e.seq)
	if found {
		all := slices.Clone(x.all)
		all[i] = e
		return &snapshotIndex{all}
	}
	return &snapshotIndex{slices.Insert(slices.Clip(x.all), i, e)}
}

// without is the index without some seqs.
func (x *snapshotIndex) without(drop ...uint64) *snapshotIndex {
	return &snapshotIndex{slices.DeleteFunc(slices.Clone(x.all), func(e snapshotEntry) bool { return slices.Contains(drop, e.seq) })}
}

// prune names what the policy does not keep.
func (x *snapshotIndex) prune(p SnapshotPolicy, base uint64, now int64) (drop []uint64) {
	loose := 0
	for i := len(x.all) - 1; i >= 0; i-- {
		e := x.all[i]
		if e.protected() || e.seq == base || i+1 < len(x.all) && x.all[i+1].version != e.version {
			continue
		}
		loose++
		old := p.MaxAge >= 0 && p.MaxAge != 0 && now-e.taken > p.MaxAge.Microseconds()
		if loose > 1 && (p.Keep >= 0 && loose > p.Keep || old) {
			drop = append(drop, e.seq)
		}
	}
	return drop
}

// loadSnapshotIndex loads the machine's snapshot index if it is not known.
func (d *draft) loadSnapshotIndex(ctx context.Context) error {
	m := d.m
	if m.snaps != nil {
		return nil
	}
	x := &snapshotIndex{}
	if m.seq > 0 {
		want := engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All}
		_, err := d.db.eng.Load(ctx, m.key, want, func(it engine.Item) error {
			var s record.Snapshot
			e := snapshotEntry{seq: it.Seq, pinned: true} // a damaged one stays, for those who look into it
			if it.Err == nil && s.Parse(it.Bytes, m.key) == nil {
				e = entryOf(&s)
			}
			x.all = append(x.all, e)
			return nil
		})
		if err != nil {
			return err
		}
	}
	made := d.snapshots // before the index was known
	if d.first != nil {
		made = slices.Concat(d.first.Snapshots, made)
	}
	for i := range made {
		var s record.Snapshot
		if err := s.Parse(made[i].Bytes, m.key); err != nil {
			return err
		}
		x = x.with(entryOf(&s))
	}
	m.snaps = x
	return nil
}

func entryOf(s *record.Snapshot) snapshotEntry {
	return snapshotEntry{seq: s.Seq, version: s.Version, taken: s.Time, pinned: s.Pinned, tags: s.Tags}
}

// snapshotDue says whether the policy wants a snapshot with this write.
func (d *draft) snapshotDue() (string, bool) {
	k, p := d.m.kind, &d.m.kind.policy
	switch {
	case k.strategy == SnapshotOnly:
		return "every write", true
	case d.revised:
		return "revision", true
	case !k.strategy.byPolicy() || d.seq == d.m.seq:
		return "", false
	case p.Events > 0 && d.seq-d.h.Snapshot >= uint64(p.Events):
		return "events", true
	case p.Every > 0 && d.now-d.lastSnapshot() >= p.Every.Microseconds():
		return "interval", true
	case p.OnPhase && d.m.seq > 0 && d.h.Phase != d.m.h.Phase:
		return "phase", true
	case p.OnError && d.h.Mark != d.m.h.Mark:
		return "error", true
	}
	if k.snapshot != nil {
		when, err := k.wants(d.value())
		if err != nil {
			d.db.log.Warn("SnapshotWhen panicked", "kind", k.name, "id", d.m.id, "error", err)
		}
		return "asked", when
	}
	return "", false
}

// lastSnapshot is when the newest snapshot was stored; the first write counts
// as one, for it stores the base.
func (d *draft) lastSnapshot() int64 {
	if d.h.SnapshotTime != 0 {
		return d.h.SnapshotTime
	}
	return d.h.Created
}

func (k *kind) wants(value any) (b bool, err error) {
	defer guard("SnapshotWhen", &err)
	return k.snapshot(value), nil
}

// snapshot adds the encoded state at seq to the write.
func (d *draft) snapshot(reason string, tags []string) error {
	k := d.m.kind
	enc := d.encoded
	if enc == nil {
		if d.replaced > 0 && d.replaced == len(d.records) {
			enc = d.state
		} else if d.seq == d.m.seq && d.m.encSeq == d.seq && len(d.m.tail.ends) == 0 {
			enc = d.m.enc
		} else {
			var err error
			if enc, err = k.encode(d.value()); err != nil {
				return err
			}
		}
		if len(enc) > d.db.opt.MaxState {
			return fmt.Errorf("%w: the state has %d bytes, more than Options.MaxState %d", ErrTooLarge, len(enc), d.db.opt.MaxState)
		}
		d.encoded = enc
	}
	d.stateSnapshot(k.packed, enc, reason, tags)
	return nil
}

// stateSnapshot adds a state at seq, encoded by a version, to the write.
func (d *draft) stateSnapshot(version uint64, enc []byte, reason string, tags []string) {
	k := d.m.kind
	d.saved = true
	d.h.Snapshot, d.h.SnapshotTime = d.seq, d.now
	if !k.strategy.keepsEvents() {
		d.h.Base, d.h.Bytes = d.seq, 0 // the log, if there is one, begins here
	}
	s := record.Snapshot{Kind: k.name, ID: d.m.id, Seq: d.seq, Version: version, Phase: d.h.Phase, Time: d.now,
		Created: d.h.Created, Updated: d.h.Updated, Deleted: d.h.Deleted, Digest: d.h.Digest, Bytes: d.h.Bytes,
		Pinned:   k.strategy.keepsEvents() && d.seq == d.h.Base, // of a log that was compacted up to here
		Revision: d.h.Revision, RevisionName: d.h.RevisionName, Mark: d.h.Mark, Reason: reason, Tags: tags, Keys: d.keysAfter(), State: enc}
	d.addSnapshot(&s)
}

func (d *draft) addSnapshot(s *record.Snapshot) {
	b := s.Append(make([]byte, 0, len(s.State)+256), d.m.key)
	d.snapshots = append(d.snapshots, engine.Snapshot{Seq: s.Seq, Bytes: b})
	d.bytes += int64(len(b))
	if d.m.snaps != nil {
		d.m.snaps = d.m.snaps.with(entryOf(s))
	}
}

// keysAfter are the last keys including the write's own.
func (d *draft) keysAfter() []record.Key {
	keys := d.m.keys
	if d.opt.key != "" && d.seq > d.m.seq {
		keys = appendKey(slices.Clone(keys), knownKey{Key: record.Key{Name: d.opt.key, Sum: d.keySum, Seq: d.seq,
			Version: d.h.Version, Phase: d.h.Phase, Time: d.h.Updated}})
	}
	out := make([]record.Key, len(keys))
	for i := range keys {
		out[i] = keys[i].Key
	}
	return out
}

// addBase pins the state before the first record, so that a later change of New
// rewrites no history.
func (d *draft) addBase() {
	m := d.m
	s := record.Snapshot{Kind: m.kind.name, ID: m.id, Version: m.kind.packed, Phase: m.h.Phase, Time: d.now,
		Created: d.now, Updated: d.now, Pinned: true, Reason: "base", State: m.enc}
	d.addSnapshot(&s)
}

// engineWrite is what the engine is given of the draft as it stands.
func (d *draft) engineWrite() engine.Write {
	m, k := d.m, d.m.kind
	head := d.appendScratch(func(dst []byte) []byte { return d.h.Append(dst, m.key) })
	w := engine.Write{Machine: m.key, Kind: k.number, Schema: d.h.Version, Expect: m.queued, Seq: d.seq,
		Snapshots: d.snapshots, Drop: d.drop, Token: d.h.Digest, Head: head}
	if d.first != nil {
		w.Expect = d.first.Seq
	}
	if k.strategy.keepsEvents() {
		w.Events = d.events
	}
	return w
}

// complete completes the write: snapshots by policy, pruning, the head.
func (d *draft) complete(ctx context.Context) (engine.Write, error) {
	m, k := d.m, d.m.kind
	if m.seq == 0 && !d.based && k.strategy.keepsEvents() && len(d.events) > 0 {
		m.snaps = &snapshotIndex{}
		d.addBase()
	}
	if reason, due := d.snapshotDue(); due && !d.saved && (d.seq > m.seq || len(m.unsaved) > 0) {
		if err := d.snapshot(reason, nil); err != nil {
			return engine.Write{}, err
		}
	}
	if d.saved && (k.policy.Keep >= 0 || k.policy.MaxAge > 0) {
		if err := d.loadSnapshotIndex(ctx); err != nil {
			return engine.Write{}, err
		}
		base := d.h.Base
		if !k.strategy.keepsEvents() {
			base = engine.All // it is the newest; no records need it, so it counts
		}
		if drop := m.snaps.prune(k.policy, base, d.now); len(drop) > 0 {
			d.drop = append(d.drop, drop...)
			m.snaps = m.snaps.without(drop...)
		}
	}
	return d.engineWrite(), nil
}

// Snapshot stores a snapshot of the machine as it is, for example with a Tag
// that keeps it from being pruned, or with Because. It is durable on return.
func (s *Store[S]) Snapshot(ctx context.Context, id string, opts ...WriteOption) (SnapshotInfo, error) {
	var info SnapshotInfo
	o := newWriteOptions(opts)
	ack := s.db.write(ctx, s.kind, id, o, opSnapshot, func(d *draft) error {
		if !d.m.exists() {
			return notFoundError(d.m)
		}
		if err := d.migrate(); err != nil {
			return err
		}
		reason := o.reason
		if reason == "" {
			reason = "by hand"
		}
		tags := o.tags
		if d.h.Snapshot == d.seq { // it takes the place of that one
			if err := d.loadSnapshotIndex(ctx); err != nil {
				return err
			}
			if i, found := d.m.snaps.find(d.seq); found {
				tags = slices.Compact(slices.Sorted(slices.Values(slices.Concat(tags, d.m.snaps.all[i].tags))))
			}
		}
		if err := d.snapshot(reason, tags); err != nil {
			return err
		}
		var r record.Snapshot
		if err := r.Parse(d.snapshots[len(d.snapshots)-1].Bytes, d.m.key); err != nil {
			return err
		}
		info = snapshotInfo(s.kind, id, &r, d.h.Base)
		return nil
	})
	_, err := ack.Wait(ctx)
	return info, err
}

func snapshotInfo(k *kind, id string, r *record.Snapshot, base uint64) SnapshotInfo {
	return SnapshotInfo{Kind: k.name, ID: id, Seq: r.Seq, Phase: r.Phase, Version: unpackVersion(r.Version),
		Taken: stored(r.Time), Updated: stored(r.Updated), Size: len(r.State), Digest: fmt.Sprintf("%x", r.Digest),
		Base: r.Seq == base, Revision: r.Revision, RevisionName: r.RevisionName, Reason: r.Reason, Tags: slices.Clone(r.Tags)}
}

// Snapshots lists the machine's snapshots. A damaged one is listed with Err
// set. An error ends the list.
func (s *Store[S]) Snapshots(ctx context.Context, id string, r SnapshotRange) iter.Seq2[SnapshotInfo, error] {
	return func(yield func(SnapshotInfo, error) bool) {
		m, err := s.db.awaitDurable(ctx, s.kind, id)
		if err != nil {
			yield(SnapshotInfo{}, err)
			return
		}
		var list []SnapshotInfo
		want := engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Newest: r.Newest}
		head, err := s.db.eng.Load(ctx, m.key, want, func(it engine.Item) error {
			info := SnapshotInfo{Kind: s.kind.name, ID: id, Seq: it.Seq, Err: it.Err}
			if it.Err == nil {
				var rs record.Snapshot
				if info.Err = rs.Parse(it.Bytes, m.key); info.Err == nil {
					info = snapshotInfo(s.kind, id, &rs, engine.All)
				}
			}
			if info.Err != nil {
				info.Err = corrupt(s.kind, id, "snapshot", it.Seq, info.Err)
			}
			if r.Tag == "" || slices.Contains(info.Tags, r.Tag) {
				list = append(list, info)
			}
			if r.Limit > 0 && len(list) >= r.Limit {
				return engine.Stop
			}
			return nil
		})
		if err == nil && head.Number == 0 {
			err = notFoundError(m)
		}
		var h record.Head
		if err == nil {
			err = h.Parse(head.Bytes, m.key)
		}
		for i := range list {
			list[i].Base = err == nil && list[i].Seq == h.Base
			if !yield(list[i], nil) {
				return
			}
		}
		if err != nil {
			yield(SnapshotInfo{}, s.db.wrapEngineError(s.kind, id, err))
		}
	}
}

// DeleteSnapshot removes the snapshot at seq and says whether there was one. It
// refuses the base of the log, which the records need.
func (s *Store[S]) DeleteSnapshot(ctx context.Context, id string, seq uint64) (bool, error) {
	found := false
	o := newWriteOptions(nil)
	ack := s.db.write(ctx, s.kind, id, o, opSnapshot, func(d *draft) error {
		if d.m.seq == 0 {
			return notFoundError(d.m)
		}
		if err := d.loadSnapshotIndex(ctx); err != nil {
			return err
		}
		if _, ok := d.m.snaps.find(seq); !ok {
			return nil
		}
		if seq == d.h.Base {
			return fmt.Errorf("snapshot %d is the base of the log: the records behind it need it", seq)
		}
		found = true
		d.drop = append(d.drop, seq)
		d.m.snaps = d.m.snaps.without(seq)
		if d.h.Snapshot == seq {
			d.h.Snapshot = d.h.Base
			for _, e := range d.m.snaps.all {
				d.h.Snapshot = max(d.h.Snapshot, e.seq)
			}
		}
		return nil
	})
	_, err := ack.Wait(ctx)
	return found && err == nil, err
}
