package savepoint

import (
	"fmt"
	"sync"
	"time"
)

// CacheOptions bound the machines in memory. There are two levels: live
// machines, whose state is decoded, and machines of which only the encoded
// state and the records since are kept. A machine moves from the first to the
// second, then out, least recently used first; each write changes both levels
// in one step, so they cannot disagree.
type CacheOptions struct {
	// Bytes of both levels together, estimated. Default 256 MiB. When they are
	// used up, live states make room first, down to a quarter of the bytes.
	Bytes int64
	// Machines in memory at most; 0 = no limit by count.
	Machines int
	// TTL drops machines not used for so long. Default 1 hour, negative = never.
	TTL time.Duration
	// Off keeps no machine longer than its writes are queued.
	Off bool
}

const (
	defaultCacheBytes = 256 << 20
	defaultCacheTTL   = time.Hour
)

func (o CacheOptions) validate() error {
	if o.Bytes < 0 || o.Machines < 0 {
		return fmt.Errorf("Cache.Bytes %d, Cache.Machines %d: neither may be below zero; use Cache.Off for no cache", o.Bytes, o.Machines)
	}
	return nil
}

func (o CacheOptions) withDefaults() CacheOptions {
	orDefault(&o.Bytes, int64(defaultCacheBytes))
	orDefault(&o.TTL, defaultCacheTTL)
	return o
}

// cache holds the machines in memory. Its lock is the innermost: it is never
// held while a machine's lock is waited for.
type cache struct {
	opt   CacheOptions
	start time.Time

	mu       sync.Mutex
	live     lru // decoded
	encoded  lru // only encoded
	evicted  int64
	demoted  int64
	expired  int64
	liveSize int64
	size     int64
}

// slot is the cache's part of a machine, guarded by cache.mu.
type slot struct {
	prev, next    *machine
	list          *lru
	live, encoded int64
	used          time.Duration // since cache.start, monotonic
}

func newCache(o CacheOptions) *cache {
	c := &cache{opt: o, start: time.Now()}
	c.live.init()
	c.encoded.init()
	return c
}

// lru is a list of machines, most recently used first.
type lru struct {
	root machine // only its slot
	n    int
}

func (l *lru) init() { l.root.slot.prev, l.root.slot.next = &l.root, &l.root }

func (l *lru) add(m *machine) {
	first := l.root.slot.next
	m.slot.prev, m.slot.next, m.slot.list = &l.root, first, l
	first.slot.prev, l.root.slot.next = m, m
	l.n++
}

func (l *lru) cut(m *machine) {
	m.slot.prev.slot.next, m.slot.next.slot.prev = m.slot.next, m.slot.prev
	m.slot.prev, m.slot.next, m.slot.list = nil, nil, nil
	l.n--
}

// get finds or makes the machine and counts as its use.
func (c *cache) get(k *kind, id string) *machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := k.machines[id]
	if m == nil {
		m = newMachine(k, id)
		k.machines[id] = m
		m.slot.encoded = 1024
		c.size += m.slot.encoded
		c.encoded.add(m)
	} else if l := m.slot.list; l.root.slot.next != m {
		l.cut(m)
		l.add(m)
	}
	if c.opt.TTL > 0 {
		m.slot.used = time.Since(c.start)
	}
	return m
}

// peek finds a machine without counting as a use.
func (c *cache) peek(k *kind, id string) *machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.machines[id]
}

// machines are all machines in memory, most recently used first.
func (c *cache) machines() []*machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*machine, 0, c.live.n+c.encoded.n)
	for _, l := range []*lru{&c.live, &c.encoded} {
		for m := l.root.slot.next; m != &l.root; m = m.slot.next {
			out = append(out, m)
		}
	}
	return out
}

// remove takes a machine out. Its gone is set.
func (c *cache) remove(m *machine) {
	c.mu.Lock()
	c.out(m)
	c.mu.Unlock()
}

func (c *cache) out(m *machine) {
	if m.slot.list == nil {
		return
	}
	m.slot.list.cut(m)
	c.size -= m.slot.live + m.slot.encoded
	c.liveSize -= m.slot.live
	m.slot.live, m.slot.encoded = 0, 0
	delete(m.kind.machines, m.id)
}

// resize tells what a machine occupies after a use, and makes room.
func (c *cache) resize(m *machine, live, encoded int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.slot.list == nil {
		return // evicted meanwhile
	}
	c.measure(m, live, encoded)
	c.makeRoom()
}

func (c *cache) measure(m *machine, live, encoded int64) {
	if m.slot.live == live && m.slot.encoded == encoded {
		return
	}
	c.size += live + encoded - m.slot.live - m.slot.encoded
	c.liveSize += live - m.slot.live
	m.slot.live, m.slot.encoded = live, encoded
	want := &c.encoded
	if live > 0 {
		want = &c.live
	}
	if m.slot.list != want {
		m.slot.list.cut(m)
		want.add(m)
	}
}

// makeRoom demotes and evicts from the ends of the lists until the bounds hold
// or nothing more can go.
func (c *cache) makeRoom() {
	if c.opt.TTL > 0 {
		old := time.Since(c.start) - c.opt.TTL
		for _, l := range []*lru{&c.live, &c.encoded} {
			for m := l.root.slot.prev; m != &l.root && m.slot.used < old; {
				prev := m.slot.prev
				if c.evict(m) {
					c.expired++
				}
				m = prev
			}
		}
	}
	if c.opt.Off {
		c.shrink(&c.live, c.evict, func() bool { return c.live.n == 0 })
		c.shrink(&c.encoded, c.evict, func() bool { return c.encoded.n == 0 })
		return
	}
	within := func() bool {
		return c.size <= c.opt.Bytes && (c.opt.Machines == 0 || c.live.n+c.encoded.n <= c.opt.Machines)
	}
	c.shrink(&c.live, c.demote, func() bool { return c.liveSize <= c.opt.Bytes/4 || c.size <= c.opt.Bytes })
	c.shrink(&c.encoded, c.evict, within)
	c.shrink(&c.live, c.evict, within)
}

// shrink walks a list from its end until done.
func (c *cache) shrink(l *lru, drop func(*machine) bool, done func() bool) {
	for m := l.root.slot.prev; m != &l.root && !done(); {
		prev := m.slot.prev
		drop(m)
		m = prev
	}
}

// evict drops a machine that nobody uses and that owes the disk nothing.
func (c *cache) evict(m *machine) bool {
	if !m.tryAcquire() {
		return false
	}
	defer m.release()
	if !m.idle() || m.doubt.Load() { // a failed one is read anew in any case
		return false
	}
	m.gone = true
	c.out(m)
	c.evicted++
	return true
}

// demote drops the decoded state of a machine that nobody uses.
func (c *cache) demote(m *machine) bool {
	if !m.tryAcquire() {
		return false
	}
	defer m.release()
	if m.failed.Load() || m.enc == nil {
		return false
	}
	m.st = nil
	live, encoded := m.size()
	m.reportedLive, m.reportedEncoded = live, encoded
	c.measure(m, live, encoded)
	c.demoted++
	return true
}
