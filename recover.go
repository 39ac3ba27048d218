package savepoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
	"github.com/liap-tui/savepoint/report"
)

// RecoverOptions say to which point a machine is to be brought back, and how.
type RecoverOptions struct {
	// To is the point; the zero value is Latest.
	To Point
	// Else holds points that are tried, in order, if To cannot be reached.
	Else []Point
	// Partial allows the longest good prefix of the log if neither To nor a point of Else
	// can be reached. The records after it are given up: Events reports them as a
	// *GapError.
	Partial bool
	// DryRun writes nothing. The report says what would happen.
	DryRun bool
	// Reason and Actor are stored with the record.
	Reason, Actor string
	// MaxReplay is how many records may be replayed for one point. If there are
	// more, the point cannot be reached. 0 = no limit.
	MaxReplay int
}

// Recover brings a machine back to a point: it appends a record with the state
// that the machine had there. The records before stay as they are. Recover waits
// for the machine's queued writes first, and ends a quarantine. With To at Latest
// it writes nothing if the newest state can be rebuilt without a loss.
//
// The error is that of To, also if all of Else failed. The report is never nil.
func (s *Store[S]) Recover(ctx context.Context, id string, o RecoverOptions) (*report.Recover, error) {
	return s.db.recoverMachine(ctx, s.kind, id, o)
}

// recoverMachine is Recover for any kind.
func (db *DB) recoverMachine(ctx context.Context, k *kind, id string, o RecoverOptions) (*report.Recover, error) {
	r := &recoverer{db: db, kind: k, id: id, opt: o, start: time.Now()}
	r.rep = &report.Recover{Kind: k.name, ID: id, To: o.To.String(), Status: report.Failed, DryRun: o.DryRun, Reason: o.Reason}
	if err := r.run(ctx); err != nil {
		r.rep.Status = report.Failed
		db.metrics.failed[opRecover].Add(1)
		return r.rep, fmt.Errorf("recover %s %.60q to %s: %w", k.name, id, o.To, err)
	}
	return r.rep, nil
}

// recoverer is one recovery of one machine.
type recoverer struct {
	db    *DB
	kind  *kind
	id    string
	opt   RecoverOptions
	rep   *report.Recover
	start time.Time
}

// run makes the recovery. It holds the machine's lock throughout, and a place in the
// queue unless it is a dry run.
func (r *recoverer) run(ctx context.Context) error {
	db, write := r.db, !r.opt.DryRun
	m, err := db.acquireIdle(ctx, r.kind, r.id, write)
	if err != nil {
		return err
	}
	pushed := false
	defer func() {
		if write && !pushed {
			db.queue.Release()
		}
		db.release(m)
	}()
	found, err := r.search(ctx)
	r.rep.Took = time.Since(r.start)
	if err != nil {
		return err
	}
	if r.rep.Status == report.Healthy {
		db.quarantine.remove(r.kind, r.id)
		m.forget()
		m.setRebuilt(found)
		db.metrics.latency[opRecover].Add(r.rep.Took)
		return nil
	}
	if !write {
		return nil
	}
	if keys := r.newestKeys(ctx, m); len(keys) > 0 {
		found.keys = keys
	}
	ack, err := r.restore(ctx, m, found)
	if err != nil {
		m.forget()
		r.rep.Restored, r.rep.LostFrom, r.rep.LostTo = 0, 0, 0 // nothing was appended or given up
		return err
	}
	pushed = true
	if _, err := ack.Wait(ctx); err != nil {
		return err
	}
	db.quarantine.remove(r.kind, r.id)
	db.log.Info("machine recovered", "kind", r.kind.name, "id", r.id, "report", r.rep.String())
	return nil
}

// newestKeys returns the idempotency keys of the newest record: a write that the
// recovery takes back was done all the same, and must not be done again. It
// returns nil where the newest record cannot be reached; those of the point are
// all that is left then.
func (r *recoverer) newestKeys(ctx context.Context, m *machine) []knownKey {
	if m.known {
		return m.keys
	}
	if newest, _, _, err := r.db.rebuild(ctx, r.kind, r.id, engine.All, r.opt.MaxReplay); err == nil {
		return newest.keys
	}
	return nil
}

// search returns the state to restore and fills in the report: at To, else at the
// first point of Else that can be reached, else, if allowed, after the longest
// good prefix. The error is that of To.
func (r *recoverer) search(ctx context.Context) (*rebuiltState, error) {
	var first error
	var best *rebuiltState
	for _, p := range append([]Point{r.opt.To}, r.opt.Else...) {
		state, prefix, err := r.rebuildAt(ctx, p)
		if err == nil {
			return state, nil
		}
		if first == nil {
			first = err
		}
		best = furthest(best, prefix)
	}
	if !r.opt.Partial || ctx.Err() != nil { // an attempt that was cut short proves no loss
		return nil, first
	}
	if best == nil && damagedHead(first) {
		var err error
		if best, err = r.rebuildWithoutHead(ctx); err != nil {
			return nil, errors.Join(first, err)
		}
	}
	if best == nil || best.st == nil || best.head.Deleted {
		return nil, first
	}
	if err := r.kind.valid(r.kind.value(best.st)); err != nil {
		return nil, fmt.Errorf("the longest good prefix ends at %d with a state that is not valid: %w; %w", best.seq, err, first)
	}
	r.report(report.Partial, best)
	if best.stored.Seq > best.seq {
		r.rep.LostFrom, r.rep.LostTo = best.seq+1, best.stored.Seq
	}
	return best, nil
}

// rebuildAt returns the state at a point and reports it, or the furthest good state
// and an error.
func (r *recoverer) rebuildAt(ctx context.Context, p Point) (state, best *rebuiltState, err error) {
	state, best, tried, err := r.db.rebuildAt(ctx, r.kind, r.id, p, r.opt.MaxReplay)
	r.rep.Tried = append(r.rep.Tried, tried...)
	if err == nil && state.head.Deleted {
		err = fmt.Errorf("%w: at %s", ErrDeleted, p)
	}
	if err != nil {
		return nil, best, err
	}
	status := report.Restored
	if p.what == pointLatest && (len(tried) == 0 || state.source != "replaced") {
		status = report.Healthy // also from an older snapshot: the state is the same
	}
	r.report(status, state)
	return state, best, nil
}

// report notes the state that the recovery has found.
func (r *recoverer) report(status report.Status, s *rebuiltState) {
	rep := r.rep
	rep.Status = status
	rep.Source, rep.From, rep.Seq, rep.Replayed, rep.Head = s.source, s.from, s.seq, s.replayed, s.stored.Seq
	rep.Time = stored(s.head.Updated)
}

// restore queues the restored record and brings the held machine to it.
func (r *recoverer) restore(ctx context.Context, m *machine, s *rebuiltState) (*Ack, error) {
	m.forget()
	m.known, m.seq, m.h, m.queued = true, s.stored.Seq, s.newest, s.stored.Seq
	m.live, m.encoded, m.keys = s.st, encodedState{state: s.enc, seq: s.encSeq}, s.keys
	m.pos.Store(s.stored.Pos)
	m.durable.Store(s.stored.Seq)
	d := newDraft(r.db, m, newWriteOptions([]WriteOption{By(r.opt.Actor), OriginRecovery, Cause(r.opt.Reason)}))
	enc, err := m.kind.encode(m.kind.value(s.st))
	if err != nil {
		return nil, err
	}
	r.rep.Restored = d.seq + 1
	if r.rep.LostTo > 0 {
		d.h.Gaps = append(d.h.Gaps, record.Gap{From: r.rep.LostFrom, To: r.rep.LostTo})
		d.h.Mark = r.rep.LostFrom
	}
	text, err := json.Marshal(r.rep)
	if err != nil {
		return nil, err
	}
	if err := d.replace(reasonRestored, enc, string(text)); err != nil {
		return nil, err
	}
	if err := d.snapshot(reasonRestored, nil); err != nil {
		return nil, err
	}
	w, err := d.complete(ctx)
	if err != nil {
		return nil, err
	}
	ack := newAck(opRecover, r.start)
	d.publish(ack)
	m.setQueued(ack)
	ack.head = m.head()
	r.db.pushWrite(ack, m, w, d.made.size)
	return ack, nil
}

// damagedHead reports whether err is about a machine's head.
func damagedHead(err error) bool {
	var c *CorruptError
	return errors.As(err, &c) && c.Part == "head"
}

// rebuildWithoutHead returns the furthest state that the snapshots and records of a
// machine with a damaged head lead to, nil if they lead to none, with a new head made
// from them. Records may be missing at the end without a trace: only the damaged
// head has their number and digest. An attempt that ends without damage, for example
// at MaxReplay, is an error, because the records after it are intact.
func (r *recoverer) rebuildWithoutHead(ctx context.Context) (*rebuiltState, error) {
	key := keyOf(r.kind.name, r.id)
	top, err := r.db.newestItem(ctx, key)
	if err != nil || top == 0 {
		return nil, err
	}
	res, err := r.db.tryInOrder(ctx, rebuildTarget{kind: r.kind, id: r.id, to: top, limit: r.opt.MaxReplay, assumedSeq: top})
	if err != nil && !rebuildable(err) {
		return nil, err
	}
	if res.replacedErr != nil && !rebuildable(res.replacedErr) {
		return nil, res.replacedErr
	}
	r.rep.Tried = append(r.rep.Tried, res.tried...)
	best := res.best
	if best != nil {
		best.newest = best.head
		best.newest.Base, best.newest.Gaps, err = r.logFacts(ctx, key, top)
		return best, err
	}
	return nil, nil
}

// logFacts returns what a head says of the log, read from the snapshots and records
// of the machine: the base, and the gaps that earlier recoveries left.
func (r *recoverer) logFacts(ctx context.Context, key string, top uint64) (base uint64, gaps []record.Gap, err error) {
	if !r.kind.strategy.keepsEvents() {
		return top, nil, nil
	}
	var env record.Envelope
	want := engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Events: true, To: engine.All}
	_, err = r.db.eng.Load(ctx, key, want, func(it engine.Item) error {
		var s record.Snapshot
		switch {
		case it.Err != nil:
		case it.Part == engine.PartSnapshot:
			if s.Parse(it.Bytes, key) == nil && s.Pinned {
				base = max(base, it.Seq)
			}
		case env.Parse(it.Bytes, nil) == nil && env.Name == replacedName && env.Reason == reasonRestored:
			var rep report.Recover
			if json.Unmarshal([]byte(env.Error), &rep) == nil && rep.LostTo > 0 {
				gaps = append(gaps, record.Gap{From: rep.LostFrom, To: rep.LostTo})
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, engine.ErrDamaged) {
		err = nil
	}
	return base, gaps, err
}

// Recovery is a recovery of a machine in the past.
type Recovery struct {
	Meta   // of the restored record
	Report report.Recover
}

// Recoveries returns the recoveries of a machine that appended a record, oldest
// first. It reads all records; gaps between them are skipped. An error ends it.
func (s *Store[S]) Recoveries(ctx context.Context, id string) iter.Seq2[Recovery, error] {
	return func(yield func(Recovery, error) bool) {
		for rec, err := range s.Events(ctx, id, EventRange{}) {
			var gap *GapError
			if errors.As(err, &gap) {
				continue
			}
			if err != nil {
				yield(Recovery{}, err)
				return
			}
			if rec.Reason != reasonRestored {
				continue
			}
			r := Recovery{Meta: rec.Meta}
			if err := json.Unmarshal([]byte(rec.Error), &r.Report); err != nil {
				yield(r, fmt.Errorf("report of recovery %d: %w", rec.Seq, err))
				return
			}
			r.Error = ""
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Mark appends an error mark, which says that record seq of the machine led to an
// error: [BeforeError] is then the point right before record seq. The text of
// problem is stored as Meta.Error; a nil problem is stored as "error". The
// returned error matches ErrNoPoint if there is no record seq, ErrNotFound if
// there is no machine.
func (s *Store[S]) Mark(ctx context.Context, id string, seq uint64, problem error, opts ...WriteOption) (Head, error) {
	return waitForWrite(ctx, func() *Ack {
		o := newWriteOptions(opts)
		return s.db.write(ctx, request{s.kind, id, opMark, o}, func(d *draft) error {
			if !d.m.exists() {
				return notFoundError(d.m)
			}
			if seq == 0 || seq > d.m.seq {
				return fmt.Errorf("%w: record %d: the machine is at %d", ErrNoPoint, seq, d.m.seq)
			}
			text := "error"
			if problem != nil {
				text = problem.Error()
			}
			return d.mark(seq, text)
		})
	})
}
