package savepoint

import (
	"cmp"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/internal/record"
)

// SnapshotPolicy says when a write stores a snapshot together with its records,
// and how many snapshots a machine keeps. In each field 0 means the default; a
// negative number means "never", or "no limit".
type SnapshotPolicy struct {
	// Events stores a snapshot when this many records follow the newest one.
	// Default 100.
	Events int
	// Every stores a snapshot with the first write that comes this long after the
	// newest one was stored, by Options.Now. Default 5 minutes. Under SnapshotOnly
	// it is also how long a write of Go may wait in memory.
	Every time.Duration
	// OnPhase stores a snapshot with each change of phase.
	OnPhase bool
	// OnError stores a snapshot with each error mark; see [Store.Mark].
	OnError bool
	// NoClose switches off the snapshots that Close stores of machines that have
	// records after their newest snapshot.
	NoClose bool
	// Keep is how many snapshots are kept. Three sorts do not count and are never
	// pruned: those with tags, the base of the log, and the last one of each schema
	// version before the newest. Default 10.
	Keep int
	// MaxAge prunes the snapshots that were stored longer ago than this, by
	// Options.Now, but never the newest. Default: no limit. Where events are kept, no
	// state is lost with a snapshot. Under SnapshotOnly the states are lost, so
	// prefer Keep there: a clock that jumps ahead makes all snapshots old.
	MaxAge time.Duration
}

var defaultSnapshotPolicy = SnapshotPolicy{Events: 100, Every: 5 * time.Minute, Keep: 10, MaxAge: -1}

// or returns p with its zero fields set from d.
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

// snapshotDue reports whether the policy wants a snapshot with the draft's write, and why.
func snapshotDue(d *draft) (reason string, due bool) {
	k, p := d.m.kind, &d.m.kind.policy
	switch {
	case k.strategy == SnapshotOnly:
		return "every write", true
	case d.snaps.revised:
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
		when, err := k.wantsSnapshot(d.value())
		if err != nil {
			d.db.log.Warn("SnapshotWhen panicked", "kind", k.name, "id", d.m.id, "error", err)
		}
		return "asked", when
	}
	return "", false
}

// flushDue reports whether the draft, a Go under SnapshotOnly, has to store the state at
// once.
func flushDue(d *draft) bool {
	p := &d.m.kind.policy
	since := d.seq - d.m.queued
	return p.Events > 0 && since >= uint64(p.Events) ||
		p.Every > 0 && d.m.queued > 0 && d.now-d.lastSnapshot() >= p.Every.Microseconds()
}

// snapshotIndex is what pruning needs to know of a machine's snapshots, queued
// ones included, ordered by seq. An index is never changed in place: the methods
// return a new one, and a draft that is rolled back puts the old one back.
type snapshotIndex struct{ all []snapshotEntry }

// snapshotEntry is one snapshot in the index.
type snapshotEntry struct {
	seq     uint64
	version uint64
	taken   int64 // when, in microseconds since 1970
	pinned  bool
	tags    []string
}

func entryOf(r *record.Snapshot) snapshotEntry {
	return snapshotEntry{seq: r.Seq, version: r.Version, taken: r.Time, pinned: r.Pinned, tags: r.Tags}
}

// protected reports whether the snapshot is never pruned.
func (e *snapshotEntry) protected() bool { return e.pinned || len(e.tags) > 0 }

// find returns the index of the entry with this seq, and whether there is one.
func (s *snapshotIndex) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(s.all, seq, func(e snapshotEntry, seq uint64) int { return cmp.Compare(e.seq, seq) })
}

// with returns the index with e, which replaces an entry of the same seq.
func (s *snapshotIndex) with(e snapshotEntry) *snapshotIndex {
	i, found := s.find(e.seq)
	if found {
		all := slices.Clone(s.all)
		all[i] = e
		return &snapshotIndex{all}
	}
	return &snapshotIndex{slices.Insert(slices.Clip(s.all), i, e)}
}

// without returns the index without the snapshots in drop.
func (s *snapshotIndex) without(drop ...uint64) *snapshotIndex {
	return &snapshotIndex{slices.DeleteFunc(slices.Clone(s.all), func(e snapshotEntry) bool { return slices.Contains(drop, e.seq) })}
}

// prune returns the seqs of the snapshots that the policy does not keep. It always
// keeps the one at base, the protected ones, the last one of each version before
// the newest, and the newest of the rest.
func (s *snapshotIndex) prune(p SnapshotPolicy, base uint64, now int64) (drop []uint64) {
	counted := 0
	for i := len(s.all) - 1; i >= 0; i-- {
		e := s.all[i]
		if e.protected() || e.seq == base || i+1 < len(s.all) && s.all[i+1].version != e.version {
			continue
		}
		counted++
		tooMany := p.Keep >= 0 && counted > p.Keep
		tooOld := p.MaxAge > 0 && now-e.taken > p.MaxAge.Microseconds()
		if counted > 1 && (tooMany || tooOld) {
			drop = append(drop, e.seq)
		}
	}
	return drop
}
