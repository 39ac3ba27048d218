package bolt

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/liap-tui/savepoint/internal/format"
)

// versionOf is a kind and a schema version.
type versionOf struct {
	kind   uint32
	schema uint64
}

// versionCounts are how many heads there are of each. They are stored in the
// transactions that store heads. A damaged head counts as of kind 0, version 0.
type versionCounts map[versionOf]int64

// liveVersions are the counts with what is only in the ring.
type liveVersions struct {
	mu     sync.Mutex
	counts versionCounts
}

func (l *liveVersions) set(c versionCounts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts = c
}

func (l *liveVersions) add(change versionCounts) {
	if len(change) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.add(change)
}

func (c versionCounts) add(change versionCounts) {
	for v, n := range change {
		if c[v] += n; c[v] == 0 {
			delete(c, v)
		}
	}
}

// total is how many heads were counted; ok is false where a count is below zero.
func (c versionCounts) total() (n int64, ok bool) {
	ok = true
	for _, m := range c {
		n += m
		ok = ok && m > 0
	}
	return n, ok
}

// versionChanges is what the group changes of the counts, nil if nothing.
func (g *batch) versionChanges() (change versionCounts) {
	count := func(h *storedHead, by int64) {
		if change == nil {
			change = versionCounts{}
		}
		change[versionOf{h.kind, h.schema}] += by
	}
	for _, m := range g.touched {
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

// storeVersions brings the stored counts up to date with the heads just stored.
// Counts that are not there, or do not fit the heads, are made from all of them.
func (g *batch) storeVersions() error {
	change := g.versionChanges()
	if len(change) == 0 {
		return nil
	}
	g.versions = foundVersions(g.tx, change, g.counters.machines)
	return putVersions(g.tx, g.versions)
}

// putVersions stores the counts: kind 4, version 8, machines 8 for each,
// big-endian, in order.
func putVersions(tx *txn, c versionCounts) error {
	var b []byte
	for _, v := range slices.SortedFunc(maps.Keys(c), func(a, b versionOf) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.schema, b.schema))
	}) {
		b = binary.BigEndian.AppendUint32(b, v.kind)
		b = binary.BigEndian.AppendUint64(b, v.schema)
		b = binary.BigEndian.AppendUint64(b, uint64(c[v]))
	}
	return tx.counters.put(countersVersions, format.AppendValue(nil, &format.Header{Type: format.TypeVersions, Raw: uint32(len(b))}, b, nil))
}

const versionCountLen = 20

// mostVersions bounds what is read of the counts.
const mostVersions = 1 << 20

func readVersions(tx *txn) (versionCounts, error) {
	b := tx.counters.get(countersVersions)
	if b == nil {
		return nil, fmt.Errorf("the counts per version are not there")
	}
	h, payload, err := format.ParseValue(b, mostVersions*versionCountLen)
	if err != nil {
		return nil, err
	}
	if h.Type != format.TypeVersions || len(payload)%versionCountLen != 0 {
		return nil, fmt.Errorf("value is a %s of %d bytes, not the counts per version", h.Type, len(payload))
	}
	c := versionCounts{}
	for ; len(payload) > 0; payload = payload[versionCountLen:] {
		v := versionOf{binary.BigEndian.Uint32(payload), binary.BigEndian.Uint64(payload[4:])}
		c[v] = int64(binary.BigEndian.Uint64(payload[12:]))
	}
	return c, nil
}

// recountVersions looks at all heads.
func recountVersions(tx *txn) versionCounts {
	c := versionCounts{}
	cur := tx.machines.cursor()
	for k, v := cur.first(); k != nil; k, v = cur.next() {
		h, err := parseHead(v, k, maxStep+valueSlack)
		if err != nil {
			h = storedHead{}
		}
		c[versionOf{h.kind, h.schema}]++
	}
	return c
}

// foundVersions are the stored counts with a change of the heads, made anew
// where they do not fit the number of machines then.
func foundVersions(tx *txn, change versionCounts, machines uint64) versionCounts {
	c, err := readVersions(tx)
	if err == nil {
		c.add(change)
	}
	if n, ok := c.total(); err != nil || !ok || uint64(n) != machines {
		return recountVersions(tx)
	}
	return c
}

// showVersions adds what a ring that is served from memory changes.
func (e *Engine) showVersions() error {
	change := versionCounts{}
	err := e.view(func(tx *txn) error {
		for _, key := range e.memtable.keys("", "") {
			ref, ok := e.memtable.newest(key)
			if !ok {
				continue
			}
			var w format.StepWrite
			if err := w.Parse(ref.write); err != nil {
				return err
			}
			change[versionOf{w.Kind, w.Schema}]++
			if b := tx.machines.get([]byte(key)); b != nil {
				h, err := parseHead(b, []byte(key), e.opt.maxStep+valueSlack)
				if err != nil {
					h = storedHead{}
				}
				change[versionOf{h.kind, h.schema}]--
			}
		}
		return nil
	})
	e.versions.add(change)
	return err
}

// Versions counts the machines of a kind by version.
func (e *Engine) Versions(ctx context.Context, kind uint32) (map[uint64]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.open.RLock()
	defer e.open.RUnlock()
	if err := e.usable(); err != nil {
		return nil, err
	}
	e.versions.mu.Lock()
	defer e.versions.mu.Unlock()
	out := map[uint64]int64{}
	for v, n := range e.versions.counts {
		if v.kind == kind && n > 0 {
			out[v.schema] = n
		}
	}
	return out, nil
}
