package savepoint

import (
	"context"
	"errors"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// draftSnapshots are the snapshots that a draft stores and removes.
type draftSnapshots struct {
	made    []engine.Snapshot
	drop    []uint64       // seqs of stored snapshots to remove
	encoded []byte         // the state at the draft's seq, if it was encoded for a snapshot
	before  *snapshotIndex // the machine's index before the draft
	current bool           // a snapshot at the draft's seq is in made
	based   bool           // the base of a new log is in made
	revised bool           // the draft has a Save under Versioned
}

// loadSnapshotIndex loads the machine's index of snapshots, unless it is loaded.
// Those that the draft has made are added.
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
			e := snapshotEntry{seq: it.Seq, pinned: true} // a damaged one is never pruned, so that it can be examined
			if it.Err == nil && s.Parse(it.Bytes, m.key) == nil {
				e = entryOf(&s)
			}
			x.all = append(x.all, e)
			return nil
		})
		if err != nil && !errors.Is(err, engine.ErrDamaged) { // a recovery replaces a damaged head
			return err
		}
	}
	made := d.snaps.made
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

// lastSnapshot is the time of the newest snapshot in microseconds since 1970. The
// first write counts as one, because it stores the base.
func (d *draft) lastSnapshot() int64 {
	if d.h.SnapshotTime != 0 {
		return d.h.SnapshotTime
	}
	return d.h.Created
}

// snapshot adds a snapshot of the state at the draft's seq to the write.
func (d *draft) snapshot(reason string, tags []string) error {
	m := d.m
	if d.snaps.encoded == nil {
		var enc []byte
		switch {
		case d.state.replaced > 0 && d.state.replaced == len(d.made.records):
			enc = d.state.encoded
		case d.seq == m.seq && m.encoded.current(d.seq):
			enc = m.encoded.state
		default:
			var err error
			if enc, err = m.kind.encode(d.value()); err != nil {
				return err
			}
		}
		if err := d.checkStateSize(enc); err != nil {
			return err
		}
		d.snaps.encoded = enc
	}
	d.stateSnapshot(m.kind.packed, d.snaps.encoded, reason, tags)
	return nil
}

// stateSnapshot adds a snapshot at the draft's seq of a state that is encoded as a
// version of the kind has it.
func (d *draft) stateSnapshot(version uint64, enc []byte, reason string, tags []string) {
	k := d.m.kind
	d.snaps.current = true
	d.h.Snapshot, d.h.SnapshotTime = d.seq, d.now
	if !k.strategy.keepsEvents() {
		d.h.Base, d.h.Bytes = d.seq, 0 // records from before another strategy are not needed any more
	}
	d.addSnapshot(&record.Snapshot{Kind: k.name, ID: d.m.id, Seq: d.seq, Version: version, Phase: d.h.Phase, Time: d.now,
		Created: d.h.Created, Updated: d.h.Updated, Deleted: d.h.Deleted, Digest: d.h.Digest, Bytes: d.h.Bytes,
		Pinned:   k.strategy.keepsEvents() && d.seq == d.h.Base, // the log was compacted up to here
		Revision: d.h.Revision, RevisionName: d.h.RevisionName, Mark: d.h.Mark, Reason: reason, Tags: tags, Keys: keysAfter(d), State: enc})
}

// addSnapshot adds an encoded snapshot to the write and to the machine's index, if
// that is loaded.
func (d *draft) addSnapshot(s *record.Snapshot) {
	b := s.Append(make([]byte, 0, len(s.State)+256), d.m.key)
	d.snaps.made = append(d.snaps.made, engine.Snapshot{Seq: s.Seq, Bytes: b})
	d.made.size += int64(len(b))
	if d.m.snaps != nil {
		d.m.snaps = d.m.snaps.with(entryOf(s))
	}
}

// addBase adds the state before the first record as a pinned snapshot, so that a
// later change of New does not change the machine's history.
func (d *draft) addBase() {
	m := d.m
	d.addSnapshot(&record.Snapshot{Kind: m.kind.name, ID: m.id, Version: m.kind.packed, Phase: m.h.Phase, Time: d.now,
		Created: d.now, Updated: d.now, Pinned: true, Reason: "base", State: m.encoded.state})
}

// prune removes the snapshots that the policy does not keep.
func (d *draft) prune(ctx context.Context) error {
	m, k := d.m, d.m.kind
	if err := d.loadSnapshotIndex(ctx); err != nil {
		return err
	}
	base := d.h.Base
	if !k.strategy.keepsEvents() {
		base = engine.All // no records need the base, so it is a snapshot like the others
	}
	if drop := m.snaps.prune(k.policy, base, d.now); len(drop) > 0 {
		d.snaps.drop = append(d.snaps.drop, drop...)
		m.snaps = m.snaps.without(drop...)
	}
	return nil
}
