package bolt

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/liap-tui/savepoint/internal/format"
)

// versionOf is a schema version of a kind.
type versionOf struct {
	kind   uint32
	schema uint64
}

// versionCounts holds the number of heads of each version. The counts are stored in
// the transactions that store heads. A damaged head counts as kind 0, version 0.
type versionCounts map[versionOf]int64

// liveVersions holds the counts of the buckets and of the journal together.
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

// total returns the number of heads; ok is false if a count is not above zero.
func (c versionCounts) total() (n int64, ok bool) {
	ok = true
	for _, m := range c {
		n += m
		ok = ok && m > 0
	}
	return n, ok
}

// putVersions stores the counts, sorted: for each version the kind 4, the version 8
// and the number of heads 8, big-endian.
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

// maxVersions bounds the number of counts that are read.
const maxVersions = 1 << 20

func readVersions(tx *txn) (versionCounts, error) {
	b := tx.counters.get(countersVersions)
	if b == nil {
		return nil, fmt.Errorf("the counts per version are missing")
	}
	h, payload, err := format.ParseValue(b, maxVersions*versionCountLen)
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

// recountVersions counts the versions of all heads.
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

// foundVersions returns the stored counts plus change. If the stored counts are
// damaged, or their sum is not the number of machines, it counts all heads.
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

// addMemtable adds the changes by a journal that is served from memory.
func (l *liveVersions) addMemtable(e *Engine) error {
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
				h, err := parseHead(b, []byte(key), e.opt.maxValue())
				if err != nil {
					h = storedHead{}
				}
				change[versionOf{h.kind, h.schema}]--
			}
		}
		return nil
	})
	l.add(change)
	return err
}

// of returns how many machines of a kind there are per version.
func (l *liveVersions) of(kind uint32) map[uint64]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[uint64]int64{}
	for v, n := range l.counts {
		if v.kind == kind && n > 0 {
			out[v.schema] = n
		}
	}
	return out
}
