package savepoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
	"github.com/liap-tui/savepoint/report"
)

// rebuildTarget says which state is to be rebuilt, and within which limits.
type rebuildTarget struct {
	kind       *kind
	id         string
	to         uint64 // the record right after which the state is wanted; engine.All = the newest
	limit      int    // how many records may be replayed; 0 = no limit
	assumedSeq uint64 // taken as the machine's seq where its head is damaged; 0 = a damaged head is an error
}

// rebuiltState is a machine's state at one point, made from what is stored.
type rebuiltState struct {
	stored engine.Head // as the engine returned it; Number 0 = there is no such machine
	newest record.Head // parsed from stored

	seq  uint64
	pos  uint64
	head record.Head // at seq
	keys []knownKey

	st     any    // *State[S]; nil until there is a state to start at
	enc    []byte // the encoded state at encSeq
	encSeq uint64
	tail   tail // the records after encSeq

	source   string // where the replay started: "snapshot", "new" or "replaced"
	from     uint64 // the seq of that snapshot or record
	replayed int    // records
}

// rebuildResult is what all attempts together led to.
type rebuildResult struct {
	state *rebuiltState    // nil if no attempt reached the target
	best  *rebuiltState    // the furthest good state of all attempts; nil if no attempt had one
	tried []report.Attempt // the attempts that failed, in order
	start logStart         // as the first failed attempt saw it

	replacedErr error // why the attempt from a replaced record failed; nil if there was none
}

// logStart identifies the log of a machine as it was when it was read.
type logStart struct{ number, base uint64 }

// rebuild returns the state right after record to (engine.All = the newest). All
// readers of a point use it. It replays from the newest good snapshot at or
// before the point; where that fails it tries the older snapshots in turn, and
// at last the newest replaced record. It never skips a record that it cannot
// read. best is the furthest good state of all attempts, tried are those that
// failed. If the log was compacted or put back while it was read, rebuild starts
// again.
func (db *DB) rebuild(ctx context.Context, k *kind, id string, to uint64, limit int) (r, best *rebuiltState, tried []report.Attempt, err error) {
	t := rebuildTarget{kind: k, id: id, to: to, limit: limit}
	for n := 1; ; n++ {
		res, err := db.tryInOrder(ctx, t)
		if err == nil || n >= maxAttempts || !db.logChanged(ctx, k, id, res.start, err) {
			return res.state, res.best, res.tried, err
		}
	}
}

// logChanged reports whether err may come from a compaction, or from records that
// were put back, while the log was read in several loads. seen is the log's start
// at the first of them.
func (db *DB) logChanged(ctx context.Context, k *kind, id string, seen logStart, err error) bool {
	if errors.Is(err, engine.ErrChanged) {
		return true
	}
	if !rebuildable(err) || seen.number == 0 {
		return false
	}
	head, h, err := db.storedHead(ctx, k, id, 0, func(*record.Snapshot) {})
	return err == nil && seen != logStart{head.Number, h.Base}
}

// storedHead returns a machine's head from the engine, and calls each for every
// snapshot up to record to, oldest first. Damaged snapshots are left out.
func (db *DB) storedHead(ctx context.Context, k *kind, id string, to uint64, each func(*record.Snapshot)) (engine.Head, *record.Head, error) {
	key := keyOf(k.name, id)
	head, err := db.eng.Load(ctx, key, engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: to}, func(it engine.Item) error {
		var s record.Snapshot
		if it.Err == nil && s.Parse(it.Bytes, key) == nil {
			s.State = append([]byte(nil), s.State...)
			each(&s)
		}
		return nil
	})
	if err != nil {
		return head, nil, db.wrapEngineError(k, id, err)
	}
	if head.Number == 0 {
		return head, nil, notFoundError(newMachine(k, id))
	}
	h := &record.Head{}
	if err := h.Parse(head.Bytes, key); err != nil {
		return head, nil, corrupt(k, id, "head", head.Seq, err)
	}
	return head, h, nil
}

// tryInOrder makes one attempt after another until one reaches the target: from
// each snapshot, newest first, then from the newest replaced record. The error is
// that of the first attempt, or the cause of ctx if that has ended.
func (db *DB) tryInOrder(ctx context.Context, t rebuildTarget) (res rebuildResult, err error) {
	a := newAttempt(db, t)
	defer a.free()
	var first error
	for snapTo := t.to; ; snapTo = a.out.from - 1 {
		state, err := a.fromSnapshotOf(ctx, snapTo)
		if err == nil || !rebuildable(err) {
			res.state, res.best = state, state
			return res, err
		}
		res.failed(a, err)
		if first == nil {
			first = err
			res.start = logStart{a.stored.Number, a.out.newest.Base}
		}
		if a.out.from == 0 { // there is no older snapshot
			break
		}
	}
	found, err := a.newestReplaced(ctx)
	if err == nil {
		if res.state, err = a.fromReplaced(ctx, found); err == nil {
			res.best = res.state
			return res, nil
		}
		res.failed(a, err)
	}
	res.replacedErr = err
	if ctx.Err() != nil { // the attempt was cut short, so it is not known whether the state can be rebuilt
		return res, context.Cause(ctx)
	}
	return res, first
}

// fromSnapshotOf makes an attempt from the newest snapshot at or before snapTo. Where this
// program cannot read that snapshot, or a record after it, the attempt is made
// again from the newest whole state after the snapshot.
func (a *attempt) fromSnapshotOf(ctx context.Context, snapTo uint64) (*rebuiltState, error) {
	state, err := a.fromSnapshot(ctx, snapTo, attemptOptions{})
	if err == nil || !isProgramError(err) {
		return state, err
	}
	if state, again := a.fromSnapshot(ctx, snapTo, attemptOptions{skipToWhole: true}); again == nil {
		return state, nil
	}
	return nil, err
}

// failed notes an attempt that did not reach the target.
func (r *rebuildResult) failed(a *attempt, err error) {
	r.best = furthest(r.best, a.out)
	r.tried = append(r.tried, report.Attempt{Source: a.out.source, From: a.out.from, Good: a.out.seq, Err: err.Error()})
}

// furthest returns the state with the greater seq; nil and b without a state lose.
func furthest(a, b *rebuiltState) *rebuiltState {
	if b == nil || b.st == nil || a != nil && a.seq >= b.seq {
		return a
	}
	return b
}

// rebuildable reports whether another attempt may succeed where one failed with
// err: stored bytes were damaged or missing.
func rebuildable(err error) bool {
	var c *CorruptError
	return errors.As(err, &c)
}

// corrupt returns the error for a stored value that cannot be used because of why: a
// *CorruptError, unless only this program is unable to read it. Then the error
// matches ErrNewer, or is why itself.
func corrupt(k *kind, id, part string, seq uint64, why error) error {
	if isProgramError(why) && !errors.Is(why, ErrNewer) {
		return why
	}
	if errors.Is(why, ErrNewer) || errors.Is(why, record.ErrNewer) {
		return fmt.Errorf("%w: %s %d of %s %q: %w", ErrNewer, part, seq, k.name, id, why)
	}
	return &CorruptError{Kind: k.name, ID: id, Part: part, Seq: seq, Why: why}
}
