package enginetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// subject is the engine under test.
type subject struct {
	t      *testing.T
	config Config
	e      engine.Engine
}

func start(t *testing.T, c Config) *subject {
	s := &subject{t: t, config: c, e: c.Open(t)}
	t.Cleanup(func() { require.NoError(t, s.e.Close()) })
	return s
}

// reopen opens the engine again, if it stores anything durably.
func (s *subject) reopen() {
	s.t.Helper()
	if s.config.Reopen != nil {
		s.e = s.config.Reopen(s.t, s.e)
		require.NotNil(s.t, s.e)
	}
}

// across skips a test of steps with several machines if the engine has none.
func (s *subject) across() {
	if !s.e.Limits().AtomicAcross {
		s.t.Skip("the engine has no steps across machines")
	}
}

func (s *subject) ctx() context.Context { return s.t.Context() }

// commit passes a copy of the steps to the engine and overwrites the copy
// afterwards, so that a slice that the engine kept becomes visible as a difference.
func (s *subject) commit(steps ...engine.Step) []engine.Result {
	s.t.Helper()
	out, err := commit(s.ctx(), s.e, steps)
	require.NoError(s.t, err)
	return out
}

func commit(ctx context.Context, e engine.Engine, steps []engine.Step) ([]engine.Result, error) {
	lent := make([]engine.Step, len(steps))
	for i := range steps {
		lent[i] = cloneStep(steps[i])
	}
	out := make([]engine.Result, len(steps))
	for i := range out { // the engine has to set both fields
		out[i] = engine.Result{Pos: []uint64{1 << 60}, Err: errors.New("left over")}
	}
	err := e.Commit(ctx, lent, out)
	for i := range lent {
		overwriteStep(lent[i])
	}
	clear(lent)
	return out, err
}

func cloneStep(step engine.Step) engine.Step {
	writes := slices.Clone(step.Writes)
	for i := range writes {
		w := &writes[i]
		w.Events = slices.Clone(w.Events)
		for j := range w.Events {
			w.Events[j].Bytes = bytes.Clone(w.Events[j].Bytes)
		}
		w.Snapshots = slices.Clone(w.Snapshots)
		for j := range w.Snapshots {
			w.Snapshots[j].Bytes = bytes.Clone(w.Snapshots[j].Bytes)
		}
		w.Restore = slices.Clone(w.Restore)
		for j := range w.Restore {
			w.Restore[j].Bytes = bytes.Clone(w.Restore[j].Bytes)
		}
		w.Head = bytes.Clone(w.Head)
		w.Drop = slices.Clone(w.Drop)
	}
	return engine.Step{Writes: writes}
}

func overwriteStep(step engine.Step) {
	for i := range step.Writes {
		w := &step.Writes[i]
		for j := range w.Events {
			overwrite(w.Events[j].Bytes)
		}
		for j := range w.Snapshots {
			overwrite(w.Snapshots[j].Bytes)
		}
		for j := range w.Restore {
			overwrite(w.Restore[j].Bytes)
		}
		overwrite(w.Head)
		clear(w.Events)
		clear(w.Snapshots)
		clear(w.Restore)
		clear(w.Drop)
	}
	clear(step.Writes)
}

func overwrite(b []byte) {
	for i := range b {
		b[i] ^= 0xA5
	}
}

// store commits each write as a step of its own, all in one group, and returns the
// position of each. None may be refused.
func (s *subject) store(writes ...engine.Write) []uint64 {
	s.t.Helper()
	steps := make([]engine.Step, len(writes))
	for i, w := range writes {
		steps[i] = step(w)
	}
	pos := make([]uint64, len(writes))
	for i, r := range s.commit(steps...) {
		require.NoError(s.t, r.Err, "step %d", i)
		require.Len(s.t, r.Pos, 1, "step %d", i)
		pos[i] = r.Pos[0]
	}
	return pos
}

func step(writes ...engine.Write) engine.Step { return engine.Step{Writes: writes} }

// item is a copy of an engine.Item that is valid after the callback and can be
// compared with ==.
type item struct {
	part     engine.Part
	seq, pos uint64
	bytes    string
}

// everything selects all items of a machine.
var everything = engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Events: true, To: engine.All}

// load returns the head and the items. It overwrites the head's bytes, which are
// the caller's, and returns a copy of them.
func (s *subject) load(machine string, want engine.LoadRange) (engine.Head, []item) {
	s.t.Helper()
	h, items, err := load(s.ctx(), s.e, machine, want)
	require.NoError(s.t, err, "load %.40q %+v", machine, want)
	return h, items
}

func load(ctx context.Context, e engine.Engine, machine string, want engine.LoadRange) (engine.Head, []item, error) {
	var items []item
	h, err := e.Load(ctx, machine, want, func(it engine.Item) error {
		if it.Err != nil {
			return it.Err
		}
		if it.Last != it.Seq {
			return errors.New("an item that is not damaged has a Last that is not its Seq")
		}
		items = append(items, item{it.Part, it.Seq, it.Pos, string(it.Bytes)})
		return nil
	})
	own := bytes.Clone(h.Bytes)
	overwrite(h.Bytes)
	h.Bytes = own
	return h, items, err
}

// heading holds the arguments of one call of Scan's callback.
type heading struct {
	machine string
	head    engine.Head
}

func (s *subject) scan(prefix, after string, limit int) []heading {
	s.t.Helper()
	var got []heading
	err := s.e.Scan(s.ctx(), prefix, after, limit, func(machine string, h engine.Head) error {
		h.Bytes = bytes.Clone(h.Bytes)
		got = append(got, heading{machine, h})
		return h.Err
	})
	require.NoError(s.t, err, "scan prefix %.40q after %.40q limit %d", prefix, after, limit)
	return got
}

func (s *subject) scanKeys(prefix, after string, limit int) []string {
	s.t.Helper()
	var keys []string
	for _, at := range s.scan(prefix, after, limit) {
		keys = append(keys, at.machine)
	}
	return keys
}

// stored is everything that an engine holds of one machine.
type stored struct {
	head  engine.Head
	items []item
}

// all reads everything of every machine.
func (s *subject) all() map[string]stored {
	s.t.Helper()
	all := make(map[string]stored)
	for _, at := range s.scan("", "", 0) {
		h, items := s.load(at.machine, everything)
		require.Equal(s.t, at.head, h, "head of %.40q in Scan and Load", at.machine)
		all[at.machine] = stored{h, items}
	}
	return all
}
