package bolt

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

// batch is one Commit: the steps are taken one by one, each meeting what the
// ones before it left, and only then stored together, sorted by key, so that
// each page is changed once.
type batch struct {
	e          *Engine
	tx         *txn
	counters   fileCounters
	dirty      bool // a step was taken
	checksOnly bool // only checks and numbers are wanted: the group goes into the ring

	machines     map[string]*machineState
	touched      []*machineState
	owners       []*machineState // of each write of the step checked last
	events       []pendingEvent
	snapshots    []pendingSnapshot
	purged       []uint64 // machine numbers
	pos          []uint64 // room for the results of the next steps
	indexEntries []format.IndexEntry
	restored     []format.IndexEntry // of events that are put back
	from         uint64              // the last position before the group
	pages        format.PageBuilder

	versions versionCounts // what the file has once the group is stored; nil = as before

	spare   []*machineState
	values  []byte // where stored values live until the transaction ends
	block   []byte
	scratch []byte // for compression
	open    []byte // the block that goes on, decoded
	full    int    // see aim
	key     []byte
	keys    [][]byte
	part    [headPartLen]byte
	entries []format.Entry
	run     []pendingEvent  // of one machine
	order   []int32         // see byMachine
	busy    []*machineState // the same
	joiner  format.Joiner
}

// machineState is a machine that a group looks at or changes.
type machineState struct {
	key     string
	head    storedHead // number 0: it does not exist, or has nothing that can be found
	exists  bool
	changed bool
	stored  bool       // there is a head in the file
	before  storedHead // what the file has
	trimTo  uint64
	trim    bool // stored blocks up to trimThrough go

	trimThrough uint64
	refuse      error // why it cannot be written
	lost        bool  // the head in the file is damaged

	mem          *memtableMachine // of a group that goes into the ring
	events, next int              // its events in the group, and where the next of them goes
}

type pendingEvent struct {
	m      *machineState
	number uint64
	kind   uint32
	schema uint64
	entry  format.Entry
}

type pendingSnapshot struct {
	m      *machineState
	number uint64
	seq    uint64
	kind   uint32
	schema uint64
	bytes  []byte
	drop   bool
}

func (g *batch) begin(c fileCounters) {
	g.counters, g.from = c, c.pos
	if g.machines == nil {
		g.machines = map[string]*machineState{}
	}
}

// maxKept is the largest buffer kept for the next group.
const maxKept = 1 << 20

// end lets go of everything that is the caller's or the transaction's.
func (g *batch) end() {
	clear(g.machines)
	for _, m := range g.touched {
		*m = machineState{}
	}
	g.spare = append(g.spare, g.touched...)
	if len(g.spare) > 4096 {
		g.spare = nil
	}
	clear(g.touched)
	clear(g.owners[:cap(g.owners)])
	clear(g.events)
	clear(g.run[:cap(g.run)])
	clear(g.busy[:cap(g.busy)])
	clear(g.snapshots)
	clear(g.keys)
	clear(g.entries[:cap(g.entries)])
	g.tx, g.dirty, g.checksOnly, g.versions = nil, false, false, nil
	g.touched, g.events, g.snapshots, g.purged = g.touched[:0], g.events[:0], g.snapshots[:0], g.purged[:0]
	g.keys, g.entries, g.indexEntries, g.restored = g.keys[:0], g.entries[:0], g.indexEntries[:0], g.restored[:0]
	g.values = g.values[:0]
	for _, b := range []*[]byte{&g.values, &g.block, &g.scratch, &g.open} {
		if cap(*b) > maxKept {
			*b = nil
		}
	}
	g.joiner = format.Joiner{}
}

// take accepts a step or tells why not; a refused step changes nothing.
func (g *batch) take(s *engine.Step) error {
	if err := g.check(s); err != nil {
		return err
	}
	if len(s.Writes) > cap(g.pos)-len(g.pos) {
		g.pos = make([]uint64, 0, max(512, len(s.Writes)))
	}
	for i := range s.Writes {
		w := &s.Writes[i]
		m := g.owners[i]
		if w.Purge {
			g.purge(m)
		} else {
			g.apply(w, m)
		}
		g.pos = append(g.pos, m.head.pos)
		g.dirty = true
	}
	return nil
}

// positions are the results of the step taken last, the caller's to keep.
func (g *batch) positions(s *engine.Step) []uint64 {
	n := len(s.Writes)
	p := g.pos[:n:n]
	g.pos = g.pos[n:]
	return p
}

func (g *batch) check(s *engine.Step) error {
	if err := s.Check(); err != nil {
		return err
	}
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
		if n := w.Seq - w.Expect + 1; positions+n < positions || g.counters.pos+positions+n < positions+n {
			return fmt.Errorf("%w: machine %q goes on from seq %d to %d", engine.ErrTooLarge, w.Machine, w.Expect, w.Seq)
		} else {
			positions += n
		}
	}
	if size > g.e.opt.maxStep {
		return fmt.Errorf("%w: step of %d bytes, at most %d", engine.ErrTooLarge, size, g.e.opt.maxStep)
	}
	g.owners = g.owners[:0]
	for i := range s.Writes {
		w := &s.Writes[i]
		m := g.machine(w.Machine)
		g.owners = append(g.owners, m)
		if m.refuse != nil {
			return m.refuse
		}
		if m.head.seq != w.Expect {
			return &engine.Conflict{Machine: w.Machine, Want: w.Expect, Have: m.head.seq}
		}
	}
	return nil
}

// machine is where the group, or the file, has the machine.
func (g *batch) machine(key string) *machineState {
	if m := g.machines[key]; m != nil {
		return m
	}
	m := g.newMachine(key)
	g.read(m)
	return m
}

// read fills in what the file has of a machine.
func (g *batch) read(m *machineState) {
	g.key = append(g.key[:0], m.key...)
	b := g.tx.machines.get(g.key)
	if b == nil {
		return
	}
	m.stored, m.exists = true, true
	h, err := parseHead(b, g.key, g.e.opt.maxStep+valueSlack)
	switch {
	case errors.Is(err, format.ErrNewer) || errors.Is(err, format.ErrTooLong):
		m.refuse = &engine.Damage{Machine: m.key, Part: "head", Why: err}
	case err != nil:
		g.lost(m, h.number)
	}
	if err == nil {
		m.head = h
	}
	m.before = m.head
}

// newMachine is a machine that does not exist, as far as the group knows.
func (g *batch) newMachine(key string) *machineState {
	var m *machineState
	if n := len(g.spare); n > 0 {
		m, g.spare = g.spare[n-1], g.spare[:n-1]
	} else {
		m = new(machineState)
	}
	m.key = key
	g.machines[key] = m
	g.touched = append(g.touched, m)
	return m
}

// lost puts a damaged head where the newest item that can be found is.
func (g *batch) lost(m *machineState, number uint64) {
	m.lost = true
	if number == 0 || number > g.counters.number {
		return
	}
	m.head = storedHead{number: number, trims: rand.Uint32(), edits: rand.Uint32()}
	for _, t := range []*tree{&g.tx.events, &g.tx.snapshots} {
		cur := t.cursor()
		g.key = appendValueAfter(g.key[:0], number, engine.All)
		k, _ := cur.before(g.key)
		n, seq, _, ok := splitValueKey(k)
		if !ok || n != number {
			continue
		}
		if t == &g.tx.events {
			if b, err := g.blockAt(number, seq); err == nil {
				seq = b.Last
			}
		}
		m.head.seq = max(m.head.seq, seq)
	}
}

func (g *batch) purge(m *machineState) {
	if m.exists {
		g.counters.machines--
	}
	if m.head.number != 0 && m.head.number == m.before.number {
		g.purged = append(g.purged, m.head.number)
	}
	m.head, m.exists, m.changed, m.trimTo, m.lost = storedHead{}, false, true, 0, false
}

func (g *batch) apply(w *engine.Write, m *machineState) {
	if !m.exists {
		g.counters.machines++
	}
	h := &m.head
	if h.number == 0 {
		g.counters.number++
		*h = storedHead{number: g.counters.number}
	}
	m.exists, m.changed = true, true
	g.counters.pos += w.Seq - w.Expect
	if w.Seq > w.Expect {
		h.pos = g.counters.pos
	} else if m.lost && h.pos == 0 { // unknown
		g.counters.pos++
		h.pos = g.counters.pos
	}
	h.kind, h.schema, h.seq, h.token, h.bytes = w.Kind, w.Schema, w.Seq, w.Token, w.Head
	if g.checksOnly {
		return
	}
	g.trim(m, w.TrimTo)
	if n := len(w.Restore); n > 0 {
		g.trim(m, w.Restore[n-1].Seq)
		h.trims++ // a look under way has not seen them
	}
	for i := range w.Restore {
		o := &w.Restore[i]
		g.events = append(g.events, pendingEvent{m, h.number, w.Kind, w.Schema,
			format.Entry{Seq: o.Seq, Pos: o.Pos, Time: o.Terms.Time, Bytes: o.Bytes}})
		g.restored = append(g.restored, format.IndexEntry{Pos: o.Pos, Number: h.number, Seq: o.Seq, Time: o.Terms.Time, Terms: hashesOf(w.Kind, o.Bytes)})
	}
	for i := range w.Events {
		back := uint64(len(w.Events) - 1 - i)
		g.indexEntries = append(g.indexEntries, format.IndexEntry{Pos: h.pos - back, Number: h.number, Seq: w.Seq - back,
			Time: w.Events[i].Terms.Time, Terms: hashesOf(w.Kind, w.Events[i].Bytes)})
		if w.Seq-back <= w.TrimTo {
			continue
		}
		g.events = append(g.events, pendingEvent{m, h.number, w.Kind, w.Schema,
			format.Entry{Seq: w.Seq - back, Pos: h.pos - back, Time: w.Events[i].Terms.Time, Bytes: w.Events[i].Bytes}})
	}
	for _, seq := range w.Drop {
		g.snapshots = append(g.snapshots, pendingSnapshot{m: m, number: h.number, seq: seq, drop: true})
	}
	for i := range w.Snapshots {
		s := &w.Snapshots[i]
		g.snapshots = append(g.snapshots, pendingSnapshot{m: m, number: h.number, seq: s.Seq, kind: w.Kind, schema: w.Schema, bytes: s.Bytes})
	}
}

// store puts everything the taken steps ask for.
func (g *batch) store() error {
	for _, m := range g.touched {
		if m.trimTo > 0 && m.before.number != 0 && m.before.number == m.head.number {
			if err := g.planTrim(m); err != nil {
				return err
			}
		}
	}
	for _, number := range g.purged {
		g.e.dictionaries.forget(number)
		if err := g.tx.numbers.remove(appendNumberKey(nil, number)); err != nil {
			return err
		}
		for _, t := range []*tree{&g.tx.events, &g.tx.snapshots} {
			if _, err := g.remove(t, number, 0, engine.All); err != nil {
				return err
			}
		}
	}
	for _, m := range g.touched {
		if m.trim {
			if _, err := g.remove(&g.tx.events, m.head.number, 0, m.trimThrough); err != nil {
				return err
			}
		}
	}
	if err := g.storeEvents(); err != nil {
		return err
	}
	if err := g.storeSnapshots(); err != nil {
		return err
	}
	if err := g.storeHeads(); err != nil {
		return err
	}
	if err := g.storeIndex(); err != nil {
		return err
	}
	if err := g.storeVersions(); err != nil {
		return err
	}
	g.reserve(format.HeaderLen + 24)
	return g.tx.counters.put(countersLast, g.keep(g.counters.append(g.values[len(g.values):])))
}

func (g *batch) storeSnapshots() error {
	slices.SortStableFunc(g.snapshots, func(a, b pendingSnapshot) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.seq, b.seq))
	})
	dictionaries, err := g.chooseDictionaries()
	if err != nil {
		return err
	}
	for i := range g.snapshots {
		s := &g.snapshots[i]
		if s.number != s.m.head.number {
			continue // purged
		}
		if i+1 < len(g.snapshots) && g.snapshots[i+1].number == s.number && g.snapshots[i+1].seq == s.seq {
			continue // the last word counts
		}
		if s.number == s.m.before.number {
			removed, err := g.remove(&g.tx.snapshots, s.number, s.seq, s.seq)
			if err != nil {
				return err
			}
			if removed > 0 || !s.drop && s.seq <= s.m.before.seq {
				s.m.head.edits++
			}
		}
		if s.drop {
			continue
		}
		h := format.Header{Type: format.TypeSnapshot, Kind: s.kind, Number: s.number, Seq: s.seq, Schema: s.schema}
		d := dictionaries[s.kind]
		if record.Pinned(s.bytes) { // what a machine is rebuilt from needs nothing else
			d = nil
		}
		payload := g.encode(&h, s.bytes, d)
		if err := g.putEncoded(&g.tx.snapshots, h, payload); err != nil {
			return err
		}
	}
	return nil
}

func (g *batch) storeHeads() error {
	slices.SortFunc(g.touched, func(a, b *machineState) int { return strings.Compare(a.key, b.key) })
	for _, m := range g.touched {
		if !m.changed {
			continue
		}
		if m.exists && m.head.number != m.before.number {
			if err := g.putNumber(m.head.number, m.key); err != nil {
				return err
			}
		}
		g.key = append(g.key[:0], m.key...)
		if !m.exists {
			if err := g.tx.machines.remove(g.key); err != nil {
				return err
			}
			continue
		}
		g.reserve(format.HeaderLen + headPartLen + len(m.head.bytes))
		if err := g.tx.machines.put(g.key, g.keep(m.head.append(g.values[len(g.values):], g.key, &g.part))); err != nil {
			return err
		}
	}
	return nil
}

// put stores a payload, compressed if that is worth it, in pieces if it is long.
func (g *batch) put(t *tree, h format.Header, payload []byte) error {
	return g.putEncoded(t, h, g.encode(&h, payload, nil))
}

// encode compresses a payload, if that is worth it, with a dictionary if there is
// one, and tells the header.
func (g *batch) encode(h *format.Header, payload []byte, d *format.Dictionary) []byte {
	h.Raw, h.Codec = uint32(len(payload)), format.Raw
	switch {
	case g.e.opt.noCompression:
	case d != nil:
		payload, h.Codec, g.scratch = d.Encode(g.scratch, payload)
	default:
		payload, h.Codec, g.scratch = format.Encode(g.scratch, payload)
	}
	return payload
}

func (g *batch) putEncoded(t *tree, h format.Header, payload []byte) error {
	cutter := format.Cut(h, payload)
	for {
		g.reserve(format.LongestValue)
		value, piece, ok := cutter.Next(g.values[len(g.values):])
		if !ok {
			return nil
		}
		g.key = appendPieceKey(g.key[:0], h.Number, h.Seq, piece)
		if err := t.put(g.key, g.keep(value)); err != nil {
			return err
		}
	}
}

// reserve makes the arena have room for n more bytes. Values in an older arena
// stay where they are.
func (g *batch) reserve(n int) {
	if cap(g.values)-len(g.values) < n {
		g.values = make([]byte, 0, max(n, 64<<10, min(2*cap(g.values), maxKept)))
	}
}

// keep counts the value just appended behind the arena as part of it.
func (g *batch) keep(value []byte) []byte {
	g.values = g.values[:len(g.values)+len(value)]
	return value[:len(value):len(value)]
}
