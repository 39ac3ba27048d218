package savepoint

import (
	"fmt"
	"sync"
	"time"
)

// CacheOptions bound the machines in memory. There are two levels: live machines,
// whose state is decoded, and encoded machines, of which the encoded state and the
// records after it are kept. A machine moves from the first level to the second and
// then leaves the cache, the least recently used one first. Machines with writes
// that are not durable stay. Each write changes both levels together, so they cannot
// disagree.
type CacheOptions struct {
	// Bytes limits the estimated size of both levels together. Default 256 MiB.
	// When it is exceeded, live states are dropped first, as long as they take more
	// than a quarter of it; then machines are evicted.
	Bytes int64
	// Machines is how many machines are in memory at most; 0 = no limit by count.
	Machines int
	// TTL evicts machines that were not used for this long. Default 1 hour;
	// negative = never.
	TTL time.Duration
	// Off keeps a machine in memory only as long as it has queued writes.
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

// cache holds the machines in memory. Its lock is the innermost one: nothing waits
// for a machine's lock while holding it.
type cache struct {
	opt   CacheOptions
	start time.Time

	mu       sync.Mutex
	live     lru   // machines with a decoded state
	encoded  lru   // machines with only an encoded state
	size     int64 // of all machines, in bytes
	liveSize int64 // of their decoded states
	evicted  int64
	demoted  int64
	expired  int64
}

// slot is the cache's part of a machine, guarded by cache.mu.
type slot struct {
	prev, next *machine
	list       *lru // nil when the machine is not in the cache
	size       machineSize
	used       time.Duration // time of the last use, since cache.start
}

func newCache(o CacheOptions) *cache {
	c := &cache{opt: o, start: time.Now()}
	c.live.init()
	c.encoded.init()
	return c
}

// lru is a list of machines, most recently used first.
type lru struct {
	root machine // the end of the list: only its slot is used
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

// get returns the machine, a new one if it is not in memory, and counts as a use.
func (c *cache) get(k *kind, id string) *machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := k.machines[id]
	if m == nil {
		m = newMachine(k, id)
		k.machines[id] = m
		m.slot.size.encoded = 1024
		c.size += m.slot.size.encoded
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

// peek returns the machine, or nil if it is not in memory. It counts as no use.
func (c *cache) peek(k *kind, id string) *machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.machines[id]
}

// machines returns all machines in memory, of each level the most recently used
// first.
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

// remove removes a machine whose gone is set.
func (c *cache) remove(m *machine) {
	c.mu.Lock()
	c.drop(m)
	c.mu.Unlock()
}

// drop removes m from the lists and the sizes. c.mu is held.
func (c *cache) drop(m *machine) {
	if m.slot.list == nil {
		return
	}
	m.slot.list.cut(m)
	c.size -= m.slot.size.live + m.slot.size.encoded
	c.liveSize -= m.slot.size.live
	m.slot.size = machineSize{}
	delete(m.kind.machines, m.id)
}

// resize sets what a machine occupies after a use, and evicts others if needed.
func (c *cache) resize(m *machine, size machineSize) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.slot.list == nil {
		return // evicted meanwhile
	}
	c.setSize(m, size)
	c.enforceBounds()
}

// setSize moves m to the level that its size belongs to. c.mu is held.
func (c *cache) setSize(m *machine, size machineSize) {
	old := m.slot.size
	if size == old {
		return
	}
	c.size += size.live + size.encoded - old.live - old.encoded
	c.liveSize += size.live - old.live
	m.slot.size = size
	want := &c.encoded
	if size.live > 0 {
		want = &c.live
	}
	if m.slot.list != want {
		m.slot.list.cut(m)
		want.add(m)
	}
}

// enforceBounds demotes and evicts machines from the ends of the lists until the
// options' bounds hold or no machine is left that may go. c.mu is held.
func (c *cache) enforceBounds() {
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

// shrink calls remove for the machines of a list, from its end, until done.
func (c *cache) shrink(l *lru, remove func(*machine) bool, done func() bool) {
	for m := l.root.slot.prev; m != &l.root && !done(); {
		prev := m.slot.prev
		remove(m)
		m = prev
	}
}

// evict removes a machine that is not in use and has no write that is not durable.
// c.mu is held.
func (c *cache) evict(m *machine) bool {
	if !m.tryAcquire() {
		return false
	}
	defer m.release()
	if !m.idle() || m.doubt.Load() { // a failed machine may go: it has to be loaded again anyway
		return false
	}
	m.gone = true
	c.drop(m)
	c.evicted++
	return true
}

// demote drops the decoded state of a machine that is not in use. c.mu is held.
func (c *cache) demote(m *machine) bool {
	if !m.tryAcquire() {
		return false
	}
	defer m.release()
	if m.failed.Load() || m.encoded.state == nil {
		return false
	}
	m.live = nil
	m.reported = m.size()
	c.setSize(m, m.reported)
	c.demoted++
	return true
}
