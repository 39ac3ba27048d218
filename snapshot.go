package savepoint

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// SnapshotInfo describes one stored snapshot.
type SnapshotInfo struct {
	Kind, ID     string
	Seq          uint64 // the snapshot is the state right after this record
	Phase        string
	Version      Version   // schema version of the state
	Taken        time.Time // when the snapshot was stored
	Updated      time.Time // time of record Seq
	Size         int       // bytes of the encoded state
	Digest       string    // of the machine's records up to Seq, 32 hex digits
	Base         bool      // the log starts here, so the snapshot cannot be deleted
	Revision     uint64    // under Versioned: the newest revision at Seq
	RevisionName string
	Reason       string
	Tags         []string
	Err          error // not nil if the stored bytes are damaged; only Kind, ID and Seq are set then
}

// SnapshotRange says which snapshots to list. The zero value lists all, oldest
// first.
type SnapshotRange struct {
	Newest bool   // list the newest first
	Limit  int    // list at most this many; 0 = all
	Tag    string // list only those with this tag; "" = all
}

// Snapshot stores a snapshot of the machine's newest state. It is durable on
// return. A [Tag] keeps it from being pruned, [Because] sets its Reason. Where a
// snapshot of the newest record exists, the new one replaces it and keeps its
// tags. The errors are those of [Store.Append], and ErrNotFound.
func (s *Store[S]) Snapshot(ctx context.Context, id string, opts ...WriteOption) (SnapshotInfo, error) {
	var info SnapshotInfo
	o := newWriteOptions(opts)
	ack := s.db.write(ctx, request{s.kind, id, opSnapshot, o}, func(d *draft) error {
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
		if d.h.Snapshot == d.seq { // the new one replaces it
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
		if err := r.Parse(d.snaps.made[len(d.snaps.made)-1].Bytes, d.m.key); err != nil {
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

// Snapshots lists the machine's snapshots, once all writes before the call are
// durable. A damaged snapshot is listed with Err set. An error, for example
// ErrNotFound, comes once and last.
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

// DeleteSnapshot removes the machine's snapshot at seq, also one with tags, and
// reports whether there was one. It is durable on return. The base of the log is
// refused, because the records after it need it. Under SnapshotOnly the state at
// seq cannot be shown any more afterwards.
func (s *Store[S]) DeleteSnapshot(ctx context.Context, id string, seq uint64) (bool, error) {
	found := false
	ack := s.db.write(ctx, request{s.kind, id, opSnapshot, defaultWriteOptions}, func(d *draft) error {
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
			return fmt.Errorf("snapshot %d is the base of the log: the records after it need it", seq)
		}
		found = true
		d.snaps.drop = append(d.snaps.drop, seq)
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
