package savepoint

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// Attempt is one way of rebuilding a state that did not work.
type Attempt struct {
	Source string // where it began: "snapshot", "new" or "replaced"
	From   uint64 // its seq
	Good   uint64 // how far it came
	Err    string // why it went no further
}

func (a Attempt) String() string {
	return fmt.Sprintf("%s %d: good up to %d: %s", a.Source, a.From, a.Good, a.Err)
}

// rebuild is the one planner for every point: it brings the state to record to
// (engine.All = the newest). It begins at the newest good snapshot at or before
// the point; where that does not lead there it goes down the ladder: older
// snapshots, then the newest replaced record behind the damage. It never skips
// a record in silence. best is the furthest good state of all attempts. Where
// the log was cut or put back meanwhile, all of it begins anew.
func (db *DB) rebuild(ctx context.Context, k *kind, id string, to uint64, limit int) (r, best *rebuiltState, tried []Attempt, err error) {
	for n := 1; ; n++ {
		var seen logStart
		r, best, tried, err = db.tryInOrder(ctx, k, id, to, limit, &seen)
		if err == nil || n >= maxAttempts || !db.cutMeanwhile(ctx, k, id, seen, err) {
			return r, best, tried, err
		}
	}
}

// logStart is where a machine's log began when it was looked at.
type logStart struct{ number, base uint64 }

// cutMeanwhile says whether an error comes from a log that was compacted, or put
// back, while it was read in several looks.
func (db *DB) cutMeanwhile(ctx context.Context, k *kind, id string, seen logStart, err error) bool {
	if errors.Is(err, engine.ErrChanged) {
		return true
	}
	if !rebuildable(err) || seen.number == 0 {
		return false
	}
	head, h, err := db.storedHead(ctx, k, id, 0, func(*record.Snapshot) {})
	return err == nil && seen != logStart{head.Number, h.Base}
}

// tryInOrder goes down the ladder once.
func (db *DB) tryInOrder(ctx context.Context, k *kind, id string, to uint64, limit int, seen *logStart) (r, best *rebuiltState, tried []Attempt, err error) {
	p := db.newAttempt(k, id, to)
	defer p.free()
	p.limit = limit
	snapTo := to
	var first error
	for {
		r, err = p.fromSnapshot(ctx, snapTo)
		if err != nil && isProgramError(err) { // by this program, of another version than what came before or after
			p.skipToWhole = true
			if whole, again := p.fromSnapshot(ctx, snapTo); again == nil {
				r, err = whole, nil
			}
			p.skipToWhole = false
		}
		if err == nil || !rebuildable(err) {
			return r, r, tried, err
		}
		best = furthest(best, p.out)
		tried = append(tried, p.failure(err))
		if first == nil {
			first = err
			*seen = logStart{p.stored.Number, p.out.newest.Base}
		}
		if !p.began || p.out.from == 0 {
			break
		}
		snapTo = p.out.from - 1
	}
	r, replacedErr := p.fromReplaced(ctx)
	if replacedErr == nil {
		return r, r, tried, nil
	}
	if p.began {
		best = furthest(best, p.out)
		tried = append(tried, p.failure(replacedErr))
	}
	return nil, best, tried, first
}

func (p *attempt) failure(err error) Attempt {
	return Attempt{Source: p.out.source, From: p.out.from, Good: p.out.seq, Err: err.Error()}
}

func furthest(a, b *rebuiltState) *rebuiltState {
	if b == nil || b.st == nil || a != nil && a.seq >= b.seq {
		return a
	}
	return b
}

// rebuildable says whether another way could lead where this one did not.
func rebuildable(err error) bool {
	var c *CorruptError
	return errors.As(err, &c)
}

// fromSnapshot begins at the newest snapshot at or before snapTo, or, where
// there is none, at nothing.
func (p *attempt) fromSnapshot(ctx context.Context, snapTo uint64) (*rebuiltState, error) {
	p.start("snapshot")
	if err := p.replayFrom(ctx, engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: snapTo, Events: true, To: p.to}); err != nil {
		return nil, err
	}
	p.out.stored = p.stored
	if p.stored.Number == 0 && p.damage == nil {
		return p.absent()
	}
	if err := p.parseHead(); err != nil {
		p.out = &rebuiltState{source: p.out.source, from: p.out.from, stored: p.stored} // how far it came is worth nothing
		return nil, err
	}
	if p.failed != nil {
		return nil, p.failed
	}
	if !p.hasSnap {
		p.out.source = "new"
		return nil, p.corrupt("snapshot", p.out.newest.Base, errors.New("no snapshot is left to begin at"))
	}
	if p.older {
		if err := p.fromOlder(ctx); err != nil {
			return nil, err
		}
	}
	return p.checkDigest()
}

// absent is the state of a machine that does not exist yet.
func (p *attempt) absent() (*rebuiltState, error) {
	enc, err := p.kind.first()
	if err != nil {
		return nil, err
	}
	if err := p.replay.begin(0, enc); err != nil {
		return nil, err
	}
	phase, err := p.kind.phaseOf(p.kind.value(p.replay.st))
	if err != nil {
		return nil, err
	}
	p.out.source, p.out.enc, p.out.st = "new", enc, p.replay.st
	p.out.head = record.Head{Phase: phase, Version: p.kind.packed}
	return p.out, nil
}

// fromOlder goes on from a snapshot of an older version. It is lifted, but never
// where a whole state stands between it and the point: what is before that is
// only proven, not applied.
func (p *attempt) fromOlder(ctx context.Context) (err error) {
	if p.whole, err = p.newestWhole(ctx); err != nil {
		return err
	}
	if p.whole == 0 {
		if err := p.beginSnapshot(); err != nil {
			return err
		}
	}
	p.older = false
	return p.readOn(ctx)
}

// newestWhole is the newest record with a whole state between the snapshot and
// the point, 0 if there is none.
func (p *attempt) newestWhole(ctx context.Context) (seq uint64, err error) {
	var env record.Envelope
	_, err = p.db.eng.Load(ctx, p.key, engine.LoadRange{Events: true, After: p.snap.Seq, To: p.lastSeq(), Newest: true}, func(it engine.Item) error {
		if it.Err == nil && env.Parse(it.Bytes, &env) == nil && env.Name == replacedName {
			seq = it.Seq
			return engine.Stop
		}
		return ctx.Err()
	})
	if errors.Is(err, engine.ErrDamaged) {
		err = nil // of the head; it is told already
	}
	return seq, err
}

// fromReplaced begins at the newest whole state among the records.
func (p *attempt) fromReplaced(ctx context.Context) (*rebuiltState, error) {
	p.start("replaced")
	var found []byte
	var older []knownKey // of the records before it, newest first
	var env record.Envelope
	head, err := p.db.eng.Load(ctx, p.key, engine.LoadRange{Events: true, To: p.to, Newest: true}, func(it engine.Item) error {
		switch {
		case it.Err != nil || env.Parse(it.Bytes, nil) != nil:
		case found == nil && env.Name == replacedName:
			found = append([]byte(nil), it.Bytes...)
			p.out.from, p.out.pos = it.Seq, it.Pos
		case found != nil && env.Key != "" && len(older) < maxKeys:
			older = append(older, keyedBy(it.Seq, &env))
		}
		return ctx.Err()
	})
	p.stored, p.out.stored, p.damage = head, head, err
	if err != nil && !errors.Is(err, engine.ErrDamaged) {
		return nil, err
	}
	if err := p.parseHead(); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, p.corrupt("event", 0, errors.New("no replaced record is readable"))
	}
	p.began = true
	if err := p.replay.next(p.out.from, found); err != nil {
		return nil, p.corrupt("event", p.out.from, err)
	}
	if err := p.beginWhole(p.out.from); err != nil {
		return nil, p.corrupt("event", p.out.from, err)
	}
	p.out.head = record.Head{Created: p.out.newest.Created}
	for _, k := range slices.Backward(older) {
		p.out.keys = appendKey(p.out.keys, k)
	}
	p.follow(p.out.from, &p.replay.env, found)
	p.out.seq = p.out.from
	if err := p.readOn(ctx); err != nil {
		return nil, err
	}
	return p.checkDigest()
}
