package savepoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// Delete appends a tombstone: Load answers ErrDeleted, which is ErrNotFound,
// while Events, At and Recover still work. A later write begins anew from New,
// and seq goes on. Deleting what is not there answers ErrNotFound.
func (s *Store[S]) Delete(ctx context.Context, id string, opts ...WriteOption) (Head, error) {
	return s.db.wait(ctx, func() *Ack {
		o := newWriteOptions(opts)
		return s.db.write(ctx, s.kind, id, o, opDelete, func(d *draft) error {
			if !d.m.exists() {
				return notFoundError(d.m)
			}
			return d.remove()
		})
	})
}

// Purge forgets a machine altogether: its records, its snapshots, its keys. A
// later write to the id makes a new machine. The space is used again; the bytes
// are gone once it was. A machine in quarantine can be purged. Purging what is
// not there answers ErrNotFound.
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
	db.push(&step{ack: ack, writes: []engine.Write{{Machine: m.key, Expect: head.Seq, Purge: true}},
		parts: []part{{m, 0}}}, 0)
	_, err = ack.Wait(ctx)
	db.release(m)
	if err == nil {
		db.quarantine.remove(k, id)
	}
	return err
}

// newestItem is the seq at which a machine with a damaged head counts as being.
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

// Fork makes a new machine that begins with the state that another had at a
// point. Its seq goes on from there, its log begins there; records and keys are
// not copied. The new id must never have existed, or have been purged.
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
	return s.db.wait(ctx, func() *Ack {
		o := *newWriteOptions(opts)
		if o.cause == "" {
			o.cause = fmt.Sprintf("fork of %s %q at %d", s.kind.name, id, r.seq)
		}
		return s.db.write(ctx, s.kind, newID, &o, opFork, func(d *draft) error { return d.fork(r, enc) })
	})
}

// fork makes the draft's new machine begin at r.
func (d *draft) fork(r *rebuiltState, enc []byte) error {
	m := d.m
	if m.seq > 0 {
		return &ConflictError{Kind: m.kind.name, ID: m.id, Want: 0, Have: m.seq}
	}
	d.seq, d.based = r.seq, true
	d.h = record.Head{Phase: r.head.Phase, Version: m.kind.packed, Created: d.now, Updated: d.now, Base: r.seq,
		Revision: r.head.Revision, RevisionName: r.head.RevisionName}
	if m.kind.strategy.keepsEvents() {
		m.snaps = &snapshotIndex{}
		d.addSnapshot(&record.Snapshot{Kind: m.kind.name, ID: m.id, Seq: r.seq, Version: d.h.Version, Phase: d.h.Phase,
			Time: d.now, Created: d.now, Updated: d.now, Pinned: true, Revision: d.h.Revision, RevisionName: d.h.RevisionName, Reason: reasonForked, State: enc})
	}
	return d.replace(reasonForked, enc, "")
}
