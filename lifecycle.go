package savepoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// Delete marks a machine as deleted, by a record of its own: Load returns ErrDeleted,
// which matches ErrNotFound, while Events, At and Recover still work. A later write
// starts again from New, and seq continues. It is durable on return. The errors are those
// of [Store.Append]; ErrNotFound if there is no such machine.
func (s *Store[S]) Delete(ctx context.Context, id string, opts ...WriteOption) (Head, error) {
	return waitForWrite(ctx, func() *Ack {
		o := newWriteOptions(opts)
		return s.db.write(ctx, request{s.kind, id, opDelete, o}, func(d *draft) error {
			if !d.m.exists() {
				return notFoundError(d.m)
			}
			return d.remove()
		})
	})
}

// Purge removes a machine completely: its records, snapshots and keys. It is durable
// on return. A later write to the id makes a new machine, which starts at seq 1. The
// file does not shrink, but the space is used again; the bytes are readable in the file
// until then. A machine in quarantine can be purged. Purge returns ErrNotFound if there
// is no such machine.
func (s *Store[S]) Purge(ctx context.Context, id string) error {
	start := time.Now()
	err := s.db.purge(ctx, s.kind, id, start)
	if err != nil {
		return fmt.Errorf("purge %s %.60q: %w", s.kind.name, id, err)
	}
	return nil
}

func (db *DB) purge(ctx context.Context, k *kind, id string, start time.Time) error {
	m, err := db.acquireIdle(ctx, k, id, true)
	if err != nil {
		return err
	}
	head, err := db.eng.Load(ctx, m.key, engine.LoadRange{}, nil)
	if errors.Is(err, engine.ErrDamaged) {
		head.Seq, err = db.newestItem(ctx, m.key)
	} else if err == nil && head.Number == 0 {
		err = notFoundError(m)
	}
	if err != nil {
		db.queue.Release()
		db.release(m)
		return err
	}
	m.forget()
	ack := newAck(opDelete, start)
	m.newest = ack
	db.pushWrite(ack, m, engine.Write{Machine: m.key, Expect: head.Seq, Purge: true}, 0)
	_, err = ack.Wait(ctx)
	db.release(m)
	if err == nil {
		db.quarantine.remove(k, id)
	}
	return err
}

// newestItem returns the highest seq among a machine's records and snapshots. It counts
// as the machine's seq when the head is damaged.
func (db *DB) newestItem(ctx context.Context, key string) (seq uint64, err error) {
	want := engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: engine.All, Events: true, To: engine.All, Newest: true}
	_, err = db.eng.Load(ctx, key, want, func(it engine.Item) error {
		seq = max(seq, it.Seq, it.Last)
		if it.Part == engine.PartEvent {
			return engine.Stop
		}
		return nil
	})
	if errors.Is(err, engine.ErrDamaged) {
		err = nil
	}
	return seq, err
}

// Fork makes the machine newID, whose first state is that of the machine id at a point.
// The seq of the new machine continues from the point's, and its log starts there: records
// and keys are not copied. It is durable on return. newID must never have existed, or
// must have been purged, else Fork returns a *ConflictError. The other errors are those
// of [Store.At] and [Store.Append].
func (s *Store[S]) Fork(ctx context.Context, id string, p Point, newID string, opts ...WriteOption) (Head, error) {
	h, err := s.fork(ctx, id, p, newID, opts)
	if err != nil {
		return Head{}, fmt.Errorf("fork %s %.60q at %s: %w", s.kind.name, id, p, err)
	}
	return h, nil
}

func (s *Store[S]) fork(ctx context.Context, id string, p Point, newID string, opts []WriteOption) (Head, error) {
	if _, err := s.db.awaitDurable(ctx, s.kind, id); err != nil {
		return Head{}, err
	}
	r, err := s.db.reach(ctx, s.kind, id, p)
	if err != nil {
		return Head{}, err
	}
	if r.head.Deleted {
		return Head{}, fmt.Errorf("%w: at this point", ErrDeleted)
	}
	enc, err := s.kind.encode(s.kind.value(r.st))
	if err != nil {
		return Head{}, err
	}
	return waitForWrite(ctx, func() *Ack {
		o := *newWriteOptions(opts)
		if o.cause == "" {
			o.cause = fmt.Sprintf("fork of %s %q at %d", s.kind.name, id, r.seq)
		}
		return s.db.write(ctx, request{s.kind, newID, opFork, &o}, func(d *draft) error { return startFork(d, r, enc) })
	})
}

// startFork makes the draft's new machine start at r, whose state is enc.
func startFork(d *draft, r *rebuiltState, enc []byte) error {
	m := d.m
	if m.seq > 0 {
		return &ConflictError{Kind: m.kind.name, ID: m.id, Want: 0, Have: m.seq}
	}
	d.seq, d.snaps.based = r.seq, true
	d.h = record.Head{Phase: r.head.Phase, Version: m.kind.packed, Created: d.now, Updated: d.now, Base: r.seq,
		Revision: r.head.Revision, RevisionName: r.head.RevisionName}
	if m.kind.strategy.keepsEvents() {
		m.snaps = &snapshotIndex{}
		d.addSnapshot(&record.Snapshot{Kind: m.kind.name, ID: m.id, Seq: r.seq, Version: d.h.Version, Phase: d.h.Phase,
			Time: d.now, Created: d.now, Updated: d.now, Pinned: true, Revision: d.h.Revision, RevisionName: d.h.RevisionName, Reason: reasonForked, State: enc})
	}
	return d.replace(reasonForked, enc, "")
}
