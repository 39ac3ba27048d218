package savepoint

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// Point is a moment of a machine. The zero Point is Latest.
type Point struct {
	what pointKind
	seq  uint64
	at   time.Time
	name string
}

type pointKind uint8

const (
	pointLatest pointKind = iota
	pointSeq
	pointTime
	pointSnapshot
	pointBeforeError
	pointRevision
	pointRevisionName
)

// Latest is the newest record.
func Latest() Point { return Point{} }

// AtSeq is right after record seq; 0 is the state before the first one.
func AtSeq(seq uint64) Point { return Point{what: pointSeq, seq: seq} }

// AtTime is after the last record, by seq, whose time is not later than t.
func AtTime(t time.Time) Point { return Point{what: pointTime, at: t} }

// AtSnapshot is the kept snapshot of record seq.
func AtSnapshot(seq uint64) Point { return Point{what: pointSnapshot, seq: seq} }

// BeforeError is right before the record that the newest error mark is about.
func BeforeError() Point { return Point{what: pointBeforeError} }

// AtRevision is a saved state of the versioned strategy.
func AtRevision(n uint64) Point { return Point{what: pointRevision, seq: n} }

// AtRevisionName is the newest saved state of the versioned strategy with a name.
func AtRevisionName(name string) Point { return Point{what: pointRevisionName, name: name} }

func (p Point) String() string {
	switch p.what {
	case pointSeq:
		return fmt.Sprintf("seq %d", p.seq)
	case pointTime:
		return "time " + p.at.UTC().Format(time.RFC3339Nano)
	case pointSnapshot:
		return fmt.Sprintf("snapshot %d", p.seq)
	case pointBeforeError:
		return "before the error"
	case pointRevision:
		return fmt.Sprintf("revision %d", p.seq)
	case pointRevisionName:
		return fmt.Sprintf("revision %q", p.name)
	}
	return "latest"
}

func noPoint(k *kind, id string, p Point, why string) error {
	return fmt.Errorf("%w: %s of %s %q: %s", ErrNoPoint, p, k.name, id, why)
}

// resolve finds the seq of a point in the engine.
func (db *DB) resolve(ctx context.Context, k *kind, id string, p Point) (uint64, error) {
	key := keyOf(k.name, id)
	head, err := db.eng.Load(ctx, key, engine.LoadRange{}, nil)
	if err != nil {
		return 0, db.wrapEngineError(k, id, err)
	}
	if head.Number == 0 {
		return 0, notFoundError(newMachine(k, id))
	}
	var h record.Head
	if err := h.Parse(head.Bytes, key); err != nil {
		return 0, corrupt(k, id, "head", head.Seq, err)
	}
	seq := head.Seq
	switch p.what {
	case pointLatest:
		return seq, nil
	case pointSeq:
		seq = p.seq
	case pointTime:
		if seq, err = db.seqAt(ctx, k, id, &h, head.Seq, p); err != nil {
			return 0, err
		}
	case pointSnapshot:
		seq = p.seq
		if err := db.hasSnapshot(ctx, k, id, p); err != nil {
			return 0, err
		}
	case pointBeforeError:
		if h.Mark == 0 {
			return 0, noPoint(k, id, p, "no record has an error mark")
		}
		seq = h.Mark - 1
	case pointRevision, pointRevisionName:
		if seq, err = db.seqOfRevision(ctx, k, id, &h, p); err != nil {
			return 0, err
		}
	}
	if seq > head.Seq {
		return 0, noPoint(k, id, p, fmt.Sprintf("the machine is at %d", head.Seq))
	}
	for _, g := range h.Gaps {
		if seq >= g.From && seq <= g.To {
			return 0, fmt.Errorf("%w: %s of %s %q: %w", ErrNoPoint, p, k.name, id, &GapError{From: g.From, To: g.To})
		}
	}
	return seq, nil
}

// seqAt walks back from the newest record, top, to one that is not later. Where
// records right behind that one are lost, nobody knows whether the point lies
// among them: that is an error, not an older state.
func (db *DB) seqAt(ctx context.Context, k *kind, id string, h *record.Head, top uint64, p Point) (uint64, error) {
	limit, found, seq := micros(p.at), false, uint64(0)
	if !k.strategy.keepsEvents() {
		return db.snapshotAt(ctx, k, id, top, p)
	}
	known := top + 1 // the records from here on are later than the point, or stand between such
	var env record.Envelope
	_, err := db.eng.Load(ctx, keyOf(k.name, id), engine.LoadRange{Events: true, To: engine.All, Newest: true}, func(it engine.Item) error {
		if it.Err != nil {
			return nil
		}
		if err := env.Parse(it.Bytes, &env); err != nil {
			return nil
		}
		if env.Time <= limit {
			found, seq = true, it.Seq
			return engine.Stop
		}
		known = it.Seq
		return ctx.Err()
	})
	if err == nil {
		err = lostPointError(k, id, h, p, max(seq, h.Base)+1, known-1)
	}
	switch {
	case err != nil:
		return 0, db.wrapEngineError(k, id, err)
	case found && seq < h.Base && known > seq+1:
		return 0, fmt.Errorf("%w: %s of %s %q: the log begins at %d", ErrCompacted, p, k.name, id, h.Base)
	case found:
		return seq, nil
	case h.Base == 0:
		return 0, nil
	}
	return db.baseAt(ctx, k, id, h, p)
}

// baseAt is seqAt where all records are later: the point is the base of the log,
// or before it.
func (db *DB) baseAt(ctx context.Context, k *kind, id string, h *record.Head, p Point) (uint64, error) {
	key, there := keyOf(k.name, id), false
	_, err := db.eng.Load(ctx, key, engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: h.Base}, func(it engine.Item) error {
		var s record.Snapshot
		there = it.Err == nil && s.Parse(it.Bytes, key) == nil && s.Seq == h.Base && s.Updated <= micros(p.at)
		return nil
	})
	if err != nil {
		return 0, db.wrapEngineError(k, id, err)
	}
	if !there {
		return 0, fmt.Errorf("%w: %s of %s %q: the log begins at %d", ErrCompacted, p, k.name, id, h.Base)
	}
	return h.Base, nil
}

// lostPointError says that a point may lie among the lost records from to to.
func lostPointError(k *kind, id string, h *record.Head, p Point, from, to uint64) error {
	if from > to {
		return nil
	}
	for _, g := range h.Gaps {
		if from >= g.From && from <= g.To {
			return fmt.Errorf("%w: %s of %s %q: %w", ErrNoPoint, p, k.name, id, &GapError{From: g.From, To: g.To})
		}
	}
	return &CorruptError{Kind: k.name, ID: id, Part: "event", Seq: from, Why: &GapError{From: from, To: to, Why: errNotThere}}
}

// snapshotAt is seqAt where only snapshots are kept: the newest write not later
// than the time has to be a kept one.
func (db *DB) snapshotAt(ctx context.Context, k *kind, id string, top uint64, p Point) (uint64, error) {
	limit, key := micros(p.at), keyOf(k.name, id)
	seq, after := uint64(0), top+1 // the states from after on are later
	var damage error               // of a snapshot right behind seq
	_, err := db.eng.Load(ctx, key, engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Newest: true}, func(it engine.Item) error {
		var s record.Snapshot
		err := it.Err
		if err == nil {
			err = s.Parse(it.Bytes, key)
		}
		switch {
		case err != nil:
			damage = &CorruptError{Kind: k.name, ID: id, Part: "snapshot", Seq: it.Seq, Why: err}
		case s.Updated <= limit:
			seq = it.Seq
			return engine.Stop
		default:
			after, damage = it.Seq, nil
		}
		return nil
	})
	if err == nil {
		err = damage
	}
	switch {
	case err != nil:
		return 0, db.wrapEngineError(k, id, err)
	case seq == 0:
		return 0, noPoint(k, id, p, "no snapshot is so old")
	case after > seq+1:
		return 0, noPoint(k, id, p, fmt.Sprintf("the states between %d and %d were not kept", seq, after))
	}
	return seq, nil
}

func (db *DB) hasSnapshot(ctx context.Context, k *kind, id string, p Point) error {
	found := false
	_, err := db.eng.Load(ctx, keyOf(k.name, id), engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: p.seq}, func(it engine.Item) error {
		found = it.Seq == p.seq
		return nil
	})
	if err != nil {
		return db.wrapEngineError(k, id, err)
	}
	if !found {
		return noPoint(k, id, p, "it is not kept")
	}
	return nil
}

// seqOfRevision walks back to the record, or the snapshot, of a revision.
func (db *DB) seqOfRevision(ctx context.Context, k *kind, id string, h *record.Head, p Point) (uint64, error) {
	if p.what == pointRevision && (p.seq == 0 || p.seq > h.Revision) {
		return 0, noPoint(k, id, p, fmt.Sprintf("the newest revision is %d", h.Revision))
	}
	var env record.Envelope
	var seq uint64
	_, err := db.eng.Load(ctx, keyOf(k.name, id), engine.LoadRange{Events: true, To: engine.All, Newest: true}, func(it engine.Item) error {
		if it.Err == nil && env.Parse(it.Bytes, &env) == nil && p.isRevision(&env) {
			seq = it.Seq
			return engine.Stop
		}
		return ctx.Err()
	})
	if err != nil {
		return 0, db.wrapEngineError(k, id, err)
	}
	if seq == 0 && h.Base > 0 {
		return 0, fmt.Errorf("%w: %s of %s %q: the log begins at %d", ErrCompacted, p, k.name, id, h.Base)
	}
	if seq == 0 {
		return 0, noPoint(k, id, p, "its record is not there")
	}
	return seq, nil
}

// isRevision says whether a record is the revision that the point names.
func (p Point) isRevision(e *record.Envelope) bool {
	switch {
	case e.Revision == 0:
		return false
	case p.what == pointRevision:
		return e.Revision == p.seq
	case e.RevisionName == "":
		return strconv.FormatUint(e.Revision, 10) == p.name
	}
	return e.RevisionName == p.name
}

// At gives the machine as it was at a point. It shows what was written before
// the call, and takes no lock while it reads. A point that the machine does not
// have answers ErrNoPoint, one before the base of its log ErrCompacted.
func (s *Store[S]) At(ctx context.Context, id string, p Point) (State[S], error) {
	start := time.Now()
	st, err := s.at(ctx, id, p)
	s.db.metrics.read(opAt, start, err)
	if err != nil {
		return State[S]{}, fmt.Errorf("%s %.60q at %s: %w", s.kind.name, id, p, err)
	}
	return st, nil
}

func (s *Store[S]) at(ctx context.Context, id string, p Point) (State[S], error) {
	if _, err := s.db.awaitDurable(ctx, s.kind, id); err != nil {
		return State[S]{}, err
	}
	r, err := s.db.reach(ctx, s.kind, id, p)
	if err != nil {
		return State[S]{}, err
	}
	st := *r.st.(*State[S])
	if st.Head = publicHead(s.kind, id, r.seq, &r.head); st.Upcast {
		s.kind.setUpcastPhase(&st.Head, &st.Value)
	}
	if st.Pos = r.pos; st.Pos == 0 && r.seq > 0 { // a snapshot does not tell it
		if st.Pos, err = s.db.posOf(ctx, s.kind, id, r.seq); err != nil {
			return State[S]{}, err
		}
	}
	if r.head.Deleted {
		return State[S]{}, fmt.Errorf("%w: at this point", ErrDeleted)
	}
	return st, nil
}

// posOf is the pos of a record, 0 if it is not there or damaged.
func (db *DB) posOf(ctx context.Context, k *kind, id string, seq uint64) (pos uint64, err error) {
	_, err = db.eng.Load(ctx, keyOf(k.name, id), engine.LoadRange{Events: true, After: seq - 1, To: seq}, func(it engine.Item) error {
		if it.Seq == seq {
			pos = it.Pos
		}
		return nil
	})
	return pos, err
}

// reach is the machine at a point.
func (db *DB) reach(ctx context.Context, k *kind, id string, p Point) (r *rebuiltState, err error) {
	for n := 1; ; n++ {
		if r, err = db.reachOnce(ctx, k, id, p); !errors.Is(err, engine.ErrChanged) || n >= maxAttempts {
			return r, err
		}
	}
}

func (db *DB) reachOnce(ctx context.Context, k *kind, id string, p Point) (*rebuiltState, error) {
	seq := engine.All // not what resolve says: the machine may go on meanwhile
	if p.what != pointLatest {
		var err error
		if seq, err = db.resolve(ctx, k, id, p); err != nil {
			return nil, err
		}
	}
	r, _, _, err := db.rebuild(ctx, k, id, seq, 0)
	if err != nil {
		if unkept := db.unkept(ctx, k, id, seq, p, err); unkept != nil {
			err = unkept
		}
		return nil, err
	}
	if r.stored.Number == 0 {
		return nil, notFoundError(newMachine(k, id))
	}
	return r, nil
}

// unkept says that a point that could not be rebuilt is no damage: what it needs
// is not kept.
func (db *DB) unkept(ctx context.Context, k *kind, id string, seq uint64, p Point, err error) error {
	if err == nil || p.what == pointLatest || !rebuildable(err) {
		return nil
	}
	h := db.newestHead(ctx, k, id)
	if h == nil || seq >= h.Base {
		return nil
	}
	if !k.strategy.keepsEvents() {
		return noPoint(k, id, p, "only kept snapshots can be shown under snapshot-only, and it is not one")
	}
	return fmt.Errorf("%w: %s of %s %q: the log begins at %d", ErrCompacted, p, k.name, id, h.Base)
}

// newestHead is the machine's head as the engine has it, or nil.
func (db *DB) newestHead(ctx context.Context, k *kind, id string) *record.Head {
	key := keyOf(k.name, id)
	head, err := db.eng.Load(ctx, key, engine.LoadRange{}, nil)
	var h record.Head
	if err != nil || head.Number == 0 || h.Parse(head.Bytes, key) != nil {
		return nil
	}
	return &h
}
