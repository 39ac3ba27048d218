package savepoint

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/internal/histogram"
)

// Stats are counts since Open, and what is held now.
type Stats struct {
	Machines  int64 // that exist in the engine, deleted ones included
	FileBytes int64
	Positions uint64 // pos of the newest record written since Open; 0 before the first

	Saves, Loads, Snapshots, Recoveries int64
	FailedWrites, FailedReads           int64
	Refused                             int64 // writes not queued: rules, conflicts, bad input
	Conflicts, Illegal                  int64 // of those

	// Operations are the latencies by name: "append", "update", "save",
	// "snapshot", "load", "view", "at", "recover", ... Those of writes count
	// from the call to the answer; of views, one in 32 is measured.
	Operations map[string]Latency
	Commit     Latency // of one group in the engine
	Groups     int64   // committed
	Steps      int64   // in those
	Rebuild    Latency // of a machine from the engine
	Fallbacks  int64   // rebuilds that needed another way than the first

	Cache     CacheStats
	Queue     QueueStats
	Retention RetentionStats
	Anomalies AnomalyStats

	Quarantined int
	Stopped     error // why writing has stopped, or nil
	Uptime      time.Duration
}

// CacheStats tell about the machines in memory.
type CacheStats struct {
	Hits       int64 // the live machine was there
	SecondHits int64 // its encoded state was
	Misses     int64 // the engine was asked
	Rate       float64
	Live       int // machines with a decoded state
	Encoded    int // machines with only the encoded one
	Bytes      int64
	LiveBytes  int64
	Evicted    int64
	Demoted    int64
	Expired    int64
}

// QueueStats tell about the writes on their way.
type QueueStats struct {
	Steps int
	Bytes int64
}

// Stats gives the counts of now. It works after Close too, for what Close did;
// Machines and FileBytes are 0 then.
func (db *DB) Stats() Stats {
	m := db.metrics
	s := Stats{Operations: map[string]Latency{}, Uptime: time.Since(m.start)}
	var joined [ops]histogram.Histogram
	byName := map[string]*histogram.Histogram{}
	for o := range ops {
		name := o.String()
		h := byName[name]
		if h == nil {
			h = &joined[o]
			byName[name] = h
		}
		h.Merge(&m.latency[o])
		s.Refused += m.refused[o].Load()
		if o >= opLoad {
			s.FailedReads += m.failed[o].Load()
		} else {
			s.FailedWrites += m.failed[o].Load()
		}
	}
	for name, h := range byName {
		if l := Latency(h.Summary()); l.Count > 0 {
			s.Operations[name] = l
		}
	}
	for _, o := range []op{opAppend, opUpdate, opGo, opGoUpdate, opSave, opAcross} {
		s.Saves += m.latency[o].Count()
	}
	s.Loads = m.latency[opLoad].Count() + m.views.Load()
	s.Snapshots, s.Recoveries = m.snapshots.Load(), m.latency[opRecover].Count()
	s.Conflicts, s.Illegal = m.conflicts.Load(), m.illegal.Load()
	s.Commit, s.Groups, s.Steps = Latency(m.commitTime.Summary()), m.groups.Load(), m.grouped.Load()
	s.Rebuild, s.Fallbacks = Latency(m.rebuildTime.Summary()), m.fallbacks.Load()
	s.Positions = m.position.Load()

	c := db.cache
	c.mu.Lock()
	s.Cache = CacheStats{Hits: m.hits.Load(), SecondHits: m.secondHits.Load(), Misses: m.misses.Load(),
		Live: c.live.n, Encoded: c.encoded.n, Bytes: c.size, LiveBytes: c.liveSize,
		Evicted: c.evicted, Demoted: c.demoted, Expired: c.expired}
	c.mu.Unlock()
	if looks := s.Cache.Hits + s.Cache.SecondHits + s.Cache.Misses; looks > 0 {
		s.Cache.Rate = float64(s.Cache.Hits+s.Cache.SecondHits) / float64(looks)
	}
	s.Queue.Steps, s.Queue.Bytes = db.queue.Len()
	s.Retention, s.Anomalies = db.retention.snapshot(), db.anomalyStats()
	s.Quarantined = len(db.Quarantined())
	if why := db.stopped.Load(); why != nil {
		s.Stopped = *why
	}
	if size, err := db.eng.Size(context.Background()); err == nil {
		s.Machines, s.FileBytes = size.Machines, size.FileBytes
	}
	return s
}

// Latency sums up how long one kind of operation took. Percentiles are at most
// 12.5 % above the true ones.
type Latency struct {
	Count         int64
	Mean          time.Duration
	P50, P95, P99 time.Duration
	Max           time.Duration
}

// machineCounts are one machine's, while it is in memory.
type machineCounts struct {
	writes, loads  histogram.Small
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
	return MachineStats{Head: m.head(), Writes: Latency(m.counts.writes.Summary()), Loads: Latency(m.counts.loads.Summary()),
		Failed: m.counts.failed.Load(), Refused: m.counts.refuse.Load(), Rebuilds: m.counts.rebuilds.Load(),
		Live: m.st != nil, Bytes: live + encoded}, true, nil
}
