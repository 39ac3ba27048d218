package savepoint

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// rebuiltState is a machine's state at one point, made from what the engine has.
type rebuiltState struct {
	stored engine.Head // as the engine has it; Number 0 = no such machine
	newest record.Head // the same, parsed

	seq  uint64
	pos  uint64
	head record.Head // at seq
	keys []knownKey

	st     any
	enc    []byte // an encoded state at encSeq, and the records since
	encSeq uint64
	tail   tail

	source   string // where the state began: "snapshot", "new" or "replaced"
	from     uint64 // its seq
	replayed int
}

// attempt makes attempts, one after another.
type attempt struct {
	db      *DB
	kind    *kind
	key, id string
	to      uint64
	limit   int // records replayed at the most; 0 = no limit

	assumedSeq uint64 // the head is damaged, and the newest item found is this one

	out         *rebuiltState
	replay      replay
	chain       record.Chain
	began       bool
	chained     bool   // the digest is known from the beginning on
	whole       uint64 // the record that the replay begins at, where it is not the snapshot
	skipToWhole bool   // look for such a record: what is before it cannot be read

	snap    record.Snapshot
	hasSnap bool
	older   bool // the snapshot is of an older version: what is behind it has to be known first
	tail    tail
	stored  engine.Head
	damage  error // of the head
	failed  error // why the replay went no further
}

// attemptPool keep their room between rebuilds.
var attemptPool = sync.Pool{New: func() any { return new(attempt) }}

// newAttempt begins a rebuild. It ends with free.
func (db *DB) newAttempt(k *kind, id string, to uint64) *attempt {
	p := attemptPool.Get().(*attempt)
	p.db, p.kind, p.key, p.id, p.to = db, k, keyOf(k.name, id), id, to
	return p
}

// start begins an attempt.
func (p *attempt) start(source string) {
	*p = attempt{db: p.db, kind: p.kind, key: p.key, id: p.id, to: p.to, limit: p.limit, assumedSeq: p.assumedSeq, skipToWhole: p.skipToWhole,
		chain: p.chain, tail: p.tail, replay: replay{kind: p.kind, id: p.id, events: p.replay.events}}
	p.out = &rebuiltState{source: source}
}

// free gives the room back. What the attempts made is not part of it.
func (p *attempt) free() {
	*p = attempt{chain: p.chain, tail: p.tail, replay: replay{events: p.replay.events}}
	if p.tail.reset(); p.tail.size() > maxTail {
		p.tail = tail{}
	}
	attemptPool.Put(p)
}

func (p *attempt) corrupt(part string, seq uint64, why error) error {
	return corrupt(p.kind, p.id, part, seq, why)
}

// corrupt says what is wrong with a stored value; what a newer program wrote is
// not damaged.
func corrupt(k *kind, id, part string, seq uint64, why error) error {
	if isProgramError(why) && !errors.Is(why, ErrNewer) {
		return why
	}
	if errors.Is(why, ErrNewer) || errors.Is(why, record.ErrNewer) {
		return fmt.Errorf("%w: %s %d of %s %q: %w", ErrNewer, part, seq, k.name, id, why)
	}
	return &CorruptError{Kind: k.name, ID: id, Part: part, Seq: seq, Why: why}
}

// beginAt takes the snapshot to begin at.
func (p *attempt) beginAt(it *engine.Item) error {
	p.out.from, p.began = it.Seq, true
	err := it.Err
	if err == nil {
		err = p.snap.Parse(it.Bytes, p.key)
	}
	if err == nil && (p.snap.Kind != p.kind.name || p.snap.ID != p.id || p.snap.Seq != it.Seq) {
		err = fmt.Errorf("it is the snapshot %d of %s %q", p.snap.Seq, p.snap.Kind, p.snap.ID)
	}
	if err != nil {
		return p.corrupt("snapshot", it.Seq, err)
	}
	p.hasSnap = true
	p.out.enc = append([]byte(nil), p.snap.State...)
	p.snap.State = nil
	p.setHead(&p.snap)
	p.chain.Begin(p.snap.Digest)
	p.chained = true
	for _, key := range p.snap.Keys {
		p.out.keys = appendKey(p.out.keys, knownKey{Key: key})
	}
	if p.older = p.skipToWhole || p.kind.upcasts(p.snap.Version); p.older {
		return nil
	}
	return p.beginSnapshot()
}

// beginSnapshot starts the replay at the snapshot's state.
func (p *attempt) beginSnapshot() (err error) {
	s := &p.snap
	if p.out.enc, err = p.replay.upcasterFor().state(s.Seq, s.Version, p.out.enc); err == nil {
		err = p.replay.begin(s.Seq, p.out.enc)
	}
	if err != nil {
		return p.corrupt("snapshot", s.Seq, err)
	}
	p.out.st, p.out.encSeq = p.replay.st, s.Seq
	return nil
}

// readOn reads what follows on the record that the attempt has come to.
func (p *attempt) readOn(ctx context.Context) error {
	if p.out.seq >= p.lastSeq() {
		return nil
	}
	stored := p.stored // of the first look: the machine may have gone on
	if err := p.replayFrom(ctx, engine.LoadRange{Events: true, After: p.out.seq, To: p.lastSeq()}); err != nil {
		return err
	}
	p.stored = stored
	return p.failed
}

// beginWhole makes the state that the replay has just taken from record seq the
// one that the records since follow.
func (p *attempt) beginWhole(seq uint64) error {
	e := &p.replay.env
	enc, err := p.replay.upcasterFor().state(seq, e.Version, e.Payload)
	if err != nil {
		return err
	}
	p.out.st, p.out.encSeq = p.replay.st, seq
	p.out.enc = append([]byte(nil), enc...)
	p.tail.reset()
	return nil
}

// replayFrom brings the state forward by what is read. The engine lends its items, so
// they are decoded and applied as they come; each record is copied once, for
// the tail.
func (p *attempt) replayFrom(ctx context.Context, want engine.LoadRange) error {
	p.tail.reset()
	head, err := p.db.eng.Load(ctx, p.key, want, func(it engine.Item) error {
		if it.Part == engine.PartSnapshot {
			p.failed = p.beginAt(&it)
		} else {
			p.failed = p.takeRecord(&it)
		}
		if p.failed != nil || p.older {
			return engine.Stop
		}
		return nil
	})
	if errors.Is(err, engine.ErrDamaged) {
		p.damage, err = err, nil
	}
	p.stored, p.out.tail = head, p.tail.clone()
	return err
}

// takeRecord brings the state forward by one record.
func (p *attempt) takeRecord(it *engine.Item) error {
	out := p.out
	switch {
	case out.st == nil && p.whole == 0 || max(it.Seq, it.Last) <= out.seq: // nothing to begin at, or the snapshot holds it
		return nil
	case it.Err != nil:
		return p.corrupt("event", it.Seq, it.Err)
	case it.Seq != out.seq+1:
		return p.corrupt("event", out.seq+1, &GapError{From: out.seq + 1, To: it.Seq - 1, Why: errNotThere})
	case p.limit > 0 && out.replayed >= p.limit:
		return fmt.Errorf("%s %q: more than %d records would have to be replayed: raise the limit or take a snapshot", p.kind.name, p.id, p.limit)
	}
	b, err := it.Bytes, error(nil)
	if it.Seq < p.whole {
		err = p.replay.pass(it.Seq, b)
	} else {
		b = p.tail.add(b)
		err = p.replay.next(it.Seq, b)
	}
	if err == nil && it.Seq == p.whole {
		err = p.beginWhole(it.Seq)
	}
	if err != nil {
		return p.corrupt("event", it.Seq, err)
	}
	out.seq, out.pos = it.Seq, it.Pos
	p.follow(it.Seq, &p.replay.env, b)
	if it.Seq <= p.whole {
		return nil
	}
	out.st = p.replay.st
	out.replayed++
	if len(p.tail.bytes) > maxTail {
		return p.shorten()
	}
	return nil
}

// maxTail is how many bytes of records a rebuild keeps at the most.
const maxTail = 1 << 20

// shorten puts an encoded state in the place of the tail.
func (p *attempt) shorten() error {
	enc, err := p.kind.encode(p.kind.value(p.out.st))
	if err != nil {
		return p.corrupt("state", p.out.seq, err)
	}
	p.out.enc, p.out.encSeq = enc, p.out.seq
	p.tail.reset()
	return nil
}

// parseHead parses the machine's head.
func (p *attempt) parseHead() error {
	if p.damage != nil && p.assumedSeq > 0 && !errors.Is(p.damage, record.ErrNewer) {
		p.stored = engine.Head{Seq: p.assumedSeq}
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

// lastSeq is the seq the attempt has to reach.
func (p *attempt) lastSeq() uint64 { return min(p.to, p.stored.Seq) }

// setHead starts the point's head at a snapshot.
func (p *attempt) setHead(s *record.Snapshot) {
	p.out.seq = s.Seq
	p.out.head = record.Head{Deleted: s.Deleted, Version: s.Version, Phase: s.Phase, Created: s.Created, Updated: s.Updated,
		Bytes: s.Bytes, Digest: s.Digest, Revision: s.Revision, RevisionName: s.RevisionName, Mark: s.Mark, Snapshot: s.Seq, SnapshotTime: s.Time}
}

// follow brings the point's head forward by one record.
func (p *attempt) follow(seq uint64, e *record.Envelope, b []byte) {
	h := &p.out.head
	h.Updated, h.Phase, h.Version = e.Time, e.To, e.Version
	h.Bytes += uint64(len(b))
	if p.chained {
		h.Digest = p.chain.Next(b)
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
		p.out.keys = appendKey(p.out.keys, keyedBy(seq, e))
	}
}

// keyedBy is the key that a record carries.
func keyedBy(seq uint64, e *record.Envelope) knownKey {
	return knownKey{Key: record.Key{Name: e.Key, Sum: e.KeySum, Seq: seq, Version: e.Version, Phase: e.To, Time: e.Time}}
}

// checkDigest checks that the attempt reached the point, with the right records and
// a valid state.
func (p *attempt) checkDigest() (*rebuiltState, error) {
	out := p.out
	end := p.lastSeq()
	if out.seq != end {
		return nil, p.corrupt("event", out.seq+1, &GapError{From: out.seq + 1, To: end, Why: errNotThere})
	}
	if end == p.stored.Seq && p.assumedSeq == 0 {
		if sum := p.chain.At(); p.chained && sum != out.newest.Digest {
			return nil, p.corrupt("chain", end, fmt.Errorf("the digest of the records is %x, the head says %x", sum, out.newest.Digest))
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
			if p.kind.upcasts(out.head.Version) {
				return nil, p.replay.upcasterFor().failed(out.seq, out.head.Version, "", err)
			}
			return nil, p.corrupt("state", out.seq, err)
		}
	}
	return out, nil
}
