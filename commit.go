package savepoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/engine"
)

// commitGroup makes one group durable and answers its callers, in order. It
// runs in the committer alone and takes no lock of a machine.
func (db *DB) commitGroup(group []*step, free func()) {
	g := &db.group
	g.steps, g.out, g.live = g.steps[:0], g.out[:0], g.live[:0]
	for _, s := range group {
		if why := db.stopped.Load(); why != nil {
			s.skipped = *why
		} else if s.followsFailed() {
			s.skipped = errEarlierFailed
			s.markFailed() // for those behind it
		} else {
			g.live = append(g.live, s)
			for i := range s.first {
				g.steps = append(g.steps, engine.Step{Writes: s.first[i : i+1]})
			}
			g.steps = append(g.steps, engine.Step{Writes: s.writes})
			g.out = append(g.out, make([]engine.Result, 1+len(s.first))...)
		}
	}
	err := db.store(g)
	free()
	live := 0
	for _, s := range group { // in the order of the queue
		if s.skipped != nil {
			db.fail(s, s.skipped, s.skipped != errEarlierFailed)
			continue
		}
		out := s.result(g.out[live:])
		live += 1 + len(s.first)
		switch {
		case out.Err != nil && s.followsFailed():
			db.fail(s, errEarlierFailed, false)
		case out.Err != nil:
			db.fail(s, out.Err, errors.Is(out.Err, ErrInDoubt))
		case errors.Is(err, engine.ErrNothingStored):
			db.fail(s, err, false)
		case err != nil:
			db.fail(s, err, true)
		default:
			db.done(s, out)
		}
	}
	db.notifier.notify(g.steps, db.stopped.Load() != nil)
	clear(g.steps)
	clear(g.live)
	clear(g.out)
	for _, s := range group {
		s.free()
	}
}

// store gives the group's live steps to the engine.
func (db *DB) store(g *group) error {
	if len(g.live) == 0 {
		return nil
	}
	start := time.Now()
	db.storing.Lock()
	err := db.eng.Commit(context.Background(), g.steps, g.out)
	db.storing.Unlock()
	db.metrics.group(len(g.live), time.Since(start))
	if err != nil && !errors.Is(err, engine.ErrNothingStored) {
		why := fmt.Errorf("commit: %w", err)
		db.stopped.CompareAndSwap(nil, &why)
		db.log.Error("writing has stopped: open the file again", "path", db.path, "error", err)
	}
	return err
}

// result is what became of a step: of those before it, if they failed.
func (s *step) result(out []engine.Result) *engine.Result {
	for i := range s.first {
		if out[i].Err != nil {
			return &out[i]
		}
	}
	return &out[len(s.first)]
}

var errEarlierFailed = fmt.Errorf("%w: a write queued before it failed", ErrAborted)

// followsFailed says that a write queued before this one was not stored.
func (s *step) followsFailed() bool {
	for _, p := range s.parts {
		if p.m.failed.Load() {
			return true
		}
	}
	return false
}

// markFailed tells the step's machines that a write of theirs is not stored.
func (s *step) markFailed() {
	for _, p := range s.parts {
		p.m.failed.Store(true)
	}
}

func (db *DB) done(s *step, out *engine.Result) {
	took := time.Since(s.ack.start)
	for i, p := range s.parts {
		p.m.counts.writes.Add(took)
		p.m.pos.Store(out.Pos[i])
		p.m.durable.Store(p.seq)
		p.m.pending.Add(-1)
	}
	if len(s.parts) == 1 {
		s.ack.head.Pos = out.Pos[0]
	}
	for i := range s.first {
		db.metrics.snapshots.Add(int64(len(s.first[i].Snapshots)))
	}
	for i := range s.writes {
		db.metrics.snapshots.Add(int64(len(s.writes[i].Snapshots)))
		db.metrics.position.Store(max(db.metrics.position.Load(), out.Pos[i]))
	}
	for _, a := range s.acks { // they are older
		db.answer(a, nil)
	}
	db.answer(s.ack, nil)
}

func (db *DB) fail(s *step, err error, doubt bool) {
	for i, p := range s.parts {
		if doubt {
			p.m.doubt.Store(true)
			if i == 0 {
				err = &InDoubtError{Token: token(&s.writes[0]), Cause: err}
			}
		}
		p.m.counts.failed.Add(1)
		p.m.failed.Store(true)
		p.m.pending.Add(-1)
	}
	var c *engine.Conflict
	if errors.As(err, &c) {
		kind, id, _ := splitKey(c.Machine)
		err = &ConflictError{Kind: kind, ID: id, Want: c.Want, Have: c.Have}
		s.ack.again = true
	}
	for _, a := range s.acks {
		db.answer(a, err)
	}
	db.answer(s.ack, err)
}

func (db *DB) answer(a *Ack, err error) {
	db.metrics.wrote(a, err)
	a.resolve(err)
}
