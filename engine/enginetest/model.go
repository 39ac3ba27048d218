package enginetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// model holds in plain maps what the engine should hold.
type model struct {
	machines map[string]*modelMachine
	notes    map[string]string
	numbers  map[uint64]string // key of the machine of each number seen so far
	pos      uint64            // the last position assigned
	about    map[uint64]about  // of every event ever stored, by pos
}

type modelMachine struct {
	number    uint64 // 0 until the machine was read
	seq, pos  uint64
	token     [16]byte
	kind      uint32
	schema    uint64
	head      string
	events    map[uint64]item
	snapshots map[uint64]item
	trimmed   map[uint64]item // events that were removed
}

func newModel() *model {
	return &model{machines: map[string]*modelMachine{}, notes: map[string]string{}, numbers: map[uint64]string{}, about: map[uint64]about{}}
}

func (m *model) seq(machine string) uint64 {
	if mm := m.machines[machine]; mm != nil {
		return mm.seq
	}
	return 0
}

// take compares the result of a step with the expected one, and applies the step to
// the model unless it should be refused.
func (m *model) take(step engine.Step, across bool, r engine.Result) error {
	if broken(step) || !across && len(step.Writes) > 1 {
		if r.Err == nil || r.Pos != nil {
			return fmt.Errorf("a step that breaks a rule is not refused: %+v", r)
		}
		return nil
	}
	conflict := false
	for _, w := range step.Writes {
		conflict = conflict || w.Expect != m.seq(w.Machine)
	}
	if conflict {
		return m.conflict(step, r)
	}
	if r.Err != nil {
		return fmt.Errorf("a good step is refused: %w", r.Err)
	}
	if len(r.Pos) != len(step.Writes) {
		return fmt.Errorf("%d positions for %d writes", len(r.Pos), len(step.Writes))
	}
	for i, w := range step.Writes {
		if err := m.write(w, r.Pos[i]); err != nil {
			return fmt.Errorf("write %d: %w", i, err)
		}
	}
	return nil
}

// conflict checks that the reported conflict is one that the step has.
func (m *model) conflict(step engine.Step, r engine.Result) error {
	var c *engine.Conflict
	if !errors.As(r.Err, &c) || r.Pos != nil {
		return fmt.Errorf("a conflict is not reported: %+v", r)
	}
	for _, w := range step.Writes {
		if w.Machine == c.Machine && w.Expect == c.Want && m.seq(w.Machine) == c.Have && c.Want != c.Have {
			return nil
		}
	}
	return fmt.Errorf("not a conflict of this step: %w", c)
}

// broken reports whether a step breaks a rule of the contract. It does not use
// Step.Check.
func broken(step engine.Step) bool {
	machines := map[string]int{}
	for _, w := range step.Writes {
		machines[w.Machine]++
		if w.Machine == "" || machines[w.Machine] > 1 {
			return true
		}
		if w.Purge {
			continue
		}
		if w.Seq < 1 || w.Seq < w.Expect+uint64(len(w.Events)) || w.TrimTo > w.Seq {
			return true
		}
		for _, s := range w.Snapshots {
			if s.Seq > w.Seq {
				return true
			}
		}
		for i, o := range w.Restore {
			if w.TrimTo > 0 || o.Seq == 0 || o.Seq > w.Expect || o.Pos == 0 || i > 0 && (o.Seq <= w.Restore[i-1].Seq || o.Pos <= w.Restore[i-1].Pos) {
				return true
			}
		}
	}
	return false
}

func (m *model) write(w engine.Write, pos uint64) error {
	mm := m.machines[w.Machine]
	if w.Purge {
		delete(m.machines, w.Machine)
		if pos != 0 {
			return fmt.Errorf("purge has pos %d", pos)
		}
		return nil
	}
	if mm == nil {
		mm = &modelMachine{events: map[uint64]item{}, snapshots: map[uint64]item{}, trimmed: map[uint64]item{}}
		m.machines[w.Machine] = mm
	}
	if taken := w.Seq - w.Expect; taken == 0 {
		if pos != mm.pos {
			return fmt.Errorf("pos %d of a write without events, the head's was %d", pos, mm.pos)
		}
	} else if pos < m.pos+taken {
		return fmt.Errorf("pos %d of a write of %d, the last one given was %d", pos, taken, m.pos)
	} else {
		m.pos = pos
	}
	mm.seq, mm.pos, mm.token, mm.head = w.Seq, pos, w.Token, string(w.Head)
	mm.kind, mm.schema = w.Kind, w.Schema
	for i, ev := range w.Events {
		back := uint64(len(w.Events) - 1 - i)
		mm.events[w.Seq-back] = item{engine.PartEvent, w.Seq - back, pos - back, string(ev.Bytes)}
		m.about[pos-back] = about{w.Kind, ev.Terms}
	}
	mm.trim(w.TrimTo)
	if n := len(w.Restore); n > 0 {
		mm.trim(w.Restore[n-1].Seq)
	}
	for _, o := range w.Restore {
		mm.events[o.Seq] = item{engine.PartEvent, o.Seq, o.Pos, string(o.Bytes)}
		m.about[o.Pos] = about{w.Kind, o.Terms}
	}
	for _, seq := range w.Drop {
		delete(mm.snapshots, seq)
	}
	for _, s := range w.Snapshots {
		mm.snapshots[s.Seq] = item{engine.PartSnapshot, s.Seq, 0, string(s.Bytes)}
	}
	return nil
}

func (mm *modelMachine) trim(to uint64) {
	for seq, it := range mm.events {
		if seq <= to {
			mm.trimmed[seq] = it
			delete(mm.events, seq)
		}
	}
}

// removed returns the removed events of a machine, for Write.Restore.
func (m *model) removed(machine string) (out []engine.StoredEvent) {
	mm := m.machines[machine]
	for _, seq := range slices.Sorted(maps.Keys(mm.trimmed)) {
		it := mm.trimmed[seq]
		out = append(out, engine.StoredEvent{Seq: seq, Pos: it.pos, Event: engine.Event{Bytes: []byte(it.bytes), Terms: m.about[it.pos].Terms}})
	}
	return out
}

// keys returns the keys of the machines, sorted.
func (m *model) keys() []string { return slices.Sorted(maps.Keys(m.machines)) }

// items returns what a Load of want should deliver.
func (mm *modelMachine) items(want engine.LoadRange) []item {
	after := want.After
	var snapshots, events []item
	for _, seq := range slices.Sorted(maps.Keys(mm.snapshots)) {
		if want.Snapshot != engine.NoSnapshot && seq <= want.SnapshotTo {
			snapshots = append(snapshots, mm.snapshots[seq])
		}
	}
	if want.Snapshot == engine.NewestSnapshot && len(snapshots) > 0 {
		snapshots = snapshots[len(snapshots)-1:]
		after = max(after, snapshots[0].seq)
	}
	for _, seq := range slices.Sorted(maps.Keys(mm.events)) {
		if want.Events && after < seq && seq <= want.To {
			events = append(events, mm.events[seq])
		}
	}
	if want.Newest {
		return newestFirst(snapshots, events)
	}
	return append(snapshots, events...)
}

// requireHead compares a head, and stores the number of a machine that was not read
// before.
func (m *model) requireHead(s *subject, machine string, h engine.Head) {
	s.t.Helper()
	mm := m.machines[machine]
	if mm == nil {
		require.Equal(s.t, engine.Head{}, h, "machine %.40q is not there", machine)
		return
	}
	if mm.number == 0 {
		require.NotZero(s.t, h.Number, "machine %.40q is there", machine)
		whose, given := m.numbers[h.Number]
		require.False(s.t, given, "number %d of %.40q was that of %.40q", h.Number, machine, whose)
		mm.number = h.Number
		m.numbers[h.Number] = machine
	}
	if h.Number != mm.number || h.Seq != mm.seq || h.Pos != mm.pos || h.Token != mm.token || string(h.Bytes) != mm.head || h.Err != nil {
		want := engine.Head{Number: mm.number, Seq: mm.seq, Pos: mm.pos, Token: mm.token, Bytes: []byte(mm.head)}
		require.Equal(s.t, want, h, "head of %.40q", machine)
	}
}

// requireMachine compares one Load.
func (m *model) requireMachine(s *subject, machine string, want engine.LoadRange) {
	s.t.Helper()
	h, items := s.load(machine, want)
	m.requireHead(s, machine, h)
	var expected []item
	if mm := m.machines[machine]; mm != nil {
		expected = mm.items(want)
	}
	if !slices.Equal(expected, items) {
		require.Equal(s.t, expected, items, "items of %.40q, want %+v", machine, want)
	}
}

// requireScan compares one Scan and its heads.
func (m *model) requireScan(s *subject, prefix, after string, limit int) {
	s.t.Helper()
	got := s.scan(prefix, after, limit)
	var keys []string
	for _, at := range got {
		keys = append(keys, at.machine)
	}
	require.Equal(s.t, scanned(m.keys(), prefix, after, limit), keys, "scan prefix %.40q after %.40q limit %d", prefix, after, limit)
	for _, at := range got {
		m.requireHead(s, at.machine, at.head)
	}
}

func (m *model) requireNote(s *subject, name string) {
	s.t.Helper()
	got, err := s.e.Note(s.ctx(), name)
	require.NoError(s.t, err)
	want, there := m.notes[name]
	require.Equal(s.t, there, got != nil, "note %q is there", name)
	require.Equal(s.t, want, string(got), "note %q", name)
}

// requireAll compares everything, and some machines and notes that do not exist.
func (m *model) requireAll(s *subject, machines, notes []string) {
	s.t.Helper()
	m.requireScan(s, "", "", 0)
	for _, machine := range machines {
		m.requireMachine(s, machine, everything)
	}
	for _, name := range notes {
		m.requireNote(s, name)
	}
	m.requireFeed(s, 0)
	size, err := s.e.Size(s.ctx())
	require.NoError(s.t, err)
	require.Equal(s.t, int64(len(m.machines)), size.Machines)
	m.requireVersions(s)
}

// requireVersions compares the counts of all kinds, and of one that does not exist.
func (m *model) requireVersions(s *subject) {
	s.t.Helper()
	want := map[uint32]map[uint64]int64{4711: {}}
	for _, mm := range m.machines {
		if want[mm.kind] == nil {
			want[mm.kind] = map[uint64]int64{}
		}
		want[mm.kind][mm.schema]++
	}
	for kind, counts := range want {
		got, err := s.e.Versions(s.ctx(), kind)
		require.NoError(s.t, err)
		require.Equal(s.t, counts, got, "versions of kind %d", kind)
	}
}
