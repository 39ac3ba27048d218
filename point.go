package savepoint

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
	"github.com/liap-tui/savepoint/report"
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

// Latest is the moment after the newest record.
func Latest() Point { return Point{} }

// AtSeq is the moment right after record seq. AtSeq(0) is before the first record.
func AtSeq(seq uint64) Point { return Point{what: pointSeq, seq: seq} }

// AtTime is the moment right after the last record, in the order of seq, whose
// time is not later than t. A clock that was set back changes nothing in this.
func AtTime(t time.Time) Point { return Point{what: pointTime, at: t} }

// AtSnapshot is the moment right after record seq, if a snapshot of it is kept;
// otherwise the point is ErrNoPoint.
func AtSnapshot(seq uint64) Point { return Point{what: pointSnapshot, seq: seq} }

// BeforeError is the moment right before the record that the newest error mark
// names: see [Store.Mark]. A partial recovery sets a mark too.
func BeforeError() Point { return Point{what: pointBeforeError} }

// AtRevision is the moment at which revision n of the versioned strategy was saved.
func AtRevision(n uint64) Point { return Point{what: pointRevision, seq: n} }

// AtRevisionName is the moment at which the newest revision with this name was
// saved under the versioned strategy.
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

// isRevision reports whether a record is the revision that the point names.
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

// At returns the state of a machine at a point, a value of the caller's own. It
// sees all writes that were made before the call, and holds no lock while it
// reads. The error matches ErrNoPoint if the machine never was at the point,
// ErrCompacted if the point is before the base of the log, and ErrDeleted if the
// machine was deleted at that moment.
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
	if st.Pos = r.pos; st.Pos == 0 && r.seq > 0 { // a snapshot does not hold it
		if st.Pos, err = s.db.posOf(ctx, s.kind, id, r.seq); err != nil {
			return State[S]{}, err
		}
	}
	if r.head.Deleted {
		return State[S]{}, fmt.Errorf("%w: at this point", ErrDeleted)
	}
	return st, nil
}

// posOf returns the pos of record seq, 0 if the record is not there or damaged.
func (db *DB) posOf(ctx context.Context, k *kind, id string, seq uint64) (pos uint64, err error) {
	_, err = db.eng.Load(ctx, keyOf(k.name, id), engine.LoadRange{Events: true, After: seq - 1, To: seq}, func(it engine.Item) error {
		if it.Seq == seq {
			pos = it.Pos
		}
		return nil
	})
	return pos, err
}

// reach returns the state of a machine at a point.
func (db *DB) reach(ctx context.Context, k *kind, id string, p Point) (*rebuiltState, error) {
	for n := 1; ; n++ {
		r, _, _, err := db.rebuildAt(ctx, k, id, p, 0)
		if !errors.Is(err, engine.ErrChanged) || n >= maxAttempts {
			return r, err
		}
	}
}

// rebuildAt returns the state of a machine at a point, with what [DB.rebuild]
// returns besides.
func (db *DB) rebuildAt(ctx context.Context, k *kind, id string, p Point, limit int) (state, best *rebuiltState, tried []report.Attempt, err error) {
	if p.what == pointLatest { // the rebuild finds the newest record itself: there may be more by then
		state, best, tried, err = db.rebuild(ctx, k, id, engine.All, limit)
	} else {
		r := &pointReader{db: db, kind: k, id: id, key: keyOf(k.name, id), point: p}
		var seq uint64
		if seq, err = r.resolve(ctx); err != nil {
			return nil, nil, nil, err
		}
		state, best, tried, err = db.rebuild(ctx, k, id, seq, limit)
		if notKept := r.notKept(ctx, seq, err); notKept != nil {
			return nil, nil, nil, notKept
		}
	}
	if err == nil && state.stored.Number == 0 {
		return nil, nil, nil, notFoundError(newMachine(k, id))
	}
	return state, best, tried, err
}

// resolvePoint returns the seq of the record right after which a point is.
func (db *DB) resolvePoint(ctx context.Context, k *kind, id string, p Point) (uint64, error) {
	r := &pointReader{db: db, kind: k, id: id, key: keyOf(k.name, id), point: p}
	return r.resolve(ctx)
}

// pointReader finds one point of a machine in the engine.
type pointReader struct {
	db      *DB
	kind    *kind
	id, key string
	point   Point

	top  uint64      // the machine's newest record
	head record.Head // at top
}

// notKept returns the error for a point that could not be rebuilt because what it
// needs was removed on purpose, nil if err is nil or about something else.
func (r *pointReader) notKept(ctx context.Context, seq uint64, err error) error {
	if err == nil || !rebuildable(err) {
		return nil
	}
	// The base may have moved since the point was resolved.
	if err := r.loadHead(ctx); err != nil || seq >= r.head.Base {
		return nil
	}
	if !r.kind.strategy.keepsEvents() {
		return r.noPoint("only kept snapshots can be shown under snapshot-only, and it is not one")
	}
	return r.compacted()
}

// loadHead reads the machine's head.
func (r *pointReader) loadHead(ctx context.Context) error {
	head, err := r.db.eng.Load(ctx, r.key, engine.LoadRange{}, nil)
	if err != nil {
		return r.db.wrapEngineError(r.kind, r.id, err)
	}
	if head.Number == 0 {
		return notFoundError(newMachine(r.kind, r.id))
	}
	r.top = head.Seq
	if err := r.head.Parse(head.Bytes, r.key); err != nil {
		return corrupt(r.kind, r.id, "head", head.Seq, err)
	}
	return nil
}

// resolve returns the seq of the record right after which the point is.
func (r *pointReader) resolve(ctx context.Context) (seq uint64, err error) {
	if err := r.loadHead(ctx); err != nil {
		return 0, err
	}
	switch p := r.point; p.what {
	case pointLatest:
		return r.top, nil
	case pointSeq:
		seq = p.seq
	case pointTime:
		seq, err = r.seqAtTime(ctx)
	case pointSnapshot:
		seq, err = p.seq, r.checkSnapshot(ctx)
	case pointBeforeError:
		if r.head.Mark == 0 {
			return 0, r.noPoint("no record has an error mark")
		}
		seq = r.head.Mark - 1
	case pointRevision, pointRevisionName:
		seq, err = r.seqOfRevision(ctx)
	}
	if err != nil {
		return 0, err
	}
	if seq > r.top {
		return 0, r.noPoint(fmt.Sprintf("the machine is at %d", r.top))
	}
	for _, g := range r.head.Gaps {
		if seq >= g.From && seq <= g.To {
			return 0, r.inGap(g)
		}
	}
	return seq, nil
}

// seqAtTime reads back from the newest record to the first one that is not later
// than the point. If records right after that one are lost, the point may be at
// one of them: then it returns an error, not an older state.
func (r *pointReader) seqAtTime(ctx context.Context) (uint64, error) {
	if !r.kind.strategy.keepsEvents() {
		return r.snapshotAtTime(ctx)
	}
	limit, found, seq := micros(r.point.at), false, uint64(0)
	later := r.top + 1 // the oldest readable record that is known to be later than the point
	var env record.Envelope
	_, err := r.db.eng.Load(ctx, r.key, engine.LoadRange{Events: true, To: engine.All, Newest: true}, func(it engine.Item) error {
		switch {
		case it.Err != nil || env.Parse(it.Bytes, &env) != nil:
			return nil
		case env.Time <= limit:
			found, seq = true, it.Seq
			return engine.Stop
		}
		later = it.Seq
		return ctx.Err()
	})
	if err == nil {
		err = r.lostBetween(max(seq, r.head.Base)+1, later-1)
	}
	switch {
	case err != nil:
		return 0, r.db.wrapEngineError(r.kind, r.id, err)
	case found && seq < r.head.Base && later > seq+1:
		return 0, r.compacted()
	case found:
		return seq, nil
	case r.head.Base == 0:
		return 0, nil
	}
	return r.baseAtTime(ctx)
}

// baseAtTime is the part of seqAtTime for a point before all records: the point is
// the base of the log, or before it.
func (r *pointReader) baseAtTime(ctx context.Context) (uint64, error) {
	base, notLater := r.head.Base, false
	_, err := r.db.eng.Load(ctx, r.key, engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: base}, func(it engine.Item) error {
		var s record.Snapshot
		notLater = it.Err == nil && s.Parse(it.Bytes, r.key) == nil && s.Seq == base && s.Updated <= micros(r.point.at)
		return nil
	})
	if err != nil {
		return 0, r.db.wrapEngineError(r.kind, r.id, err)
	}
	if !notLater {
		return 0, r.compacted()
	}
	return base, nil
}

// lostBetween returns the error for a point that may be at one of the lost records
// from to to, nil if there are none.
func (r *pointReader) lostBetween(from, to uint64) error {
	if from > to {
		return nil
	}
	for _, g := range r.head.Gaps {
		if from >= g.From && from <= g.To {
			return r.inGap(g)
		}
	}
	return &CorruptError{Kind: r.kind.name, ID: r.id, Part: "event", Seq: from, Why: &GapError{From: from, To: to, Why: errNotThere}}
}

// snapshotAtTime is seqAtTime where only snapshots are kept. The newest write that
// is not later than the point must be a kept snapshot.
func (r *pointReader) snapshotAtTime(ctx context.Context) (uint64, error) {
	limit := micros(r.point.at)
	seq, later := uint64(0), r.top+1 // the oldest seq whose state is known to be later
	var damage error                 // of a snapshot between seq and later
	_, err := r.db.eng.Load(ctx, r.key, engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Newest: true}, func(it engine.Item) error {
		var s record.Snapshot
		err := it.Err
		if err == nil {
			err = s.Parse(it.Bytes, r.key)
		}
		switch {
		case err != nil:
			damage = &CorruptError{Kind: r.kind.name, ID: r.id, Part: "snapshot", Seq: it.Seq, Why: err}
		case s.Updated <= limit:
			seq = it.Seq
			return engine.Stop
		default:
			later, damage = it.Seq, nil
		}
		return nil
	})
	if err == nil {
		err = damage
	}
	switch {
	case err != nil:
		return 0, r.db.wrapEngineError(r.kind, r.id, err)
	case seq == 0:
		return 0, r.noPoint("all kept snapshots are later")
	case later > seq+1:
		return 0, r.noPoint(fmt.Sprintf("the states between %d and %d were not kept", seq, later))
	}
	return seq, nil
}

// checkSnapshot returns an error unless the snapshot that the point names is kept.
func (r *pointReader) checkSnapshot(ctx context.Context) error {
	found := false
	_, err := r.db.eng.Load(ctx, r.key, engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: r.point.seq}, func(it engine.Item) error {
		found = it.Seq == r.point.seq
		return nil
	})
	if err != nil {
		return r.db.wrapEngineError(r.kind, r.id, err)
	}
	if !found {
		return r.noPoint("it is not kept")
	}
	return nil
}

// seqOfRevision reads back to the record of a revision.
func (r *pointReader) seqOfRevision(ctx context.Context) (uint64, error) {
	if p := r.point; p.what == pointRevision && (p.seq == 0 || p.seq > r.head.Revision) {
		return 0, r.noPoint(fmt.Sprintf("the newest revision is %d", r.head.Revision))
	}
	var env record.Envelope
	var seq uint64
	_, err := r.db.eng.Load(ctx, r.key, engine.LoadRange{Events: true, To: engine.All, Newest: true}, func(it engine.Item) error {
		if it.Err == nil && env.Parse(it.Bytes, &env) == nil && r.point.isRevision(&env) {
			seq = it.Seq
			return engine.Stop
		}
		return ctx.Err()
	})
	switch {
	case err != nil:
		return 0, r.db.wrapEngineError(r.kind, r.id, err)
	case seq == 0 && r.head.Base > 0:
		return 0, r.compacted()
	case seq == 0:
		return 0, r.noPoint("its record is not there")
	}
	return seq, nil
}

func (r *pointReader) noPoint(why string) error {
	return fmt.Errorf("%w: %s of %s %q: %s", ErrNoPoint, r.point, r.kind.name, r.id, why)
}

func (r *pointReader) inGap(g record.Gap) error {
	return fmt.Errorf("%w: %s of %s %q: %w", ErrNoPoint, r.point, r.kind.name, r.id, &GapError{From: g.From, To: g.To})
}

func (r *pointReader) compacted() error {
	return fmt.Errorf("%w: %s of %s %q: the log starts after record %d", ErrCompacted, r.point, r.kind.name, r.id, r.head.Base)
}
