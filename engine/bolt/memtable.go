package bolt

import (
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/liap-tui/savepoint/internal/format"
)

// memtable holds what only the journal holds: the groups as they were appended, and
// for each machine where its writes are in them, newest first. Nothing is kept
// decoded (R10).
//
// It consists of generations: a checkpoint stores the generations that it has
// frozen, groups that come meanwhile go into the active one, and what was stored
// is released as a whole.
//
// A reader copies a machine's refs first and starts its read transaction then. What
// a checkpoint stored in between is in the transaction, which shows it by its
// checkpointed LSN. Refs keep their groups in memory, so a release takes nothing
// away from a reader.
type memtable struct {
	mu          sync.RWMutex
	generations []*generation // oldest first; the last one is active
}

// generation is the part of a memtable that is frozen and released as a whole.
type generation struct {
	id       uint64
	machines map[string]int32 // index in newest
	newest   []*entryRef      // the newest write of each machine
	entries  []journalEntry
	bytes    int64 // of the entries
}

// last returns the machine's newest write, or nil.
func (g *generation) last(machine string) *entryRef {
	if i, ok := g.machines[machine]; ok {
		return g.newest[i]
	}
	return nil
}

// journalEntry is the payload of one journal record: one group.
type journalEntry struct {
	lsn     uint64
	payload []byte
}

// entryRef is one machine's write in an entry.
type entryRef struct {
	lsn    uint64
	write  []byte
	before *entryRef // the machine's write before it, in the same generation
}

// writeSpan is where the write of a machine is in a payload.
type writeSpan struct {
	machine  string
	mem      *memtableMachine // nil if the committer does not know the machine
	from, to int
}

func newMemtable() *memtable {
	return &memtable{generations: []*generation{newGeneration(1, 0)}}
}

// newGeneration returns an empty generation with memory for a number of machines.
func newGeneration(id uint64, machines int) *generation {
	return &generation{id: id, machines: make(map[string]int32, machines)}
}

// active returns the generation that add fills. The caller holds mu.
func (t *memtable) active() *generation { return t.generations[len(t.generations)-1] }

// add adds a durable group. The memtable owns the payload from now on.
func (t *memtable) add(entry journalEntry, spans []writeSpan) {
	refs := make([]entryRef, len(spans))
	t.mu.Lock()
	defer t.mu.Unlock()
	gen := t.active()
	gen.entries = append(gen.entries, entry)
	gen.bytes += int64(len(entry.payload))
	for i := range spans {
		s := &spans[i]
		refs[i] = entryRef{lsn: entry.lsn, write: entry.payload[s.from:s.to]}
		gen.put(s, &refs[i])
	}
}

// put makes ref the newest write of the machine of s.
func (g *generation) put(s *writeSpan, ref *entryRef) {
	var at int32
	known := s.mem != nil && s.mem.generation == g.id
	if known {
		at = s.mem.at
	} else {
		at, known = g.machines[s.machine]
	}
	if known {
		ref.before, g.newest[at] = g.newest[at], ref
	} else {
		at = int32(len(g.newest))
		g.machines[s.machine], g.newest = at, append(g.newest, ref)
	}
	if s.mem != nil {
		s.mem.generation, s.mem.at = g.id, at
	}
}

// bytes returns the size of the groups: those that no checkpoint has frozen yet,
// and all of them.
func (t *memtable) bytes() (active, all int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, gen := range t.generations {
		all += gen.bytes
	}
	return t.active().bytes, all
}

// freeze returns all entries, in order, for a checkpoint, and how many generations
// they are. Groups that are added later go into another generation.
func (t *memtable) freeze() (entries []journalEntry, generations int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.active(); len(a.entries) > 0 {
		t.generations = append(t.generations, newGeneration(a.id+1, len(a.machines)))
	}
	generations = len(t.generations) - 1
	for _, gen := range t.generations[:generations] {
		entries = append(entries, gen.entries...)
	}
	return entries, generations
}

// release drops the oldest generations, which are in the buckets.
func (t *memtable) release(generations int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.generations = slices.Clone(t.generations[generations:])
}

// reset drops everything; all of it is in the buckets.
func (t *memtable) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.generations = []*generation{newGeneration(t.active().id+1, 0)}
}

// refs appends the machine's writes to dst, oldest first. t may be nil.
func (t *memtable) refs(machine string, dst []entryRef) []entryRef {
	if t == nil {
		return dst
	}
	at := len(dst)
	t.mu.RLock()
	for i := len(t.generations) - 1; i >= 0; i-- {
		for r := t.generations[i].last(machine); r != nil; r = r.before {
			dst = append(dst, entryRef{lsn: r.lsn, write: r.write})
		}
	}
	t.mu.RUnlock()
	slices.Reverse(dst[at:])
	return dst
}

// newest returns the machine's newest write; ok is false if it has none.
func (t *memtable) newest(machine string) (ref entryRef, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.newestLocked(machine)
}

func (t *memtable) newestLocked(machine string) (entryRef, bool) {
	for i := len(t.generations) - 1; i >= 0; i-- {
		if r := t.generations[i].last(machine); r != nil {
			return entryRef{lsn: r.lsn, write: r.write}, true
		}
	}
	return entryRef{}, false
}

// keys returns the machines whose keys have a prefix and are not less than from, in
// order. t may be nil.
func (t *memtable) keys(prefix, from string) []string {
	if t == nil {
		return nil
	}
	var keys []string
	t.mu.RLock()
	for _, gen := range t.generations {
		for k := range gen.machines {
			if k >= from && strings.HasPrefix(k, prefix) {
				keys = append(keys, k)
			}
		}
	}
	t.mu.RUnlock()
	slices.Sort(keys)
	return slices.Compact(keys)
}

// newestOf appends the newest write of each of the machines to dst; it is the zero
// value, with LSN 0, for a machine that the memtable does not have. t may be nil:
// then nothing is appended.
func (t *memtable) newestOf(machines []string, dst []entryRef) []entryRef {
	if t == nil {
		return dst
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, m := range machines {
		r, _ := t.newestLocked(m)
		dst = append(dst, r)
	}
	return dst
}

// entriesAfter returns the oldest entries that may have positions after pos, in
// order, at most limit of them. t may be nil.
func (t *memtable) entriesAfter(pos uint64, limit int) (entries []journalEntry) {
	if t == nil {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, gen := range t.generations {
		some := gen.entries[max(1, gen.search(pos+1))-1:] // the entry before may have positions after pos
		entries = append(entries, some[:min(len(some), limit-len(entries))]...)
	}
	return entries
}

// entriesBefore returns the newest entries that have positions before pos, in
// order, at most limit of them. t may be nil.
func (t *memtable) entriesBefore(pos uint64, limit int) (entries []journalEntry) {
	if t == nil {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := len(t.generations) - 1; i >= 0 && len(entries) < limit; i-- {
		gen := t.generations[i]
		to := gen.search(pos - 1)
		some := gen.entries[max(0, to-limit+len(entries)):to]
		entries = slices.Insert(entries, 0, some...)
	}
	return entries
}

// search returns the index of the first entry that was appended when the last
// position was pos or later.
func (g *generation) search(pos uint64) int {
	return sort.Search(len(g.entries), func(i int) bool {
		var head format.GroupHeader
		_, err := head.Cut(g.entries[i].payload)
		return err == nil && head.Pos >= pos
	})
}

// headOfWrite returns the head that a write left.
func headOfWrite(w *format.StepWrite) storedHead {
	h := storedHead{kind: w.Kind, schema: w.Schema, number: w.Number, seq: w.Seq, pos: w.Pos, bytes: w.Head}
	copy(h.token[:], w.Token)
	return h
}

// splitEntry finds the writes in a payload. It returns also how many machines they
// created, and how many events they have.
func splitEntry(payload []byte) (spans []writeSpan, born, records uint64, err error) {
	var head format.GroupHeader
	var w format.StepWrite
	rest, err := head.Cut(payload)
	for err == nil && len(rest) > 0 {
		var writes int
		for writes, rest, err = format.CutStepLen(rest); err == nil && writes > 0; writes-- {
			var b []byte
			if b, rest, err = format.CutWrite(rest); err != nil {
				break
			}
			if err = w.Parse(b); err != nil {
				break
			}
			if w.Expect == 0 {
				born++
			}
			records += uint64(len(w.Events))
			to := len(payload) - len(rest)
			spans = append(spans, writeSpan{machine: string(w.Machine), from: to - len(b), to: to})
		}
	}
	return spans, born, records, err
}

// headCache keeps the machines that were written lately, in two halves: when the
// active half is full the frozen half is dropped, and the active one is frozen.
// Only the committer changes heads, so what the cache holds is never out of date.
type headCache struct{ active, frozen map[string]*memtableMachine }

// memtableMachine is what the committer knows of a machine: its head without the
// caller's bytes, and its index in a generation of the memtable.
type memtableMachine struct {
	head       storedHead
	generation uint64 // 0 = in none
	at         int32  // index in generation.newest
	cached     bool   // it is in the active half of the cache
}

const headsKept = 16 << 10 // in each half

// get returns a machine, or nil.
func (c *headCache) get(machine string) *memtableMachine {
	if m := c.active[machine]; m != nil {
		return m
	}
	m := c.frozen[machine]
	if m != nil {
		m.cached = false
	}
	return m
}

// put adds a machine, or keeps it from being dropped.
func (c *headCache) put(machine string, m *memtableMachine) {
	if m.cached {
		return
	}
	if c.active == nil || len(c.active) >= headsKept {
		c.active, c.frozen = make(map[string]*memtableMachine, headsKept/4), c.active
	}
	m.cached = true
	c.active[machine] = m
}

func (c *headCache) clear() { c.active, c.frozen = nil, nil }
