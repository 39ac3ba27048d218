package savepoint

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/anomaly"
	"github.com/liap-tui/savepoint/internal/histogram"
)

// Stats are counts since Open, and what the database holds now. It has a field for
// each count, so it is larger than other structs.
type Stats struct {
	Machines  int64  // machines in the engine, deleted ones included
	FileBytes int64  // size of the file; 0 in memory
	Positions uint64 // position of the newest record written since Open; 0 if there is none

	Saves      int64 // Appends, Updates and Saves that are durable
	Loads      int64 // Loads and Views
	Snapshots  int64 // snapshots stored
	Recoveries int64 // Recover calls that succeeded

	FailedWrites int64 // writes that were queued and not stored
	FailedReads  int64 // reads that returned an error
	Refused      int64 // writes that were not queued: rules, conflicts, bad input
	Conflicts    int64 // those of Refused because of an IfSeq
	Illegal      int64 // those of Refused because of Kind.Legal

	// Operations are the latencies by name: "append", "update", "save", "snapshot",
	// "load", "view", "at", "recover" and others. Of a write it is the time from the call
	// until the write is durable. Of views, one in 32 is measured.
	Operations map[string]Latency
	Commit     Latency // of one group of writes in the engine
	Groups     int64   // groups committed
	Steps      int64   // steps in those groups
	Rebuild    Latency // of a machine from the engine
	Fallbacks  int64   // rebuilds that the first attempt did not lead to

	Cache CacheStats
	Queue struct { // the writes that are queued
		Steps int
		Bytes int64
	}
	Retention RetentionStats
	Anomalies anomaly.Stats

	Quarantined int           // machines in quarantine now
	Stopped     error         // why nothing can be written any more, or nil
	Uptime      time.Duration // since Open
}

// CacheStats describe the machines in memory.
type CacheStats struct {
	Hits       int64   // uses of a machine whose live state was in memory
	SecondHits int64   // uses of a machine whose encoded state was in memory
	Misses     int64   // uses of a machine that was read from the engine
	Rate       float64 // part of the uses that needed no engine, from 0 to 1
	Live       int     // machines with a decoded state, now
	Encoded    int     // machines with only an encoded state, now
	Bytes      int64   // of all machines in memory, estimated
	LiveBytes  int64   // of the decoded states, estimated
	Evicted    int64   // machines that left the cache
	Demoted    int64   // machines whose decoded state was dropped
	Expired    int64   // those of Evicted because of CacheOptions.TTL
}

// Stats returns the counts of now. After Close it still does, with what Close has done;
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
	if uses := s.Cache.Hits + s.Cache.SecondHits + s.Cache.Misses; uses > 0 {
		s.Cache.Rate = float64(s.Cache.Hits+s.Cache.SecondHits) / float64(uses)
	}
	s.Queue.Steps, s.Queue.Bytes = db.queue.Len()
	s.Retention, s.Anomalies = db.retention.snapshot(), db.anomalies.snapshot()
	s.Quarantined = len(db.Quarantined())
	if why := db.committer.stopped.Load(); why != nil {
		s.Stopped = *why
	}
	if size, err := db.eng.Size(context.Background()); err == nil {
		s.Machines, s.FileBytes = size.Machines, size.FileBytes
	}
	return s
}

// Latency summarizes how long one operation took. Percentiles are at most 12.5 % above
// the true ones.
type Latency struct {
	Count         int64
	Mean          time.Duration
	P50, P95, P99 time.Duration
	Max           time.Duration
}

// machineCounts count what one machine does besides its writes, which commitState
// counts. They live as long as the machine is in memory.
type machineCounts struct {
	loads    histogram.Small
	refused  atomic.Int64
	rebuilds atomic.Int64
}

// MachineStats are the counts of one machine since it was loaded into memory. Their
// number is bounded by the cache. Percentiles are at most twice the true ones.
type MachineStats struct {
	Head     Head
	Writes   Latency // from the call until the write is durable
	Loads    Latency // of Load; of views, one in 32
	Failed   int64   // writes that were queued and not stored
	Refused  int64   // writes that were not queued
	Rebuilds int64   // from the engine
	Live     bool    // its decoded state is in memory
	Bytes    int64   // in memory, estimated
}

// MachineStats returns the counts of a machine. ok is false for a machine that is not
// in memory; it is not loaded.
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
	size := m.size()
	return MachineStats{Head: m.head(), Writes: Latency(m.writes.Summary()), Loads: Latency(m.counts.loads.Summary()),
		Failed: m.notStored.Load(), Refused: m.counts.refused.Load(), Rebuilds: m.counts.rebuilds.Load(),
		Live: m.live != nil, Bytes: size.live + size.encoded}, true, nil
}
