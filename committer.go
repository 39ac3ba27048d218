package savepoint

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/histogram"
)

// step is what becomes durable as a whole, on its way through the queue.
type step struct {
	ack     *Ack
	acks    []*Ack         // of older writes that only this step makes durable: those of Go under SnapshotOnly
	first   []engine.Write // stored before writes, each in an engine step of its own
	writes  []engine.Write // one for each part
	parts   []part
	skipped error // why the step was not sent to the engine; nil if it was

	// The memory of a step with one machine. It is used again by later steps, for
	// the engine keeps no slice of a step after Commit.
	oneWrite [1]engine.Write
	onePart  [1]part
	bytes    []byte // holds records and head
	events   []engine.Event
}

// part is one machine's share of a step.
type part struct {
	machine *commitState
	seq     uint64 // of the machine after the step
}

// stepPool holds steps whose acks have resolved.
var stepPool = sync.Pool{New: func() any { return new(step) }}

// maxScratch is the largest buffer, in bytes, that a pool keeps for the next write.
const maxScratch = 64 << 10

// setWrite makes s the step of one write to m.
func (s *step) setWrite(ack *Ack, m *machine, w engine.Write) {
	s.ack, s.oneWrite[0], s.onePart[0] = ack, w, part{&m.commitState, w.Seq}
	s.writes, s.parts = s.oneWrite[:], s.onePart[:]
}

// free returns s to the pool. Nothing may refer to its memory any more.
func (s *step) free() {
	clear(s.events)
	*s = step{bytes: s.bytes[:0], events: s.events[:0]}
	if cap(s.bytes) > maxScratch || cap(s.events) > maxScratch/256 {
		s.bytes, s.events = nil, nil
	}
	stepPool.Put(s)
}

// engineSteps is the number of engine steps that s takes.
func (s *step) engineSteps() int { return len(s.first) + 1 }

// result returns the engine's result for s: that of the step itself, or of the first
// of the steps before it that was refused. results start at those of s.
func (s *step) result(results []engine.Result) *engine.Result {
	for i := range s.first {
		if results[i].Err != nil {
			return &results[i]
		}
	}
	return &results[len(s.first)]
}

// followsFailed reports whether an earlier write to one of the step's machines
// was not stored.
func (s *step) followsFailed() bool {
	for _, p := range s.parts {
		if p.machine.failed.Load() {
			return true
		}
	}
	return false
}

// markFailed notes at the step's machines that a write to them is not stored.
func (s *step) markFailed() {
	for _, p := range s.parts {
		p.machine.failed.Store(true)
	}
}

// commitState is what the committer reports about a machine. All of it is atomic,
// because the committer takes no lock of a machine.
type commitState struct {
	durable atomic.Uint64 // seq of the newest record on disk
	pos     atomic.Uint64 // position of that record
	pending atomic.Int64  // steps with the machine whose acks have not resolved
	failed  atomic.Bool   // a step was not stored: the machine in memory is ahead of the engine and has to be loaded again
	doubt   atomic.Bool   // it is not known whether a step was stored

	writes    histogram.Small // time from the call until the write was stored
	notStored atomic.Int64    // writes that were queued and not stored
}

// commitEnv is everything that a committer needs of its surroundings. All funcs
// are called by the committer's goroutine alone and none may be nil.
type commitEnv struct {
	// commit makes steps durable, as [engine.Engine] Commit does.
	commit func(steps []engine.Step, results []engine.Result) error
	// stopped receives the error that ends all writing, once.
	stopped func(cause error)
	// committed receives the number of queued steps in each group that was sent to
	// the engine, and how long the engine took.
	committed func(steps int, took time.Duration)
	// stored receives each step that is durable, before its acks resolve. It
	// keeps nothing of it.
	stored func(s *step, result *engine.Result)
	// resolving receives each ack right before it resolves with err.
	resolving func(a *Ack, err error)
	// notify wakes the readers that wait for records, after all acks of a group
	// have resolved. It keeps nothing of steps.
	notify func(steps []engine.Step, stopped bool)
}

// committer is the second half of every write: it takes groups of steps from the
// queue, makes them durable and resolves their acks. It knows nothing of a
// database but what commitEnv offers.
//
//  1. One goroutine runs it, and the engine gets the steps in the order of the
//     queue.
//  2. An ack resolves only after the engine's Commit of its whole group has returned;
//     acks resolve in the order of the queue.
//  3. A step that the engine refuses fails alone. Later steps with one of its
//     machines fail with ErrAborted, until that machine is loaded again.
//  4. After an error of commit that leaves open what is stored, nothing is
//     committed any more: the steps of that group and all steps queued after it
//     are in doubt.
//  5. Of a machine it writes commitState only, and it takes no lock of one.
type committer struct {
	env     commitEnv
	stopped atomic.Pointer[error] // why nothing is committed any more

	// The memory of one group, used again by the next.
	live    []*step         // the steps of the group that the engine gets
	steps   []engine.Step   // engineSteps() of each of live
	results []engine.Result // one for each of steps
}

// errEarlierFailed is the error of a step whose machine lost an earlier write.
var errEarlierFailed = fmt.Errorf("%w: a write queued before it failed", ErrAborted)

// commitGroup makes one group durable and resolves its acks, in order. It calls
// release as soon as the engine has returned, which frees the group's places in the
// queue.
func (c *committer) commitGroup(group []*step, release func()) {
	for _, s := range group {
		c.admit(s)
	}
	err := c.commit()
	release()
	results := c.results
	for _, s := range group {
		if s.skipped != nil {
			c.fail(s, s.skipped, s.skipped != errEarlierFailed)
			continue
		}
		c.finish(s, s.result(results), err)
		results = results[s.engineSteps():]
	}
	c.env.notify(c.steps, c.stopped.Load() != nil)
	clear(c.live)
	clear(c.steps)
	clear(c.results)
	c.live, c.steps, c.results = c.live[:0], c.steps[:0], c.results[:0]
	for _, s := range group {
		s.free()
	}
}

// admit adds a step to what the engine gets, or notes why the step is skipped.
func (c *committer) admit(s *step) {
	if why := c.stopped.Load(); why != nil {
		s.skipped = *why
		return
	}
	if s.followsFailed() {
		s.skipped = errEarlierFailed
		s.markFailed() // its other machines are ahead of the engine now
		return
	}
	c.live = append(c.live, s)
	for i := range s.first {
		c.steps = append(c.steps, engine.Step{Writes: s.first[i : i+1]})
	}
	c.steps = append(c.steps, engine.Step{Writes: s.writes})
	for range s.engineSteps() {
		c.results = append(c.results, engine.Result{})
	}
}

// commit sends the admitted steps to the engine. An error that leaves open what
// is stored stops the committer for good.
func (c *committer) commit() error {
	if len(c.live) == 0 {
		return nil
	}
	start := time.Now()
	err := c.env.commit(c.steps, c.results)
	c.env.committed(len(c.live), time.Since(start))
	if err != nil && !errors.Is(err, engine.ErrNothingStored) {
		why := fmt.Errorf("commit: %w", err)
		c.stopped.Store(&why)
		c.env.stopped(err)
	}
	return err
}

// finish resolves a step that was sent to the engine. result is what the engine
// returned for the step, groupErr what it returned for the group.
func (c *committer) finish(s *step, result *engine.Result, groupErr error) {
	switch {
	case result.Err != nil && s.followsFailed():
		c.fail(s, errEarlierFailed, false)
	case result.Err != nil:
		c.fail(s, result.Err, errors.Is(result.Err, ErrInDoubt))
	case groupErr != nil:
		c.fail(s, groupErr, !errors.Is(groupErr, engine.ErrNothingStored))
	default:
		c.succeed(s, result)
	}
}

// succeed resolves a step that is durable.
func (c *committer) succeed(s *step, result *engine.Result) {
	took := time.Since(s.ack.start)
	for i, p := range s.parts {
		p.machine.writes.Add(took)
		p.machine.pos.Store(result.Pos[i])
		p.machine.durable.Store(p.seq)
		p.machine.pending.Add(-1)
	}
	if len(s.parts) == 1 {
		s.ack.head.Pos = result.Pos[0]
	}
	c.env.stored(s, result)
	c.resolve(s, nil)
}

// fail resolves a step that is not stored, or of which that is not known.
func (c *committer) fail(s *step, err error, doubt bool) {
	if doubt && len(s.writes) > 0 {
		err = &InDoubtError{Token: token(&s.writes[0]), Cause: err}
	}
	for _, p := range s.parts {
		if doubt {
			p.machine.doubt.Store(true)
		}
		p.machine.notStored.Add(1)
		p.machine.failed.Store(true)
		p.machine.pending.Add(-1)
	}
	var conflict *engine.Conflict
	if errors.As(err, &conflict) {
		kind, id, _ := splitKey(conflict.Machine)
		err = &ConflictError{Kind: kind, ID: id, Want: conflict.Want, Have: conflict.Have}
		s.ack.again = true
	}
	c.resolve(s, err)
}

// resolve resolves the acks of a step, the older ones first.
func (c *committer) resolve(s *step, err error) {
	for _, a := range s.acks {
		c.env.resolving(a, err)
		a.resolve(err)
	}
	c.env.resolving(s.ack, err)
	s.ack.resolve(err)
}
