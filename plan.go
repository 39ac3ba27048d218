package savepoint

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// rebuilt is a machine's state at one point, made from what the engine has.
type rebuilt struct {
	stored engine.Head // as the engine has it; Number 0 = no such machine
	newest record.Head // the same, parsed

	seq  uint64
	pos  uint64
	head record.Head // at seq
	keys []keyed

	st        any
	enc       []byte // an encoded state at encSeq, and the records since
	encSeq    uint64
	tail      [][]byte
	tailBytes int

	source   string // where the state began: "snapshot", "new" or "replaced"
	from     uint64 // its seq
	replayed int
}

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

// chunk bounds what one look at the engine copies.
const (
	chunkItems = 1024
	chunkBytes = 1 << 20
)

// rebuild is the one planner for every point: it brings the state to record to
// (engine.All = the newest). It begins at the newest good snapshot at or before
// the point; where that does not lead there it goes down the ladder: older
// snapshots, then the newest replaced record behind the damage. It never skips
// a record in silence. best is the furthest good state of all attempts.
func (db *DB) rebuild(ctx context.Context, k *kind, id string, to uint64, limit int) (r, best *rebuilt, tried []Attempt, err error) {
	snapTo := to
	var first error
	for {
		p := &planner{db: db, kind: k, key: keyOf(k.name, id), id: id, to: to, limit: limit}
		r, err = p.fromSnapshot(ctx, snapTo)
		if err == nil || !rebuildable(err) {
			return r, r, tried, err
		}
		best = further(best, p.out)
		tried = append(tried, p.attempt(err))
		if first == nil {
			first = err
		}
		if !p.began || p.out.from == 0 {
			break
		}
		snapTo = p.out.from - 1
	}
	p := &planner{db: db, kind: k, key: keyOf(k.name, id), id: id, to: to, limit: limit}
	r, replacedErr := p.fromReplaced(ctx)
	if replacedErr == nil {
		return r, r, tried, nil
	}
	if p.began {
		best = further(best, p.out)
		tried = append(tried, p.attempt(replacedErr))
	}
	return nil, best, tried, first
}

func (p *planner) attempt(err error) Attempt {
	return Attempt{Source: p.out.source, From: p.out.from, Good: p.out.seq, Err: err.Error()}
}

func further(a, b *rebuilt) *rebuilt {
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

// planner is one attempt.
type planner struct {
	db      *DB
	kind    *kind
	key, id string
	to      uint64
	limit   int // records replayed at the most; 0 = no limit

	headless uint64 // the head is damaged, and the newest item found is this one

	out     *rebuilt
	replay  replay
	digest  record.Digest
	began   bool
	chained bool   // the digest is known from the beginning on
	whole   uint64 // the record that the replay begins at, where it is not the snapshot

	snap    record.Snapshot
	hasSnap bool
	arena   []byte
	items   []place
	stored  engine.Head
	damage  error // of the head
	halt    error // an item that cannot be passed
	haltSeq uint64
}

// place is one copied record in the arena.
type place struct {
	seq, pos uint64
	from, to int
}

func (p *planner) corrupt(part string, seq uint64, why error) error {
	return corrupt(p.kind, p.id, part, seq, why)
}

// corrupt says what is wrong with a stored value; what a newer program wrote is
// not damaged.
func corrupt(k *kind, id, part string, seq uint64, why error) error {
	if unreadable(why) && !errors.Is(why, ErrNewer) {
		return why
	}
	if errors.Is(why, ErrNewer) || errors.Is(why, record.ErrNewer) {
		return fmt.Errorf("%w: %s %d of %s %q: %w", ErrNewer, part, seq, k.name, id, why)
	}
	return &CorruptError{Kind: k.name, ID: id, Part: part, Seq: seq, Why: why}
}

// fromSnapshot begins at the newest snapshot at or before snapTo, or, where
// there is none, at nothing.
func (p *planner) fromSnapshot(ctx context.Context, snapTo uint64) (*rebuilt, error) {
	p.out = &rebuilt{source: "snapshot"}
	want := engine.Want{Snapshot: engine.NewestSnapshot, SnapshotTo: snapTo, Events: true, To: p.to}
	var snapErr error
	more, err := p.look(ctx, want, func(it engine.Item) {
		p.out.from = it.Seq
		p.began = true
		snapErr = it.Err
		if snapErr == nil {
			snapErr = p.snap.Parse(it.Bytes, p.key)
		}
		if snapErr == nil && (p.snap.Kind != p.kind.name || p.snap.ID != p.id || p.snap.Seq != it.Seq) {
			snapErr = fmt.Errorf("it is the snapshot %d of %s %q", p.snap.Seq, p.snap.Kind, p.snap.ID)
		}
		if snapErr == nil {
			p.hasSnap = true
			p.out.enc = append([]byte(nil), p.snap.State...)
			p.snap.State = nil
		}
	})
	if err != nil {
		return nil, err
	}
	p.out.stored = p.stored
	if p.stored.Number == 0 && p.damage == nil {
		return p.absent()
	}
	if err := p.newest(); err != nil {
		return nil, err
	}
	if snapErr != nil {
		return nil, p.corrupt("snapshot", p.out.from, snapErr)
	}
	if !p.hasSnap {
		p.out.source = "new"
		return nil, p.corrupt("snapshot", p.out.newest.Base, errors.New("no snapshot is left to begin at"))
	}
	p.head(&p.snap)
	p.digest, p.chained = p.snap.Digest, true
	for _, key := range p.snap.Keys {
		p.out.keys = appendKey(p.out.keys, keyed{Key: key})
	}
	if err := p.beginSnapshot(ctx); err != nil {
		return nil, err
	}
	return p.forward(ctx, more)
}

// beginSnapshot starts the replay at the snapshot's state. One of an older
// version is lifted, but never where a whole state stands between it and the
// point: what is before that is only proven, not applied.
func (p *planner) beginSnapshot(ctx context.Context) (err error) {
	s := &p.snap
	if p.kind.lifts(s.Version) {
		if p.whole, err = p.newestWhole(ctx); err != nil || p.whole > 0 {
			return err
		}
	}
	if p.out.enc, err = p.replay.lifter().state(s.Seq, s.Version, p.out.enc); err == nil {
		err = p.replay.begin(s.Seq, p.out.enc)
	}
	if err != nil {
		return p.corrupt("snapshot", s.Seq, err)
	}
	p.out.st, p.out.encSeq = p.replay.st, s.Seq
	return nil
}

// newestWhole is the newest record with a whole state between the snapshot and
// the point, 0 if there is none.
func (p *planner) newestWhole(ctx context.Context) (seq uint64, err error) {
	var env record.Envelope
	_, err = p.db.eng.Load(ctx, p.key, engine.Want{Events: true, After: p.snap.Seq, To: p.end(), Newest: true}, func(it engine.Item) error {
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
func (p *planner) fromReplaced(ctx context.Context) (*rebuilt, error) {
	p.out = &rebuilt{source: "replaced"}
	var found []byte
	var older []keyed // of the records before it, newest first
	var env record.Envelope
	head, err := p.db.eng.Load(ctx, p.key, engine.Want{Events: true, To: p.to, Newest: true}, func(it engine.Item) error {
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
	if err := p.newest(); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, p.corrupt("event", 0, errors.New("no replaced record is readable"))
	}
	p.began = true
	p.replay = replay{kind: p.kind, id: p.id}
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
	return p.forward(ctx, p.out.from < p.end())
}

// beginWhole makes the state that the replay has just taken from record seq the
// one that the records since follow.
func (p *planner) beginWhole(seq uint64) error {
	e := &p.replay.env
	enc, err := p.replay.lifter().state(seq, e.Version, e.Payload)
	if err != nil {
		return err
	}
	p.out.st, p.out.encSeq, p.out.tail, p.out.tailBytes = p.replay.st, seq, nil, 0
	p.out.enc = append([]byte(nil), enc...)
	return nil
}

// look copies one chunk; more says that the engine has further items. snapshot
// gets the snapshot, if one was asked for and found.
func (p *planner) look(ctx context.Context, want engine.Want, snapshot func(engine.Item)) (more bool, err error) {
	p.arena, p.items = nil, p.items[:0] // tails may keep the old arena
	head, err := p.db.eng.Load(ctx, p.key, want, func(it engine.Item) error {
		if it.Part == engine.PartSnapshot {
			snapshot(it)
			return nil
		}
		if it.Err != nil {
			p.halt, p.haltSeq = it.Err, it.Seq
			return engine.Stop
		}
		if len(p.items) >= chunkItems || len(p.arena) >= chunkBytes {
			more = true
			return engine.Stop
		}
		if p.arena == nil {
			p.arena = make([]byte, 0, 8<<10)
		}
		if cap(p.items) == 0 {
			p.items = make([]place, 0, 128)
		}
		at := len(p.arena)
		p.arena = append(p.arena, it.Bytes...)
		p.items = append(p.items, place{it.Seq, it.Pos, at, len(p.arena)})
		return nil
	})
	if errors.Is(err, engine.ErrDamaged) {
		p.damage, err = err, nil
	}
	p.stored = head
	return more, err
}

// newest parses the machine's head.
func (p *planner) newest() error {
	if p.damage != nil && p.headless > 0 && !errors.Is(p.damage, record.ErrNewer) {
		p.stored = engine.Head{Seq: p.headless}
		p.out.stored = p.stored
		return nil
	}
	if p.damage != nil {
		return p.corrupt("head", p.stored.Seq, p.damage)
	}
	if p.stored.Number == 0 {
		return fmt.Errorf("%w: %s %q", ErrNotFound, p.kind.name, p.id)
	}
	if err := p.out.newest.Parse(p.stored.Bytes, p.key); err != nil {
		return p.corrupt("head", p.stored.Seq, err)
	}
	return nil
}

// end is the seq the attempt has to reach.
func (p *planner) end() uint64 { return min(p.to, p.stored.Seq) }

// absent is the state of a machine that does not exist yet.
func (p *planner) absent() (*rebuilt, error) {
	enc, err := p.kind.first()
	if err != nil {
		return nil, err
	}
	p.replay = replay{kind: p.kind, id: p.id}
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

// head starts the point's head at a snapshot.
func (p *planner) head(s *record.Snapshot) {
	p.replay = replay{kind: p.kind, id: p.id}
	p.out.seq = s.Seq
	p.out.head = record.Head{Deleted: s.Deleted, Version: s.Version, Phase: s.Phase, Created: s.Created, Updated: s.Updated,
		Bytes: s.Bytes, Digest: s.Digest, Revision: s.Revision, Mark: s.Mark, Snapshot: s.Seq, SnapshotTime: s.Time}
}

// follow brings the point's head forward by one record.
func (p *planner) follow(seq uint64, e *record.Envelope, b []byte) {
	h := &p.out.head
	h.Updated, h.Phase, h.Version = e.Time, e.To, e.Version
	h.Bytes += uint64(len(b))
	if p.chained {
		p.digest = p.digest.Next(b)
		h.Digest = p.digest
	}
	switch e.Name {
	case deletedName:
		h.Deleted = true
	case replacedName:
		h.Deleted = false
	}
	if e.Revision != 0 {
		h.Revision = e.Revision
	}
	if e.Mark != 0 {
		h.Mark = e.Mark
	}
	if e.Key != "" {
		p.out.keys = appendKey(p.out.keys, keyedBy(seq, e))
	}
}

// keyedBy is the key that a record carries.
func keyedBy(seq uint64, e *record.Envelope) keyed {
	return keyed{Key: record.Key{Name: e.Key, Sum: e.KeySum, Seq: seq, Version: e.Version, Phase: e.To, Time: e.Time}}
}

// forward replays the copied records, and chunk after chunk of the others, up
// to the point, and proves the result.
func (p *planner) forward(ctx context.Context, more bool) (*rebuilt, error) {
	if p.out.from >= p.end() {
		p.items, more = nil, false
	}
	for {
		if err := p.apply(); err != nil {
			return nil, err
		}
		if !more || p.halt != nil {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		var err error
		stored := p.stored
		if more, err = p.look(ctx, engine.Want{Events: true, After: p.out.seq, To: p.end()}, nil); err != nil {
			return nil, err
		}
		p.stored = stored // of the first look: the machine may have gone on
	}
	return p.prove()
}

func (p *planner) apply() error {
	out := p.out
	for _, it := range p.items {
		if it.seq <= out.seq { // a snapshot already holds it
			continue
		}
		if it.seq > p.end() {
			break
		}
		if it.seq != out.seq+1 {
			return p.corrupt("event", out.seq+1, &GapError{From: out.seq + 1, To: it.seq - 1, Why: errors.New("the records are not there")})
		}
		if p.limit > 0 && out.replayed >= p.limit {
			return fmt.Errorf("%s %q: more than %d records would have to be replayed: raise the limit or take a snapshot", p.kind.name, p.id, p.limit)
		}
		b := p.arena[it.from:it.to:it.to]
		if it.seq < p.whole {
			if err := p.replay.pass(it.seq, b); err != nil {
				return p.corrupt("event", it.seq, err)
			}
			out.seq, out.pos = it.seq, it.pos
			p.follow(it.seq, &p.replay.env, b)
			continue
		}
		if err := p.replay.next(it.seq, b); err != nil {
			return p.corrupt("event", it.seq, err)
		}
		out.st, out.seq, out.pos = p.replay.st, it.seq, it.pos
		if it.seq == p.whole {
			if err := p.beginWhole(it.seq); err != nil {
				return p.corrupt("event", it.seq, err)
			}
			p.follow(it.seq, &p.replay.env, b)
			continue
		}
		out.replayed++
		p.follow(it.seq, &p.replay.env, b)
		out.tail = append(out.tail, b)
		out.tailBytes += len(b)
	}
	if out.tailBytes > chunkBytes {
		return p.shorten()
	}
	return nil
}

// shorten puts an encoded state in the place of the tail.
func (p *planner) shorten() error {
	enc, err := p.kind.encode(p.kind.value(p.out.st))
	if err != nil {
		return p.corrupt("state", p.out.seq, err)
	}
	p.out.enc, p.out.encSeq, p.out.tail, p.out.tailBytes = enc, p.out.seq, nil, 0
	return nil
}

// prove checks that the attempt reached the point, with the right records and
// a valid state.
func (p *planner) prove() (*rebuilt, error) {
	out := p.out
	end := p.end()
	if out.seq != end {
		if p.halt != nil {
			return nil, p.corrupt("event", p.haltSeq, p.halt)
		}
		return nil, p.corrupt("event", out.seq+1, &GapError{From: out.seq + 1, To: end, Why: errors.New("the records are not there")})
	}
	if end == p.stored.Seq && p.headless == 0 {
		if p.chained && p.digest != out.newest.Digest {
			return nil, p.corrupt("chain", end, fmt.Errorf("the digest of the records is %x, the head says %x", p.digest, out.newest.Digest))
		}
		created := out.head.Created
		out.head = out.newest
		if out.head.Created == 0 {
			out.head.Created = created
		}
		out.pos = p.stored.Pos
	} else {
		out.head.Base, out.head.Gaps = out.newest.Base, out.newest.Gaps
	}
	if !out.head.Deleted {
		if err := p.kind.valid(p.kind.value(out.st)); err != nil {
			err = fmt.Errorf("not valid: %w", err)
			if p.kind.lifts(out.head.Version) {
				return nil, p.replay.lifter().failed(out.seq, out.head.Version, "", err)
			}
			return nil, p.corrupt("state", out.seq, err)
		}
	}
	return out, nil
}
