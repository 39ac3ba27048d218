package bolt

import (
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/liap-tui/savepoint/internal/format"
)

// memtable is what is in the ring only: the groups as they were appended, and
// for each machine where its writes are in them, newest first. Nothing is kept
// decoded (R10).
//
// It is cut into generations: a fold takes those there are, what comes
// meanwhile goes into a new one, and what was folded is dropped as a whole.
//
// A reader takes a machine's refs first and begins its read transaction then. What
// a fold stored in between the transaction has, and tells by its folded lsn.
// Refs hold memory of their own, so a drop takes nothing away from a reader.
type memtable struct {
	mu          sync.RWMutex
	generations []*generation // oldest first, the last one takes what comes
}

type generation struct {
	id       uint64
	machines map[string]int32 // their places in newest
	newest   []*entryRef
	groups   []journalEntry
	bytes    int64 // of the groups
}

// last is the machine's newest write.
func (g *generation) last(machine string) *entryRef {
	if i, ok := g.machines[machine]; ok {
		return g.newest[i]
	}
	return nil
}

// journalEntry is the payload of one record of the ring.
type journalEntry struct {
	lsn     uint64
	payload []byte
}

// entryRef is one machine's write in a group.
type entryRef struct {
	lsn    uint64
	write  []byte
	before *entryRef // the machine's write before, of the same generation
}

// writeSpan says whose write stands where in a payload.
type writeSpan struct {
	machine  string
	ring     *memtableMachine // where the committer knows it
	from, to int
}

func newMemtable() *memtable {
	return &memtable{generations: []*generation{newGeneration(1, 0)}}
}

func newGeneration(id uint64, machines int) *generation {
	return &generation{id: id, machines: make(map[string]int32, machines)}
}

// active is the generation that takes what comes.
func (o *memtable) active() *generation { return o.generations[len(o.generations)-1] }

// add takes a durable group. The payload is the overlay's from now on.
func (o *memtable) add(g journalEntry, cuts []writeSpan) {
	refs := make([]entryRef, len(cuts))
	o.mu.Lock()
	defer o.mu.Unlock()
	gen := o.active()
	gen.groups = append(gen.groups, g)
	gen.bytes += int64(len(g.payload))
	for i := range cuts {
		c := &cuts[i]
		refs[i] = entryRef{lsn: g.lsn, write: g.payload[c.from:c.to]}
		gen.put(c, &refs[i])
	}
}

// put makes ref the machine's newest write.
func (g *generation) put(c *writeSpan, ref *entryRef) {
	var at int32
	known := c.ring != nil && c.ring.generation == g.id
	if known {
		at = c.ring.at
	} else {
		at, known = g.machines[c.machine]
	}
	if known {
		ref.before, g.newest[at] = g.newest[at], ref
	} else {
		at = int32(len(g.newest))
		g.machines[c.machine], g.newest = at, append(g.newest, ref)
	}
	if c.ring != nil {
		c.ring.generation, c.ring.at = g.id, at
	}
}

// bytes is what the groups take in memory: those that no fold has taken yet, and
// all of them.
func (o *memtable) bytes() (young, all int64) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, gen := range o.generations {
		all += gen.bytes
	}
	return o.active().bytes, all
}

// freeze gives all groups, in order, for a fold, and how many generations they are.
func (o *memtable) freeze() (groups []journalEntry, generations int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if y := o.active(); len(y.groups) > 0 {
		o.generations = append(o.generations, newGeneration(y.id+1, len(y.machines)))
	}
	generations = len(o.generations) - 1
	for _, gen := range o.generations[:generations] {
		groups = append(groups, gen.groups...)
	}
	return groups, generations
}

// release forgets the oldest generations: they are folded.
func (o *memtable) release(generations int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.generations = slices.Clone(o.generations[generations:])
}

// reset forgets everything: all of it is folded.
func (o *memtable) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.generations = []*generation{newGeneration(o.active().id+1, 0)}
}

// refs adds the machine's writes to dst, oldest first.
func (o *memtable) refs(machine string, dst []entryRef) []entryRef {
	if o == nil {
		return dst
	}
	at := len(dst)
	o.mu.RLock()
	for i := len(o.generations) - 1; i >= 0; i-- {
		for r := o.generations[i].last(machine); r != nil; r = r.before {
			dst = append(dst, entryRef{lsn: r.lsn, write: r.write})
		}
	}
	o.mu.RUnlock()
	slices.Reverse(dst[at:])
	return dst
}

// newest is the machine's newest write.
func (o *memtable) newest(machine string) (entryRef, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.newestLocked(machine)
}

func (o *memtable) newestLocked(machine string) (entryRef, bool) {
	for i := len(o.generations) - 1; i >= 0; i-- {
		if r := o.generations[i].last(machine); r != nil {
			return entryRef{lsn: r.lsn, write: r.write}, true
		}
	}
	return entryRef{}, false
}

// keys lists the machines from a key on that begin with prefix, in order.
func (o *memtable) keys(prefix, from string) []string {
	if o == nil {
		return nil
	}
	var keys []string
	o.mu.RLock()
	for _, gen := range o.generations {
		for k := range gen.machines {
			if k >= from && strings.HasPrefix(k, prefix) {
				keys = append(keys, k)
			}
		}
	}
	o.mu.RUnlock()
	slices.Sort(keys)
	return slices.Compact(keys)
}

// newestOf gives the newest writes of the machines.
func (o *memtable) newestOf(machines []string, dst []entryRef) []entryRef {
	if o == nil {
		return dst
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, m := range machines {
		r, _ := o.newestLocked(m)
		dst = append(dst, r)
	}
	return dst
}

// groupsAfter gives the groups that have positions beyond pos, at most so many,
// in order.
func (o *memtable) groupsAfter(pos uint64, most int) (groups []journalEntry) {
	if o == nil {
		return nil
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, gen := range o.generations {
		some := gen.groups[max(1, gen.search(pos+1))-1:] // the one before may reach beyond
		groups = append(groups, some[:min(len(some), most-len(groups))]...)
	}
	return groups
}

// groupsBefore gives the groups that have positions before pos, the newest of
// them, at most so many, in order.
func (o *memtable) groupsBefore(pos uint64, most int) (groups []journalEntry) {
	if o == nil {
		return nil
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	for i := len(o.generations) - 1; i >= 0 && len(groups) < most; i-- {
		gen := o.generations[i]
		to := gen.search(pos - 1)
		some := gen.groups[max(0, to-most+len(groups)):to]
		groups = slices.Insert(groups, 0, some...)
	}
	return groups
}

// search finds the first group that begins at pos or later: behind its last position before.
func (g *generation) search(pos uint64) int {
	return sort.Search(len(g.groups), func(i int) bool {
		var head format.GroupHeader
		_, err := head.Cut(g.groups[i].payload)
		return err == nil && head.Pos >= pos
	})
}

// headOfWrite is the head that a write left.
func headOfWrite(w *format.StepWrite) storedHead {
	h := storedHead{kind: w.Kind, schema: w.Schema, number: w.Number, seq: w.Seq, pos: w.Pos, bytes: w.Head}
	copy(h.token[:], w.Token)
	return h
}

// splitEntry finds the writes in a payload, how many machines they began, and how
// many records they have.
func splitEntry(payload []byte) (cuts []writeSpan, born, records uint64, err error) {
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
			cuts = append(cuts, writeSpan{machine: string(w.Machine), from: to - len(b), to: to})
		}
	}
	return cuts, born, records, err
}

// headCache remembers the machines written lately. Only the committer changes
// heads, so what is in it is never stale.
type headCache struct{ active, frozen map[string]*memtableMachine }

// memtableMachine is what the committer knows of a machine: its head without the
// caller's bytes, and where it is in a generation of the overlay.
type memtableMachine struct {
	head       storedHead
	generation uint64
	at         int32
	cached     bool // among the young
}

const headsKept = 16 << 10 // in each half

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
