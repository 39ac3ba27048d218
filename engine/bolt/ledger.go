package bolt

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// ledger checks the steps of one group and assigns their machine numbers and
// positions. Steps are taken one by one, each is checked against the heads that
// the accepted steps before it left. A ledger changes nothing in the file.
type ledger struct {
	opt  *config
	path string // for the log
	tx   *txn   // where heads are read; nil between transactions

	counters fileCounters // after the step accepted last
	from     uint64       // the last position before the group
	dirty    bool         // at least one step was accepted

	machines map[string]*machineState
	touched  []*machineState // the values of machines, in the order of their first use
	spare    []*machineState // zero values to use again
	owners   []*machineState // one per write of the step that was checked last
	pos      []uint64        // free memory for the results of the next steps
	key      []byte          // scratch
}

// machineState is a machine that a group reads or changes.
type machineState struct {
	key    string
	head   storedHead // after the steps accepted so far; number 0 if nothing of the machine can be found
	before storedHead // in the file, before the group

	exists  bool
	changed bool
	stored  bool  // the file has a head for the key
	lost    bool  // the head in the file is damaged
	refuse  error // why the machine cannot be written; nil if it can

	// Used by batch only, which stores the group in the buckets.
	trimTo       uint64 // events up to this seq are removed; 0 = none
	trimBlocks   bool   // blocks of the file up to trimThrough are removed
	trimThrough  uint64
	events, next int // the number of its events in the group; the place of the next of them in blockWriter.order

	mem *memtableMachine // used by journalWriter only: the machine in the memtable
}

// maxSpare is how many machineStates are kept for the next group.
const maxSpare = 4096

// begin starts a group after the counters c.
func (l *ledger) begin(c fileCounters) {
	l.counters, l.from = c, c.pos
	if l.machines == nil {
		l.machines = map[string]*machineState{}
	}
}

// end drops everything that belongs to the caller or to the transaction.
func (l *ledger) end() {
	clear(l.machines)
	for _, m := range l.touched {
		*m = machineState{}
	}
	l.spare = append(l.spare, l.touched...)
	if len(l.spare) > maxSpare {
		l.spare = nil
	}
	clear(l.touched)
	clear(l.owners[:cap(l.owners)])
	l.touched, l.owners = l.touched[:0], l.owners[:0]
	l.tx, l.dirty = nil, false
}

// take accepts a step, or refuses it with an error; a refused step changes nothing.
func (l *ledger) take(s *engine.Step) error {
	if err := l.check(s); err != nil {
		return err
	}
	if len(s.Writes) > cap(l.pos)-len(l.pos) {
		l.pos = make([]uint64, 0, max(512, len(s.Writes)))
	}
	for i := range s.Writes {
		w := &s.Writes[i]
		m := l.owners[i]
		if w.Purge {
			l.purge(m)
		} else {
			l.apply(w, m)
		}
		l.pos = append(l.pos, m.head.pos)
		l.dirty = true
	}
	return nil
}

// positions returns the positions of the step that was taken last; the caller may keep them.
func (l *ledger) positions(s *engine.Step) []uint64 {
	n := len(s.Writes)
	p := l.pos[:n:n]
	l.pos = l.pos[n:]
	return p
}

// check returns the error of a step that cannot be accepted. It sets owners.
func (l *ledger) check(s *engine.Step) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := l.checkSizes(s); err != nil {
		return err
	}
	l.owners = l.owners[:0]
	for i := range s.Writes {
		w := &s.Writes[i]
		m := l.machine(w.Machine)
		l.owners = append(l.owners, m)
		if m.refuse != nil {
			return m.refuse
		}
		if m.head.seq != w.Expect {
			return &engine.Conflict{Machine: w.Machine, Want: w.Expect, Have: m.head.seq}
		}
	}
	return nil
}

// checkSizes checks what needs no head: the length of keys, the bytes of the step,
// and that positions do not overflow.
func (l *ledger) checkSizes(s *engine.Step) error {
	size, positions := 0, uint64(0)
	for i := range s.Writes {
		w := &s.Writes[i]
		if len(w.Machine) > maxKey {
			return fmt.Errorf("%w: the key of machine %.32q... has %d bytes, at most %d", engine.ErrTooLarge, w.Machine, len(w.Machine), maxKey)
		}
		if w.Purge {
			continue
		}
		size += len(w.Head)
		for j := range w.Events {
			size += len(w.Events[j].Bytes)
		}
		for j := range w.Snapshots {
			size += len(w.Snapshots[j].Bytes)
		}
		for j := range w.Restore {
			size += len(w.Restore[j].Bytes)
		}
		n := w.Seq - w.Expect + 1
		if positions+n < positions || l.counters.pos+positions+n < positions+n {
			return fmt.Errorf("%w: machine %q: a write from seq %d to %d exceeds the largest position", engine.ErrTooLarge, w.Machine, w.Expect, w.Seq)
		}
		positions += n
	}
	if size > l.opt.maxStep {
		return fmt.Errorf("%w: step of %d bytes, at most %d", engine.ErrTooLarge, size, l.opt.maxStep)
	}
	return nil
}

// machine returns the state of a machine after the steps accepted so far.
func (l *ledger) machine(key string) *machineState {
	if m := l.machines[key]; m != nil {
		return m
	}
	m := l.newMachine(key)
	l.read(m)
	return m
}

// newMachine adds a machine that does not exist yet, as far as the group knows.
func (l *ledger) newMachine(key string) *machineState {
	var m *machineState
	if n := len(l.spare); n > 0 {
		m, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		m = new(machineState)
	}
	m.key = key
	l.machines[key] = m
	l.touched = append(l.touched, m)
	return m
}

// read sets m to what the file has of the machine.
func (l *ledger) read(m *machineState) {
	l.key = append(l.key[:0], m.key...)
	b := l.tx.machines.get(l.key)
	if b == nil {
		return
	}
	m.stored, m.exists = true, true
	h, err := parseHead(b, l.key, l.opt.maxValue())
	switch {
	case errors.Is(err, format.ErrNewer) || errors.Is(err, format.ErrTooLong):
		m.refuse = &engine.Damage{Machine: m.key, Part: "head", Why: err}
	case err != nil:
		l.lost(m, h.number)
	default:
		m.head = h
	}
	m.before = m.head
}

// lost replaces a damaged head by one at the seq of the newest item that can be
// found under the machine's number. number is 0 where the head does not show it.
func (l *ledger) lost(m *machineState, number uint64) {
	m.lost = true
	if number == 0 || number > l.counters.number {
		return
	}
	m.head = storedHead{number: number, trims: rand.Uint32(), edits: rand.Uint32()}
	for _, t := range []*tree{&l.tx.events, &l.tx.snapshots} {
		cur := t.cursor()
		l.key = appendValueAfter(l.key[:0], number, engine.All)
		k, _ := cur.before(l.key)
		n, seq, _, ok := splitValueKey(k)
		if !ok || n != number {
			continue
		}
		if t == &l.tx.events {
			r := blockReader{limit: l.opt.maxValue()}
			if b, err := r.read(l.tx, number, seq); err == nil {
				seq = b.Last
			}
		}
		m.head.seq = max(m.head.seq, seq)
	}
}

// purge removes a machine.
func (l *ledger) purge(m *machineState) {
	if m.exists {
		l.counters.machines--
	}
	m.head, m.exists, m.changed, m.trimTo, m.lost = storedHead{}, false, true, 0, false
}

// apply sets the head of a machine to what an accepted write leaves.
func (l *ledger) apply(w *engine.Write, m *machineState) {
	if !m.exists {
		l.counters.machines++
	}
	h := &m.head
	if h.number == 0 {
		l.counters.number++
		*h = storedHead{number: l.counters.number}
	}
	m.exists, m.changed = true, true
	l.counters.pos += w.Seq - w.Expect
	if w.Seq > w.Expect {
		h.pos = l.counters.pos
	} else if m.lost && h.pos == 0 { // its position is unknown: it gets a new one
		l.counters.pos++
		h.pos = l.counters.pos
	}
	h.kind, h.schema, h.seq, h.token, h.bytes = w.Kind, w.Schema, w.Seq, w.Token, w.Head
}

// adoptHead replaces a damaged head by the one that the journal's write w implies:
// the head was valid when the write was accepted, and the write replaces it.
func (l *ledger) adoptHead(m *machineState, w *format.StepWrite) {
	damaged := m.refuse == nil && m.lost || m.refuse != nil && !errors.Is(m.refuse, format.ErrNewer)
	if !damaged || w.Expect == 0 {
		return
	}
	l.opt.logger.Warn("a damaged head is replaced by the journal's", "file", l.path, "machine", m.key)
	m.head = storedHead{number: w.Number, seq: w.Expect, pos: w.Pos - (w.Seq - w.Expect), trims: rand.Uint32(), edits: rand.Uint32()}
	m.before, m.lost, m.refuse = m.head, false, nil
}

// versionChanges returns how the group changes the number of heads per version, nil
// if it does not.
func (l *ledger) versionChanges() (change versionCounts) {
	count := func(h *storedHead, by int64) {
		if change == nil {
			change = versionCounts{}
		}
		change[versionOf{h.kind, h.schema}] += by
	}
	for _, m := range l.touched {
		if !m.changed || m.stored && m.exists && m.before.kind == m.head.kind && m.before.schema == m.head.schema {
			continue
		}
		if m.stored {
			count(&m.before, -1)
		}
		if m.exists {
			count(&m.head, 1)
		}
	}
	return change
}
