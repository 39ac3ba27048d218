package enginetest

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/long"
)

// testHistory runs a random history against the engine and the model.
func testHistory(s *subject) {
	seed := number(s, "ENGINETEST_SEED", uint64(time.Now().UnixNano()))
	ops := number(s, "ENGINETEST_OPS", uint64(long.N(s.t, 4_000, 20_000)))
	s.t.Logf("replay with ENGINETEST_SEED=%d ENGINETEST_OPS=%d", seed, ops)
	h := newHistory(s, seed)
	for h.ops < int(ops) {
		h.group()
		h.reads()
		if h.one(8) {
			h.model.requireVersions(h.s)
		}
	}
	h.model.requireAll(s, h.machines, h.notes)
	s.reopen()
	h.model.requireAll(s, h.machines, h.notes)
	for what, n := range h.did {
		if ops < 5000 {
			break // too few operations for each of them to occur
		}
		require.Positive(s.t, n, "the history has no %s", what)
	}
	s.t.Logf("%d operations: %v, positions %d, numbers %d", h.ops, h.did, h.model.pos, len(h.model.numbers))
}

func number(s *subject, name string, unset uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return unset
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(s.t, err, name)
	return n
}

// history generates operations, which depend on the seed and the engine's limits
// only.
type history struct {
	s        *subject
	rng      *rand.Rand
	model    *model
	machines []string
	notes    []string
	across   bool
	largest  int // bytes of one value
	ops      int
	did      map[string]int
}

func newHistory(s *subject, seed uint64) *history {
	h := &history{
		s:        s,
		rng:      rand.New(rand.NewPCG(seed, 1)),
		model:    newModel(),
		machines: []string{"game\x001", "game\x0010", "game\x00100", "game\x002", "gam\x00e1", "g", "gg", "g\x00", "g\xff", "g\xff\xff", "h"},
		notes:    []string{"n", "nn", "n\x00", "kind/1", "g"},
		across:   s.e.Limits().AtomicAcross,
		largest:  40_000,
		did:      map[string]int{"write": 0, "refusal": 0, "purge": 0, "trim": 0, "restore": 0, "drop": 0, "skip": 0, "read": 0, "scan": 0, "note": 0},
	}
	for i := 0; i < len(hostileKeys); i += 2 {
		h.machines = append(h.machines, hostileKeys[i])
	}
	if limit := s.e.Limits().MaxStep; limit > 0 {
		h.largest = min(h.largest, limit/64)
	}
	return h
}

func (h *history) one(in int) bool { return h.rng.IntN(in) == 0 }

// group commits some steps at once. While it generates them it tracks the seqs of
// the machines, so that most steps of a chain are accepted.
func (h *history) group() {
	ahead := make(map[string]uint64)
	seq := func(machine string) uint64 {
		if at, ok := ahead[machine]; ok {
			return at
		}
		return h.model.seq(machine)
	}
	steps := make([]engine.Step, 1+h.rng.IntN(12))
	few := h.one(3) // few machines, for long chains
	for i := range steps {
		writes := 1
		if h.one(6) && (h.across || h.one(10)) {
			writes = 1 + h.rng.IntN(4)
		}
		var taken []string
		for range writes {
			machine := h.machine(few)
			for slices.Contains(taken, machine) {
				machine = h.machine(false)
			}
			taken = append(taken, machine)
			steps[i].Writes = append(steps[i].Writes, h.write(machine, seq(machine)))
		}
		if h.one(12) {
			h.poison(&steps[i])
			continue
		}
		if writes > 1 && !h.across {
			continue
		}
		for _, w := range steps[i].Writes {
			ahead[w.Machine] = w.Seq
			if w.Purge {
				ahead[w.Machine] = 0
			}
		}
	}
	out := h.s.commit(steps...)
	for i := range steps {
		require.NoError(h.s.t, h.model.take(steps[i], h.across, out[i]), "step %d of %d after %d operations: %.2000q", i, len(steps), h.ops, steps[i])
		h.count(steps[i], out[i])
	}
	for _, step := range steps {
		for _, w := range step.Writes {
			if h.one(8) {
				h.model.requireMachine(h.s, w.Machine, h.want(w.Machine))
			}
		}
	}
	h.ops += len(steps)
}

func (h *history) count(step engine.Step, r engine.Result) {
	if r.Err != nil {
		h.did["refusal"]++
		return
	}
	for _, w := range step.Writes {
		h.did["write"]++
		for what, is := range map[string]bool{"purge": w.Purge, "trim": w.TrimTo > 0, "restore": len(w.Restore) > 0, "drop": len(w.Drop) > 0, "skip": w.Seq > w.Expect+uint64(len(w.Events))} {
			if is {
				h.did[what]++
			}
		}
	}
}

func (h *history) machine(few bool) string {
	if few || h.one(2) {
		return h.machines[h.rng.IntN(6)]
	}
	return h.machines[h.rng.IntN(len(h.machines))]
}

// write returns a write that is valid after seq expect.
func (h *history) write(machine string, expect uint64) engine.Write {
	w := engine.Write{Machine: machine, Kind: h.rng.Uint32N(3), Schema: h.rng.Uint64N(5) << 40, Expect: expect}
	if h.one(60) {
		w.Purge = true
		return w
	}
	skip := uint64(0)
	if h.one(15) {
		skip = 1 + h.rng.Uint64N(20)
		if h.one(10) {
			skip <<= 20
		}
	}
	events := 1 + h.rng.IntN(4)
	if h.one(40) {
		events += h.rng.IntN(80)
	}
	if h.one(12) && expect+skip > 0 {
		events = 0
	}
	for range events {
		w.Events = append(w.Events, h.s.event(engine.Event{Bytes: h.bytes(events), Terms: terms(h.rng.Uint64())}))
	}
	w.Seq = expect + skip + uint64(events)
	w.Head = h.bytes(2)
	for i := range w.Token {
		w.Token[i] = byte(h.rng.Uint32())
	}
	if expect == 0 && h.one(2) {
		w.Snapshots = append(w.Snapshots, engine.Snapshot{Seq: 0, Bytes: h.bytes(4)})
	}
	for h.one(5) {
		seq := w.Seq
		if h.one(3) {
			seq = h.near(machine, w.Seq)
		}
		w.Snapshots = append(w.Snapshots, engine.Snapshot{Seq: seq, Bytes: h.bytes(4)})
	}
	for h.one(8) {
		w.Drop = append(w.Drop, h.near(machine, w.Seq))
	}
	if h.one(25) {
		w.TrimTo = min(w.Seq, h.near(machine, w.Seq))
	} else if h.one(20) {
		w.Restore = h.removed(machine, expect)
	}
	return w
}

// removed returns some or all of the removed events of the machine.
func (h *history) removed(machine string, expect uint64) []engine.StoredEvent {
	if h.model.machines[machine] == nil {
		return nil
	}
	some := h.one(2)
	return slices.DeleteFunc(h.model.removed(machine), func(o engine.StoredEvent) bool { return o.Seq > expect || some && h.one(3) })
}

// near returns a seq up to last: near last, or that of a snapshot of the machine.
func (h *history) near(machine string, last uint64) uint64 {
	at := last - min(last, h.rng.Uint64N(50))
	if mm := h.model.machines[machine]; mm != nil {
		var seqs []uint64
		for seq := range mm.snapshots {
			seqs = append(seqs, seq)
		}
		slices.Sort(seqs)
		if len(seqs) > 0 && h.one(2) {
			at = seqs[h.rng.IntN(len(seqs))]
		}
	}
	return min(at, last)
}

// bytes returns a value, one of the given number. It is mostly short, and the more
// of them there are, the less often it is long.
func (h *history) bytes(of int) []byte {
	n := h.rng.IntN(120)
	switch {
	case h.one(20):
		n = 0
	case h.one(30 * of):
		n = h.rng.IntN(6000)
	case h.one(150 * of):
		n = h.rng.IntN(h.largest + 1)
	}
	n = min(n, h.largest)
	if h.one(2) {
		return []byte(strings.Repeat(string(rune('a'+h.rng.IntN(26))), n))
	}
	return block(n, h.rng.Uint64())
}

// poison changes the step so that most likely it must be refused; the model decides.
func (h *history) poison(step *engine.Step) {
	w := &step.Writes[h.rng.IntN(len(step.Writes))]
	switch h.rng.IntN(10) {
	case 0:
		w.Expect++
		w.Seq++
	case 1:
		w.Expect -= min(w.Expect, 1)
	case 2:
		w.Expect = h.rng.Uint64N(10)
		w.Seq = w.Expect + uint64(len(w.Events))
	case 3:
		w.Seq = max(w.Expect+uint64(len(w.Events)), 1) - 1
	case 4:
		w.Machine = ""
	case 5:
		step.Writes = append(step.Writes, *w)
	case 6:
		w.Snapshots = append(w.Snapshots, engine.Snapshot{Seq: w.Seq + 1})
	case 7:
		w.TrimTo = w.Seq + 1
	case 8:
		w.Expect += 1 << 40
		w.Seq += 1 << 40
	case 9:
		w.TrimTo, w.Restore = 0, []engine.StoredEvent{{Seq: w.Expect + 1, Pos: 1}}
	}
}

// want returns any range for a Load of a machine.
func (h *history) want(machine string) engine.LoadRange {
	if h.one(4) {
		return everything
	}
	seq := h.model.seq(machine)
	bound := func() uint64 {
		switch h.rng.IntN(5) {
		case 0:
			return 0
		case 1:
			return engine.All
		case 2:
			return seq
		default:
			return h.near(machine, seq+1)
		}
	}
	return engine.LoadRange{
		Snapshot:   engine.SnapshotSelection(h.rng.IntN(3)),
		SnapshotTo: bound(),
		Events:     !h.one(5),
		After:      bound(),
		To:         bound(),
		Newest:     h.one(2),
	}
}

// query returns a query for some terms of an event, and some positions.
func (h *history) query() engine.Query {
	q := engine.Query{Newest: h.one(2)}
	at := func() uint64 { return h.model.pos - min(h.model.pos, h.rng.Uint64N(300)) }
	if h.one(2) {
		q.After = at()
	}
	if h.one(2) {
		q.Before = at()
	}
	t := terms(h.rng.Uint64())
	if h.one(2) {
		q.Name, q.Origin = t.Name, t.Origin
	}
	if h.one(3) {
		q.From, q.To = t.From, t.To
	}
	if h.one(3) {
		q.Actor = t.Actor
	}
	if h.one(4) {
		q.MinTime, q.MaxTime = -(1 << 62), t.Time
	}
	if h.one(5) {
		q.Kind = h.model.about[at()].kind
	}
	return q
}

// reads compares some reads with the model, seldom all of them, and sets notes.
func (h *history) reads() {
	for h.one(2) {
		machine := h.machine(false)
		h.model.requireMachine(h.s, machine, h.want(machine))
		h.ops++
		h.did["read"]++
	}
	if h.one(10) {
		prefix, after := "", ""
		if h.one(2) {
			prefix = h.machine(false)
			prefix = prefix[:h.rng.IntN(min(len(prefix), 5)+1)]
		}
		if h.one(2) {
			after = h.machine(false)
		}
		h.model.requireScan(h.s, prefix, after, h.rng.IntN(8))
		h.ops++
		h.did["scan"]++
	}
	if h.one(10) {
		h.note()
		h.ops++
	}
	if h.one(50) {
		h.model.requireFeed(h.s, h.model.pos-min(h.model.pos, h.rng.Uint64N(200)))
		h.model.requireQuery(h.s, h.query())
		h.ops++
	}
	if h.one(60) {
		h.model.requireAll(h.s, h.machines, h.notes)
	}
	if h.one(120) {
		h.s.reopen()
		h.model.requireAll(h.s, h.machines, h.notes)
	}
}

func (h *history) note() {
	name := h.notes[h.rng.IntN(len(h.notes))]
	h.did["note"]++
	switch h.rng.IntN(4) {
	case 0:
		h.model.requireNote(h.s, name)
	case 1:
		require.NoError(h.s.t, h.s.e.SetNote(h.s.ctx(), name, nil))
		delete(h.model.notes, name)
	default:
		value := append([]byte{}, h.bytes(4)...)
		h.model.notes[name] = string(value)
		require.NoError(h.s.t, h.s.e.SetNote(h.s.ctx(), name, value))
		overwrite(value)
	}
}
