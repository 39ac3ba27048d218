package savepoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// attempt rebuilds a state in one way: from a snapshot, or from a replaced record.
// One attempt value is used for several attempts in turn, so that they share memory.
//
//  1. out says how far the attempt came, also if it fails.
//  2. No record is left out: one that is damaged or missing ends the attempt.
//     Records before a whole state that the replay starts at are not applied, but
//     they are checked and count in the digest.
//  3. stored is the head that the first load returned. Records that are appended
//     later are not read.
type attempt struct {
	rebuildTarget
	db  *DB
	key string

	out     *rebuiltState
	stored  engine.Head
	snap    record.Snapshot // where the attempt starts; its state is in out.enc
	replay  replay
	chain   record.Chain // the digest of the records up to out.seq, if chained
	chained bool         // the attempt started at a snapshot, which holds the digest
	tail    tail         // the records after out.encSeq
	reading reading
}

// attemptOptions say how an attempt reads.
type attemptOptions struct {
	// skipToWhole makes the attempt start at the newest whole state after the
	// snapshot: this program cannot read what is before it.
	skipToWhole bool
	// whole is the record with that state. The records before it are checked, but
	// not applied. 0 = every record is applied.
	whole uint64
}

// reading is one load of an attempt: its options and where it ended. It is part of
// the attempt so that the engine's callback can fill it without an allocation.
type reading struct {
	attemptOptions
	head   engine.Head
	damage error // of the head
	stop   stopReason
	err    error // why stop is stopFailed
}

// stopReason is why a reading ended.
type stopReason uint8

const (
	stopEnd        stopReason = iota // all items were read
	stopNoSnapshot                   // there is no snapshot to start at
	stopOlder                        // the snapshot is of an older version, or skipToWhole is set: the replay has not started yet
	stopFailed                       // an item could not be used
)

// attemptPool holds attempts for their memory.
var attemptPool = sync.Pool{New: func() any { return new(attempt) }}

// newAttempt returns an attempt to be started. The caller ends it with free.
func newAttempt(db *DB, t rebuildTarget) *attempt {
	a := attemptPool.Get().(*attempt)
	a.db, a.rebuildTarget, a.key = db, t, keyOf(t.kind.name, t.id)
	return a
}

// start resets a for one more attempt.
func (a *attempt) start(source string) {
	*a = attempt{rebuildTarget: a.rebuildTarget, db: a.db, key: a.key,
		chain: a.chain, tail: a.tail, replay: replay{kind: a.kind, id: a.id, events: a.replay.events}}
	a.out = &rebuiltState{source: source}
}

// free returns a to the pool. The states that it made do not share its memory.
func (a *attempt) free() {
	*a = attempt{chain: a.chain, tail: a.tail, replay: replay{events: a.replay.events}}
	if a.tail.reset(); a.tail.size() > maxTail {
		a.tail = tail{}
	}
	attemptPool.Put(a)
}

// fromSnapshot rebuilds the state from the newest snapshot at or before snapTo.
func (a *attempt) fromSnapshot(ctx context.Context, snapTo uint64, o attemptOptions) (*rebuiltState, error) {
	a.start("snapshot")
	got, err := a.read(ctx, engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: snapTo, Events: true, To: a.to}, o)
	if err != nil {
		return nil, err
	}
	if got.head.Number == 0 && got.damage == nil {
		return a.absent()
	}
	if err := a.setStored(got.head, got.damage); err != nil {
		a.out = &rebuiltState{source: a.out.source, from: a.out.from, stored: a.stored} // without the head its state cannot be trusted
		return nil, err
	}
	switch got.stop {
	case stopFailed:
		return nil, got.err
	case stopNoSnapshot:
		a.out.source = "new"
		return nil, a.corrupt("snapshot", a.out.newest.Base, errors.New("no snapshot is left to start at"))
	case stopOlder:
		if err := a.fromOlder(ctx); err != nil {
			return nil, err
		}
	}
	return a.result()
}

// absent returns the state of a machine that does not exist yet.
func (a *attempt) absent() (*rebuiltState, error) {
	enc, err := a.kind.first()
	if err != nil {
		return nil, err
	}
	if err := a.replay.begin(0, enc); err != nil {
		return nil, err
	}
	phase, err := a.kind.phaseOf(a.kind.value(a.replay.st))
	if err != nil {
		return nil, err
	}
	a.out.source, a.out.enc, a.out.st = "new", enc, a.replay.st
	a.out.head = record.Head{Phase: phase, Version: a.kind.packed}
	return a.out, nil
}

// fromOlder continues from a snapshot of an older version. The records decide how:
// the snapshot's state is upcast only if no whole state is between it and the
// point. Otherwise the records up to the whole state are only checked.
func (a *attempt) fromOlder(ctx context.Context) error {
	whole, err := a.newestWhole(ctx)
	if err != nil {
		return err
	}
	if whole == 0 {
		if err := a.startAtSnapshot(); err != nil {
			return err
		}
	}
	return a.readOn(ctx, attemptOptions{whole: whole})
}

// newestWhole returns the seq of the newest record with a whole state between
// the snapshot and the point, 0 if no such record exists.
func (a *attempt) newestWhole(ctx context.Context) (seq uint64, err error) {
	var env record.Envelope
	_, err = a.db.eng.Load(ctx, a.key, engine.LoadRange{Events: true, After: a.snap.Seq, To: a.lastSeq(), Newest: true}, func(it engine.Item) error {
		if it.Err == nil && env.Parse(it.Bytes, &env) == nil && env.Name == replacedName {
			seq = it.Seq
			return engine.Stop
		}
		return ctx.Err()
	})
	if errors.Is(err, engine.ErrDamaged) {
		err = nil // the head's; the first load returned it already
	}
	return seq, err
}

// replacedRecord is the newest readable replaced record of a machine.
type replacedRecord struct {
	seq, pos uint64
	bytes    []byte
	keys     []knownKey // of the records before it, newest first
}

// newestReplaced starts an attempt and finds the record that it can start at.
func (a *attempt) newestReplaced(ctx context.Context) (found replacedRecord, err error) {
	a.start("replaced")
	var env record.Envelope
	head, err := a.db.eng.Load(ctx, a.key, engine.LoadRange{Events: true, To: a.to, Newest: true}, func(it engine.Item) error {
		switch {
		case it.Err != nil || env.Parse(it.Bytes, nil) != nil:
		case found.bytes == nil && env.Name == replacedName:
			found.seq, found.pos, found.bytes = it.Seq, it.Pos, append([]byte(nil), it.Bytes...)
		case found.bytes != nil && env.Key != "" && len(found.keys) < maxKeys:
			found.keys = append(found.keys, keyOfRecord(it.Seq, &env))
		}
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, engine.ErrDamaged) {
		return found, err
	}
	if err := a.setStored(head, err); err != nil {
		return found, err
	}
	if found.bytes == nil {
		return found, a.corrupt("event", 0, errors.New("no replaced record is readable"))
	}
	return found, nil
}

// fromReplaced rebuilds the state from a replaced record, which newestReplaced has found.
func (a *attempt) fromReplaced(ctx context.Context, found replacedRecord) (*rebuiltState, error) {
	a.out.from, a.out.pos = found.seq, found.pos
	if err := a.replay.next(found.seq, found.bytes); err != nil {
		return nil, a.corrupt("event", found.seq, err)
	}
	if err := a.startAtWhole(found.seq); err != nil {
		return nil, a.corrupt("event", found.seq, err)
	}
	a.out.head = record.Head{Created: a.out.newest.Created}
	for _, k := range slices.Backward(found.keys) {
		a.out.keys = appendKey(a.out.keys, k)
	}
	a.updateHead(found.seq, &a.replay.env, found.bytes)
	a.out.seq = found.seq
	if err := a.readOn(ctx, attemptOptions{}); err != nil {
		return nil, err
	}
	return a.result()
}

// readOn continues the attempt from out.seq to the point.
func (a *attempt) readOn(ctx context.Context, o attemptOptions) error {
	if a.out.seq >= a.lastSeq() {
		return nil
	}
	got, err := a.read(ctx, engine.LoadRange{Events: true, After: a.out.seq, To: a.lastSeq()}, o)
	if err == nil && got.stop == stopFailed {
		err = got.err
	}
	return err
}

// read loads what want names and applies it. The engine lends its items, so they
// are decoded and applied as they come; each record is copied once, into the
// tail. The error is the engine's; what is wrong with an item is in the reading.
func (a *attempt) read(ctx context.Context, want engine.LoadRange, o attemptOptions) (reading, error) {
	a.tail.reset()
	a.reading = reading{attemptOptions: o}
	if want.Snapshot != engine.NoSnapshot {
		a.reading.stop = stopNoSnapshot
	}
	head, err := a.db.eng.Load(ctx, a.key, want, func(it engine.Item) error {
		r := &a.reading
		switch {
		case it.Part == engine.PartSnapshot:
			r.stop, r.err = a.takeSnapshot(&it, r.skipToWhole)
		case r.stop == stopEnd:
			r.stop, r.err = a.takeRecord(&it, r.whole)
		}
		if r.stop == stopFailed || r.stop == stopOlder {
			return engine.Stop
		}
		return nil
	})
	if errors.Is(err, engine.ErrDamaged) {
		a.reading.damage, err = err, nil
	}
	a.reading.head, a.out.tail = head, a.tail.clone()
	return a.reading, err
}

// takeSnapshot starts the attempt at a snapshot.
func (a *attempt) takeSnapshot(it *engine.Item, skipToWhole bool) (stopReason, error) {
	a.out.from = it.Seq
	err := it.Err
	if err == nil {
		err = a.snap.Parse(it.Bytes, a.key)
	}
	if err == nil && (a.snap.Kind != a.kind.name || a.snap.ID != a.id || a.snap.Seq != it.Seq) {
		err = fmt.Errorf("it is the snapshot %d of %s %q", a.snap.Seq, a.snap.Kind, a.snap.ID)
	}
	if err != nil {
		return stopFailed, a.corrupt("snapshot", it.Seq, err)
	}
	a.out.enc = append([]byte(nil), a.snap.State...)
	a.snap.State = nil
	a.setHead(&a.snap)
	a.chain.Begin(a.snap.Digest)
	a.chained = true
	for _, key := range a.snap.Keys {
		a.out.keys = appendKey(a.out.keys, knownKey{Key: key})
	}
	if skipToWhole || a.kind.upcasts(a.snap.Version) {
		return stopOlder, nil
	}
	if err := a.startAtSnapshot(); err != nil {
		return stopFailed, err
	}
	return stopEnd, nil
}

// startAtSnapshot starts the replay at the snapshot's state, upcast if need be.
func (a *attempt) startAtSnapshot() (err error) {
	s := &a.snap
	if a.out.enc, err = a.replay.upcasterFor().state(s.Seq, s.Version, a.out.enc); err == nil {
		err = a.replay.begin(s.Seq, a.out.enc)
	}
	if err != nil {
		return a.corrupt("snapshot", s.Seq, err)
	}
	a.out.st, a.out.encSeq = a.replay.st, s.Seq
	return nil
}

// startAtWhole makes the whole state of record seq, which the replay has just
// applied, the one that the attempt starts at.
func (a *attempt) startAtWhole(seq uint64) error {
	e := &a.replay.env
	enc, err := a.replay.upcasterFor().state(seq, e.Version, e.Payload)
	if err != nil {
		return err
	}
	a.out.st, a.out.encSeq = a.replay.st, seq
	a.out.enc = append([]byte(nil), enc...)
	a.tail.reset()
	return nil
}

// takeRecord applies one record, or, before the record whole, only checks it.
func (a *attempt) takeRecord(it *engine.Item, whole uint64) (stopReason, error) {
	out := a.out
	switch {
	case max(it.Seq, it.Last) <= out.seq: // the snapshot includes it
		return stopEnd, nil
	case it.Err != nil:
		return stopFailed, a.corrupt("event", it.Seq, it.Err)
	case it.Seq != out.seq+1:
		return stopFailed, a.corrupt("event", out.seq+1, &GapError{From: out.seq + 1, To: it.Seq - 1, Why: errNotThere})
	case a.limit > 0 && out.replayed >= a.limit:
		return stopFailed, fmt.Errorf("%s %q: more than %d records would have to be replayed: raise the limit or take a snapshot", a.kind.name, a.id, a.limit)
	}
	b, err := it.Bytes, error(nil)
	if it.Seq < whole {
		err = a.replay.skip(it.Seq, b)
	} else {
		b = a.tail.add(b)
		err = a.replay.next(it.Seq, b)
	}
	if err == nil && it.Seq == whole {
		err = a.startAtWhole(it.Seq)
	}
	if err != nil {
		return stopFailed, a.corrupt("event", it.Seq, err)
	}
	out.seq, out.pos = it.Seq, it.Pos
	a.updateHead(it.Seq, &a.replay.env, b)
	if it.Seq <= whole {
		return stopEnd, nil
	}
	out.st = a.replay.st
	out.replayed++
	if len(a.tail.bytes) > maxTail {
		if err := a.shortenTail(); err != nil {
			return stopFailed, err
		}
	}
	return stopEnd, nil
}

// maxTail is how many bytes of records a rebuild keeps at most.
const maxTail = 1 << 20

// shortenTail replaces the tail by the encoded state after it.
func (a *attempt) shortenTail() error {
	enc, err := a.kind.encode(a.kind.value(a.out.st))
	if err != nil {
		return a.corrupt("state", a.out.seq, err)
	}
	a.out.enc, a.out.encSeq = enc, a.out.seq
	a.tail.reset()
	return nil
}

// setStored sets the head that the attempt has to reach. damage is what the engine
// found wrong with it.
func (a *attempt) setStored(head engine.Head, damage error) error {
	a.stored, a.out.stored = head, head
	if damage != nil && a.assumedSeq > 0 && !errors.Is(damage, record.ErrNewer) {
		a.stored = engine.Head{Seq: a.assumedSeq}
		a.out.stored = a.stored
		return nil
	}
	if damage != nil {
		return a.corrupt("head", head.Seq, damage)
	}
	if head.Number == 0 {
		return fmt.Errorf("%w: %s %q", ErrNotFound, a.kind.name, a.id)
	}
	if err := a.out.newest.Parse(head.Bytes, a.key); err != nil {
		return a.corrupt("head", head.Seq, err)
	}
	return nil
}

// lastSeq returns the seq that the attempt has to reach.
func (a *attempt) lastSeq() uint64 { return min(a.to, a.stored.Seq) }

// setHead sets the head at out.seq from a snapshot.
func (a *attempt) setHead(s *record.Snapshot) {
	a.out.seq = s.Seq
	a.out.head = record.Head{Deleted: s.Deleted, Version: s.Version, Phase: s.Phase, Created: s.Created, Updated: s.Updated,
		Bytes: s.Bytes, Digest: s.Digest, Revision: s.Revision, RevisionName: s.RevisionName, Mark: s.Mark, Snapshot: s.Seq, SnapshotTime: s.Time}
}

// updateHead updates the head at out.seq by record seq, whose bytes are b.
func (a *attempt) updateHead(seq uint64, e *record.Envelope, b []byte) {
	h := &a.out.head
	h.Updated, h.Phase, h.Version = e.Time, e.To, e.Version
	h.Bytes += uint64(len(b))
	if a.chained {
		h.Digest = a.chain.Next(b)
	}
	switch e.Name {
	case deletedName:
		h.Deleted = true
	case replacedName:
		h.Deleted = false
	}
	if e.Revision != 0 {
		h.Revision, h.RevisionName = e.Revision, e.RevisionName
	}
	if e.Mark != 0 {
		h.Mark = e.Mark
	}
	if e.Key != "" {
		a.out.keys = appendKey(a.out.keys, keyOfRecord(seq, e))
	}
}

// result returns the rebuilt state, after a check that the attempt reached the
// point, that the digest of the records is the head's, and that the state is
// valid.
func (a *attempt) result() (*rebuiltState, error) {
	out := a.out
	end := a.lastSeq()
	if out.seq != end {
		return nil, a.corrupt("event", out.seq+1, &GapError{From: out.seq + 1, To: end, Why: errNotThere})
	}
	if end == a.stored.Seq && a.assumedSeq == 0 {
		if sum := a.chain.At(); a.chained && sum != out.newest.Digest {
			return nil, a.corrupt("chain", end, fmt.Errorf("the digest of the records is %x, the head says %x", sum, out.newest.Digest))
		}
		created := out.head.Created
		out.head = out.newest
		if out.head.Created == 0 {
			out.head.Created = created
		}
		out.pos = a.stored.Pos
	} else {
		out.head.Base, out.head.Gaps = out.newest.Base, out.newest.Gaps
	}
	if out.head.Deleted {
		return out, nil
	}
	if err := a.kind.valid(a.kind.value(out.st)); err != nil {
		err = fmt.Errorf("not valid: %w", err)
		if a.kind.upcasts(out.head.Version) {
			return nil, a.replay.upcasterFor().failed(out.seq, out.head.Version, "", err)
		}
		return nil, a.corrupt("state", out.seq, err)
	}
	return out, nil
}

func (a *attempt) corrupt(part string, seq uint64, why error) error {
	return corrupt(a.kind, a.id, part, seq, why)
}
