package savepoint

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// commitRig drives a committer without a database: an engine that returns what a test
// sets, machines with only the fields that the committer writes, and a log of the calls.
type commitRig struct {
	committer
	t        *testing.T
	machines map[string]*commitState
	names    map[*Ack]string
	log      []string // calls of the committer, in order

	refuse    map[string]error // by machine: the engine refuses its writes
	commitErr error            // what the engine returns for a whole group
}

func newCommitRig(t *testing.T) *commitRig {
	r := &commitRig{t: t, machines: map[string]*commitState{}, names: map[*Ack]string{}, refuse: map[string]error{}}
	pos := uint64(0)
	r.env = commitEnv{
		commit: func(steps []engine.Step, results []engine.Result) error {
			assert.Len(t, results, len(steps))
			call := "commit"
			for i, s := range steps {
				call += " "
				for j, w := range s.Writes {
					if j > 0 {
						call += "+"
					}
					call += fmt.Sprint(w.Machine, w.Seq)
					if err := r.refuse[w.Machine]; err != nil {
						results[i] = engine.Result{Err: err}
					}
				}
				if results[i].Err == nil {
					for range s.Writes {
						pos++
						results[i].Pos = append(results[i].Pos, pos)
					}
				}
			}
			r.log = append(r.log, call)
			return r.commitErr
		},
		stopped:   func(cause error) { r.log = append(r.log, "stopped: "+cause.Error()) },
		committed: func(steps int, _ time.Duration) { r.log = append(r.log, fmt.Sprint("committed ", steps)) },
		stored: func(s *step, result *engine.Result) {
			assert.Len(t, result.Pos, len(s.writes))
			assert.False(t, s.ack.resolved(), "a step is reported before its ack resolves")
		},
		resolving: func(a *Ack, err error) {
			assert.False(t, a.resolved(), "an ack is reported before it resolves")
			text := r.names[a]
			if err != nil {
				text += " failed"
			}
			r.log = append(r.log, text)
		},
		notify: func(_ []engine.Step, stopped bool) {
			for a := range r.names {
				assert.True(t, a.resolved(), "readers are woken when all are answered: %s is not", r.names[a])
			}
			r.log = append(r.log, fmt.Sprint("notify ", stopped))
		},
	}
	return r
}

func (r *commitRig) ack(name string) *Ack {
	a := newAck(opGo, time.Now())
	r.names[a] = name
	return a
}

func (r *commitRig) machine(name string) *commitState {
	m := r.machines[name]
	if m == nil {
		m = &commitState{}
		r.machines[name] = m
	}
	return m
}

// step makes a step that writes seq to each of the machines.
func (r *commitRig) step(name string, seq uint64, machines ...string) *step {
	s := &step{ack: r.ack(name)}
	for _, m := range machines {
		s.writes = append(s.writes, engine.Write{Machine: keyOf("k", m), Expect: seq - 1, Seq: seq})
		s.parts = append(s.parts, part{r.machine(m), seq})
		r.machine(m).pending.Add(1)
	}
	return s
}

// run commits steps as one group and returns their acks.
func (r *commitRig) run(steps ...*step) (acks []*Ack) {
	for _, s := range steps {
		acks = append(acks, s.ack)
	}
	r.log = nil
	r.commitGroup(slices.Clone(steps), func() { r.log = append(r.log, "release") })
	for _, a := range acks {
		require.True(r.t, a.resolved(), "%s is not answered", r.names[a])
	}
	for name, m := range r.machines {
		assert.Zero(r.t, m.pending.Load(), "machine %s has pending steps", name)
	}
	return acks
}

// key is how the log names a write to a machine.
func key(machine string, seq uint64) string { return fmt.Sprint(keyOf("k", machine), seq) }

// TestCommitter_Order: the engine gets the steps in the order of the queue; the places in
// the queue are free before the first result; acks resolve in the order of the queue,
// those of older writes that a step makes durable before the step's own; readers come last.
func TestCommitter_Order(t *testing.T) {
	r := newCommitRig(t)
	second := r.step("two", 3, "a")
	second.acks = []*Ack{r.ack("old 1"), r.ack("old 2")}
	second.first = []engine.Write{{Machine: keyOf("k", "a"), Expect: 1, Seq: 2}}
	acks := r.run(r.step("one", 1, "a"), second, r.step("three", 1, "b", "c"))
	require.Equal(t, []string{
		"commit " + key("a", 1) + " " + key("a", 2) + " " + key("a", 3) + " " + key("b", 1) + "+" + key("c", 1),
		"committed 3", "release", "one", "old 1", "old 2", "two", "three", "notify false"}, r.log)
	for i, pos := range []uint64{1, 3, 0} { // a step of several machines has no single position
		require.NoError(t, acks[i].Err())
		assert.Equal(t, pos, acks[i].Head().Pos)
	}
	for name, want := range map[string][2]uint64{"a": {3, 3}, "b": {1, 4}, "c": {1, 5}} {
		m := r.machines[name]
		assert.Equal(t, want, [2]uint64{m.durable.Load(), m.pos.Load()}, "seq and position of %s", name)
		assert.False(t, m.failed.Load() || m.doubt.Load())
	}
}

// TestCommitter_RefusedAlone: a step that the engine refuses fails alone, with the
// engine's error, and nothing stops.
func TestCommitter_RefusedAlone(t *testing.T) {
	r := newCommitRig(t)
	r.refuse[keyOf("k", "b")] = ErrTooLarge
	acks := r.run(r.step("one", 1, "a"), r.step("two", 1, "b"), r.step("three", 1, "c"))
	require.NoError(t, acks[0].Err())
	require.ErrorIs(t, acks[1].Err(), ErrTooLarge)
	require.NotErrorIs(t, acks[1].Err(), ErrInDoubt)
	require.NoError(t, acks[2].Err())
	assert.Equal(t, []string{"one", "two failed", "three", "notify false"}, r.log[len(r.log)-4:])
	assert.True(t, r.machines["b"].failed.Load())
	assert.False(t, r.machines["b"].doubt.Load())
	assert.Zero(t, r.machines["b"].durable.Load())
	assert.EqualValues(t, 1, r.machines["b"].notStored.Load())
	assert.False(t, r.machines["a"].failed.Load() || r.machines["c"].failed.Load())
	require.NoError(t, r.run(r.step("four", 2, "a"))[0].Err(), "the committer goes on")
}

// TestCommitter_RefusedFirst: a step whose migration the engine refuses fails with it, and
// the next steps get their own results.
func TestCommitter_RefusedFirst(t *testing.T) {
	r := newCommitRig(t)
	r.refuse["migration"] = ErrTooLarge
	one := r.step("one", 3, "a")
	one.first = []engine.Write{{Machine: "migration", Expect: 1, Seq: 2}}
	acks := r.run(one, r.step("two", 1, "b"))
	require.ErrorIs(t, acks[0].Err(), ErrTooLarge)
	require.NoError(t, acks[1].Err())
	assert.EqualValues(t, 2, acks[1].Head().Pos, "the engine gave one to the refused step's own write")
}

// TestCommitter_AfterAFailedOne: steps with a machine that lost an earlier write fail with
// ErrAborted, which is safe to try again; they are not sent to the engine once that is
// known, and their other machines fail with them.
func TestCommitter_AfterAFailedOne(t *testing.T) {
	r := newCommitRig(t)
	r.refuse[keyOf("k", "a")] = ErrTooLarge
	acks := r.run(r.step("one", 1, "a"), r.step("two", 2, "a"))
	require.ErrorIs(t, acks[0].Err(), ErrTooLarge)
	require.ErrorIs(t, acks[1].Err(), ErrAborted, "in the same group")
	require.NotErrorIs(t, acks[1].Err(), ErrTooLarge)

	clear(r.refuse)
	acks = r.run(r.step("three", 3, "a", "b"), r.step("four", 1, "b", "c"), r.step("five", 1, "d"))
	require.ErrorIs(t, acks[0].Err(), ErrAborted, "in a later group")
	require.ErrorIs(t, acks[1].Err(), ErrAborted, "another machine of a step that was aborted")
	require.NoError(t, acks[2].Err())
	require.Equal(t, "commit "+key("d", 1), r.log[0])
	for _, name := range []string{"a", "b", "c"} {
		assert.True(t, r.machines[name].failed.Load(), name)
		assert.False(t, r.machines[name].doubt.Load(), name)
	}

	acks = r.run(r.step("six", 4, "a"))
	require.ErrorIs(t, acks[0].Err(), ErrAborted)
	require.Equal(t, []string{"release", "six failed", "notify false"}, r.log, "the engine is not asked for an empty group")
	r.machines["a"].failed.Store(false) // the machine was loaded again
	require.NoError(t, r.run(r.step("seven", 1, "a"))[0].Err())
}

// TestCommitter_Stops: after an error of the engine that leaves open what is stored, the
// group and everything queued after it is in doubt, each with the token of its own write,
// and the engine is never asked again. What the engine refused alone stays refused.
func TestCommitter_Stops(t *testing.T) {
	broken := errors.New("sync: input/output error")
	r := newCommitRig(t)
	r.commitErr = broken
	r.refuse[keyOf("k", "b")] = ErrTooLarge
	one := r.step("one", 1, "a")
	old := r.ack("old")
	one.acks = []*Ack{old}
	acks := r.run(one, r.step("two", 1, "b"), r.step("three", 2, "a"))
	require.Equal(t, []string{"committed 3", "stopped: " + broken.Error(), "release", "old failed", "one failed", "two failed", "three failed",
		"notify true"}, r.log[1:])
	require.ErrorIs(t, old.Err(), ErrInDoubt)
	for i, seq := range map[int]uint64{0: 1, 2: 2} {
		var doubt *InDoubtError
		require.ErrorAs(t, acks[i].Err(), &doubt)
		require.ErrorIs(t, acks[i].Err(), ErrInDoubt)
		require.ErrorIs(t, acks[i].Err(), broken)
		machine, tokenSeq, _, err := parseToken(doubt.Token)
		require.NoError(t, err)
		assert.Equal(t, key("a", seq), fmt.Sprint(machine, tokenSeq), "the token of the step's own write")
	}
	require.ErrorIs(t, acks[1].Err(), ErrTooLarge)
	require.NotErrorIs(t, acks[1].Err(), ErrInDoubt)
	assert.True(t, r.machines["a"].doubt.Load())
	assert.False(t, r.machines["b"].doubt.Load())
	assert.Zero(t, r.machines["a"].durable.Load())

	r.commitErr = nil
	clear(r.refuse)
	acks = r.run(r.step("four", 1, "c"), r.step("five", 1, "d", "e"))
	for _, a := range acks {
		require.ErrorIs(t, a.Err(), ErrInDoubt)
		require.ErrorIs(t, a.Err(), broken)
	}
	require.Equal(t, []string{"release", "four failed", "five failed", "notify true"}, r.log)
	for _, name := range []string{"c", "d", "e"} {
		assert.True(t, r.machines[name].doubt.Load(), name)
	}
	require.ErrorIs(t, *r.stopped.Load(), broken)
}

// TestCommitter_NothingStored: an error of the engine that promises that nothing is stored
// fails the group, and the committer goes on with the next.
func TestCommitter_NothingStored(t *testing.T) {
	r := newCommitRig(t)
	r.commitErr = fmt.Errorf("%w: %w", ErrDiskFull, engine.ErrNothingStored)
	acks := r.run(r.step("one", 1, "a"), r.step("two", 1, "b"), r.step("three", 2, "a"))
	for _, a := range acks {
		require.ErrorIs(t, a.Err(), ErrDiskFull)
		require.NotErrorIs(t, a.Err(), ErrInDoubt)
	}
	require.Equal(t, "notify false", r.log[len(r.log)-1])
	require.Nil(t, r.stopped.Load())
	assert.True(t, r.machines["a"].failed.Load())
	assert.False(t, r.machines["a"].doubt.Load())
	r.commitErr = nil
	require.NoError(t, r.run(r.step("four", 1, "c"))[0].Err())
}

// TestCommitter_InDoubtAlone: an engine may leave one step in doubt, and the others stored.
func TestCommitter_InDoubtAlone(t *testing.T) {
	r := newCommitRig(t)
	r.refuse[keyOf("k", "a")] = fmt.Errorf("%w: the network is gone", engine.ErrInDoubt)
	acks := r.run(r.step("one", 1, "a"), r.step("two", 1, "b"))
	var doubt *InDoubtError
	require.ErrorAs(t, acks[0].Err(), &doubt)
	assert.Equal(t, token(&engine.Write{Machine: keyOf("k", "a"), Seq: 1}), doubt.Token)
	require.NoError(t, acks[1].Err())
	assert.True(t, r.machines["a"].doubt.Load())
	require.Nil(t, r.stopped.Load())
}

// TestCommitter_Conflict: the engine's conflict becomes a *ConflictError of the machine,
// and its caller may decide again on the fresh state; a step after it is aborted.
func TestCommitter_Conflict(t *testing.T) {
	r := newCommitRig(t)
	r.refuse[keyOf("k", "a")] = &engine.Conflict{Machine: keyOf("k", "a"), Want: 4, Have: 7}
	old := r.ack("old")
	one := r.step("one", 5, "a")
	one.acks = []*Ack{old}
	acks := r.run(one, r.step("two", 6, "a"))
	var c *ConflictError
	require.ErrorAs(t, acks[0].Err(), &c)
	assert.Equal(t, ConflictError{Kind: "k", ID: "a", Want: 4, Have: 7}, *c)
	require.ErrorIs(t, old.Err(), ErrConflict)
	assert.True(t, acks[0].again)
	assert.False(t, acks[1].again)
	require.ErrorIs(t, acks[1].Err(), ErrAborted)
	assert.False(t, r.machines["a"].doubt.Load())
}
