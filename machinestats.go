package savepoint

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"
)

// tally is a small histogram: buckets a power of two wide, from one
// microsecond on.
type tally struct {
	buckets [28]atomic.Uint32
	sum     atomic.Int64
}

func (t *tally) add(d time.Duration) {
	us := uint64(max(0, d.Microseconds()))
	t.buckets[min(bits.Len64(us), len(t.buckets)-1)].Add(1)
	t.sum.Add(int64(d))
}

func (t *tally) latency() Latency {
	var counts [len(t.buckets)]uint64
	var l Latency
	for i := range counts {
		counts[i] = uint64(t.buckets[i].Load())
		l.Count += int64(counts[i])
		if counts[i] > 0 {
			l.Max = time.Duration(uint64(1)<<i) * time.Microsecond
		}
	}
	if l.Count == 0 {
		return l
	}
	l.Mean = time.Duration(t.sum.Load() / l.Count)
	at := func(share float64) time.Duration {
		rank, seen := uint64(share*float64(l.Count-1)), uint64(0)
		for i, c := range counts {
			if seen += c; seen > rank {
				return time.Duration(uint64(1)<<i) * time.Microsecond
			}
		}
		return l.Max
	}
	l.P50, l.P95, l.P99 = at(0.50), at(0.95), at(0.99)
	return l
}

// machineCounts are one machine's, while it is in memory.
type machineCounts struct {
	writes, loads  tally
	failed, refuse atomic.Int64
	rebuilds       atomic.Int64
}

// MachineStats are the counts of one machine since it came into memory. Their
// number is bounded by the cache. Percentiles are at most twice the true ones.
type MachineStats struct {
	Head     Head
	Writes   Latency // from the call to the answer
	Loads    Latency // of Load; of views, one in 32
	Failed   int64   // writes that were queued and not stored
	Refused  int64   // writes that were not queued
	Rebuilds int64   // from the engine
	Live     bool    // its decoded state is in memory
	Bytes    int64   // in memory, estimated
}

// MachineStats gives the counts of a machine in memory. It makes no entry for
// one that is not: ok is false then.
func (s *Store[S]) MachineStats(ctx context.Context, id string) (st MachineStats, ok bool, err error) {
	m := s.db.cache.peek(s.kind, id)
	if m == nil {
		return st, false, nil
	}
	if err := m.acquire(ctx); err != nil {
		return st, false, err
	}
	defer m.release()
	if m.gone || !m.known {
		return st, false, nil
	}
	live, encoded := m.size()
	return MachineStats{Head: m.head(), Writes: m.counts.writes.latency(), Loads: m.counts.loads.latency(),
		Failed: m.counts.failed.Load(), Refused: m.counts.refuse.Load(), Rebuilds: m.counts.rebuilds.Load(),
		Live: m.st != nil, Bytes: live + encoded}, true, nil
}
