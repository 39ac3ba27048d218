package savepoint

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/internal/histogram"
	"github.com/liap-tui/savepoint/report"
)

// Stats returns the current counts. It may be called after Close too: the counts then
// include the writes of Close, and Machines and FileBytes are 0.
func (db *DB) Stats() report.Stats {
	m := db.metrics
	s := report.Stats{Operations: map[string]report.Latency{}, Uptime: time.Since(m.start)}
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
		if l := report.Latency(h.Summary()); l.Count > 0 {
			s.Operations[name] = l
		}
	}
	for _, o := range []op{opAppend, opUpdate, opGo, opGoUpdate, opSave, opAcross} {
		s.Saves += m.latency[o].Count()
	}
	s.Loads = m.latency[opLoad].Count() + m.views.Load()
	s.Snapshots, s.Recoveries = m.snapshots.Load(), m.latency[opRecover].Count()
	s.Conflicts, s.Illegal = m.conflicts.Load(), m.illegal.Load()
	s.Commit, s.Groups, s.Steps = report.Latency(m.commitTime.Summary()), m.groups.Load(), m.grouped.Load()
	s.Rebuild, s.Fallbacks = report.Latency(m.rebuildTime.Summary()), m.fallbacks.Load()
	s.Positions = m.position.Load()

	c := db.cache
	c.mu.Lock()
	s.Cache = report.CacheStats{Hits: m.hits.Load(), SecondHits: m.secondHits.Load(), Misses: m.misses.Load(),
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
	Writes   report.Latency // from the call until the write is durable
	Loads    report.Latency // of Load; of views, one in 32
	Failed   int64          // writes that were queued and not stored
	Refused  int64          // writes that were not queued
	Rebuilds int64          // from the engine
	Live     bool           // its decoded state is in memory
	Bytes    int64          // in memory, estimated
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
	return MachineStats{Head: m.head(), Writes: report.Latency(m.writes.Summary()), Loads: report.Latency(m.counts.loads.Summary()),
		Failed: m.notStored.Load(), Refused: m.counts.refused.Load(), Rebuilds: m.counts.rebuilds.Load(),
		Live: m.live != nil, Bytes: size.live + size.encoded}, true, nil
}
