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
)

// RecoverOptions say what a machine is to be brought back to.
type RecoverOptions struct {
	// To is the point; the zero value is Latest.
	To Point
	// Else are tried in their order when To cannot be reached.
	Else []Point
	// Partial takes the longest good prefix when nothing else works. The records
	// behind it are given up: Events names them as a gap.
	Partial bool
	// DryRun only reports what would happen.
	DryRun bool
	// Reason and Actor go into the record.
	Reason, Actor string
	// MaxReplay is how many records may be replayed; more is an error, never a
	// shorter replay. 0 = no limit.
	MaxReplay int
}

// RecoverStatus is how a recovery ended.
type RecoverStatus string

// How a recovery ended.
const (
	RecoverHealthy  RecoverStatus = "healthy"   // to Latest, and nothing was wrong: nothing was written
	RecoverRestored RecoverStatus = "recovered" // the state of the point was restored
	RecoverPartial  RecoverStatus = "partially" // the longest good prefix was restored
	RecoverFailed   RecoverStatus = "failed"    // nothing was written
)

// RecoverReport tells what a recovery found and did.
type RecoverReport struct {
	Kind, ID string
	To       string // the point that was asked for
	Status   RecoverStatus
	DryRun   bool          `json:",omitempty"`
	Source   string        // where the state was rebuilt from: "snapshot", "new" or "replaced"
	From     uint64        // its seq
	Seq      uint64        // the record whose state was restored
	Time     time.Time     // of that record
	Head     uint64        // the newest record before the recovery
	Restored uint64        // the record that the recovery appended; 0 = none
	Replayed int           // records
	Tried    []Attempt     `json:",omitempty"` // what did not work, in order
	LostFrom uint64        `json:",omitempty"` // records given up
	LostTo   uint64        `json:",omitempty"`
	Reason   string        `json:",omitempty"`
	Took     time.Duration // up to the write
}

func (r *RecoverReport) String() string {
	s := fmt.Sprintf("%s %q to %s: %s at seq %d from %s %d, %d records replayed in %v", r.Kind, r.ID, r.To, r.Status, r.Seq, r.Source, r.From, r.Replayed, r.Took.Round(time.Microsecond))
	if r.LostTo > 0 {
		s += fmt.Sprintf(", records %d to %d given up", r.LostFrom, r.LostTo)
	}
	for _, a := range r.Tried {
		s += "; " + a.String()
	}
	return s
}

// Recover brings a machine back to a point, by appending a record with the
// state it had there; nothing of its history is changed. It waits for the
// machine's queued writes first. To Latest, on a machine that is well, it only
// reports. The report is there with an error too.
func (s *Store[S]) Recover(ctx context.Context, id string, o RecoverOptions) (*RecoverReport, error) {
	return s.db.recoverMachine(ctx, s.kind, id, o)
}

func (db *DB) recoverMachine(ctx context.Context, k *kind, id string, o RecoverOptions) (*RecoverReport, error) {
	start := time.Now()
	rep := &RecoverReport{Kind: k.name, ID: id, To: o.To.String(), Status: RecoverFailed, DryRun: o.DryRun, Reason: o.Reason}
	wrap := func(err error) error {
		db.metrics.failed[opRecover].Add(1)
		return fmt.Errorf("recover %s %.60q to %s: %w", k.name, id, o.To, err)
	}
	m, err := db.acquireIdle(ctx, k, id, !o.DryRun)
	if err != nil {
		return rep, wrap(err)
	}
	pushed := false
	defer func() {
		if !o.DryRun && !pushed {
			db.queue.Release()
		}
		db.release(m)
	}()
	known := m.keys
	found, err := db.search(ctx, k, id, o, rep)
	rep.Took = time.Since(start)
	if err != nil {
		return rep, wrap(err)
	}
	if rep.Status == RecoverHealthy {
		db.quarantine.remove(k, id)
		m.forget()
		m.setRebuilt(found)
		db.metrics.latency[opRecover].Add(rep.Took)
		return rep, nil
	}
	if o.DryRun {
		return rep, nil
	}
	if keys := db.keysOf(ctx, m, known, o); len(keys) > 0 {
		found.keys = keys
	}
	ack, err := db.restore(ctx, m, found, o, rep, start)
	if err != nil {
		m.forget()
		rep.Status = RecoverFailed
		return rep, wrap(err)
	}
	pushed = true
	if _, err := ack.Wait(ctx); err != nil {
		rep.Status = RecoverFailed
		return rep, wrap(err)
	}
	db.quarantine.remove(k, id)
	db.log.Info("machine recovered", "kind", k.name, "id", id, "report", rep.String())
	return rep, nil
}

// acquireIdle gives the machine locked, with nothing of it queued, loaded or not, and
// with a place in the queue if it is to be written.
func (db *DB) acquireIdle(ctx context.Context, k *kind, id string, place bool) (*machine, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if db.closed.Load() {
		return nil, ErrClosed
	}
	for {
		if place {
			if err := db.reserve(ctx, false, false); err != nil {
				return nil, err
			}
		}
		m, err := db.acquireQuiet(ctx, k, id)
		if m != nil {
			return m, nil
		}
		if place { // saving takes one of its own
			db.queue.Release()
		}
		if err == nil {
			err = db.save(ctx, k, id, nil)
		}
		if err != nil {
			return nil, err
		}
	}
}

// acquireQuiet is hold's way to the lock. It answers nothing where writes have to
// be saved first.
func (db *DB) acquireQuiet(ctx context.Context, k *kind, id string) (*machine, error) {
	m, err := db.locked(ctx, k, id)
	if err != nil {
		return nil, err
	}
	if len(m.unsaved) > 0 && !m.failed.Load() {
		m.release()
		return nil, nil
	}
	err = m.awaitQueued(ctx)
	if err == nil && m.failed.Load() {
		err = db.reload(ctx, m)
	}
	if err != nil {
		db.release(m)
		return nil, err
	}
	return m, nil
}

// keysOf are the keys of the newest record: what a recovery takes back was done
// all the same. Where the newest record cannot be reached, those of the point
// have to do.
func (db *DB) keysOf(ctx context.Context, m *machine, known []knownKey, o RecoverOptions) []knownKey {
	if m.known {
		return known
	}
	if r, _, _, err := db.rebuild(ctx, m.kind, m.id, engine.All, o.MaxReplay); err == nil {
		return r.keys
	}
	return nil
}

// search finds the state to restore and fills in the report.
func (db *DB) search(ctx context.Context, k *kind, id string, o RecoverOptions, rep *RecoverReport) (*rebuiltState, error) {
	var first error
	var best *rebuiltState
	for _, p := range append([]Point{o.To}, o.Else...) {
		seq := engine.All
		var err error
		if p.what != pointLatest {
			seq, err = db.resolve(ctx, k, id, p)
		}
		var r, b *rebuiltState
		var tried []Attempt
		if err == nil {
			r, b, tried, err = db.rebuild(ctx, k, id, seq, o.MaxReplay)
			if unkept := db.unkept(ctx, k, id, seq, p, err); unkept != nil {
				err, tried, b = unkept, nil, nil // nothing is damaged
			}
			rep.Tried = append(rep.Tried, tried...)
			best = furthest(best, b)
		}
		if err == nil && r.stored.Number == 0 {
			err = notFoundError(newMachine(k, id))
		}
		if err == nil && r.head.Deleted {
			err = fmt.Errorf("%w: at %s", ErrDeleted, p)
		}
		if err == nil {
			rep.found(r)
			rep.Status = RecoverRestored
			if p.what == pointLatest && len(tried) == 0 {
				rep.Status = RecoverHealthy
			} else if p.what == pointLatest && r.source != "replaced" {
				rep.Status = RecoverHealthy // by another way, with the same answer
			}
			return r, nil
		}
		if first == nil {
			first = err
		}
	}
	var c *CorruptError
	if o.Partial && best == nil && errors.As(first, &c) && c.Part == "head" {
		r, tried, err := db.recoverWithoutHead(ctx, k, id, o.MaxReplay)
		if err != nil {
			return nil, errors.Join(first, err)
		}
		rep.Tried = append(rep.Tried, tried...)
		best = r
	}
	if !o.Partial || best == nil || best.st == nil {
		return nil, first
	}
	if best.head.Deleted {
		return nil, first
	}
	if err := k.valid(k.value(best.st)); err != nil {
		return nil, fmt.Errorf("the longest good prefix ends at %d with a state that is not valid: %w; %w", best.seq, err, first)
	}
	rep.found(best)
	rep.Status = RecoverPartial
	if best.stored.Seq > best.seq {
		rep.LostFrom, rep.LostTo = best.seq+1, best.stored.Seq
	}
	return best, nil
}

func (rep *RecoverReport) found(r *rebuiltState) {
	rep.Source, rep.From, rep.Seq, rep.Replayed, rep.Head = r.source, r.from, r.seq, r.replayed, r.stored.Seq
	rep.Time = stored(r.head.Updated)
}

// restore appends the restored record.
func (db *DB) restore(ctx context.Context, m *machine, r *rebuiltState, o RecoverOptions, rep *RecoverReport, start time.Time) (*Ack, error) {
	wo := newWriteOptions([]WriteOption{By(o.Actor), OriginRecovery, Cause(o.Reason)})
	m.forget()
	m.known, m.seq, m.h, m.queued = true, r.stored.Seq, r.newest, r.stored.Seq
	m.live, m.encoded, m.keys = r.st, encodedState{state: r.enc, seq: r.encSeq}, r.keys
	m.pos.Store(r.stored.Pos)
	m.durable.Store(r.stored.Seq)
	d := newDraft(db, m, wo)
	enc, err := m.kind.encode(m.kind.value(r.st))
	if err != nil {
		return nil, err
	}
	rep.Restored = d.seq + 1
	if rep.LostTo > 0 {
		d.h.Gaps = append(d.h.Gaps, record.Gap{From: rep.LostFrom, To: rep.LostTo})
		d.h.Mark = rep.LostFrom
	}
	text, err := json.Marshal(rep)
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
	ack := newAck(opRecover, start)
	d.publish(ack)
	m.setQueued(ack)
	ack.head = m.head()
	db.pushWrite(ack, m, w, d.made.size)
	return ack, nil
}

// Recovery is one recovery of a machine's past.
type Recovery struct {
	Meta
	Report RecoverReport
}

// Recoveries lists the recoveries of a machine, oldest first, from its records.
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

// Mark says that record seq of the machine ended in an error, for
// [BeforeError]. The mark is a record of its own.
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

// recoverWithoutHead rebuilds a machine whose head is damaged as far as its snapshots and
// records lead, for a partial recovery. Nobody can say whether they are all: the
// head alone has their number and digest. The new head is put together from
// them.
func (db *DB) recoverWithoutHead(ctx context.Context, k *kind, id string, limit int) (*rebuiltState, []Attempt, error) {
	key := keyOf(k.name, id)
	top, err := db.newestItem(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	var best *rebuiltState
	var tried []Attempt
	p := db.newAttempt(k, id, top)
	defer p.free()
	p.limit, p.assumedSeq = limit, top
	for snapTo, again := engine.All, top > 0; again; {
		_, err := p.fromSnapshot(ctx, snapTo)
		if err != nil && !rebuildable(err) {
			return nil, tried, err
		}
		best = furthest(best, p.out)
		if again = err != nil && p.began && p.out.from > 0; again {
			tried = append(tried, p.failure(err))
			snapTo = p.out.from - 1
		}
	}
	if best == nil || best.seq < top {
		if _, err := p.fromReplaced(ctx); err != nil && !rebuildable(err) {
			return nil, tried, err
		}
		best = furthest(best, p.out)
	}
	if best == nil {
		return nil, tried, nil
	}
	best.newest = best.head
	best.newest.Base, best.newest.Gaps, err = db.begins(ctx, k, key, top)
	return best, tried, err
}

// begins finds, without the head, where the log of a machine begins, and what
// earlier recoveries gave up.
func (db *DB) begins(ctx context.Context, k *kind, key string, top uint64) (base uint64, gaps []record.Gap, err error) {
	if !k.strategy.keepsEvents() {
		return top, nil, nil
	}
	var env record.Envelope
	want := engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Events: true, To: engine.All}
	_, err = db.eng.Load(ctx, key, want, func(it engine.Item) error {
		var s record.Snapshot
		switch {
		case it.Err != nil:
		case it.Part == engine.PartSnapshot:
			if s.Parse(it.Bytes, key) == nil && s.Pinned {
				base = max(base, it.Seq)
			}
		case env.Parse(it.Bytes, nil) == nil && env.Name == replacedName && env.Reason == reasonRestored:
			var r RecoverReport
			if json.Unmarshal([]byte(env.Error), &r) == nil && r.LostTo > 0 {
				gaps = append(gaps, record.Gap{From: r.LostFrom, To: r.LostTo})
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, engine.ErrDamaged) {
		err = nil
	}
	return base, gaps, err
}
