package report

import (
	"time"

	"github.com/liap-tui/savepoint/anomaly"
)

// Stats are counts since Open, and what the database holds now.
//
// Fields: one for each count.
type Stats struct {
	Machines  int64  // machines in the engine, deleted ones included
	FileBytes int64  // size of the file; 0 in memory
	Positions uint64 // position of the newest record written since Open; 0 if none was written

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
	// "load", "view", "at", "recover" and others. Of a write it is the time from the
	// call until the write is durable. Of views, one in 32 is measured.
	Operations map[string]Latency
	Commit     Latency // of one group of writes in the engine
	Groups     int64   // groups committed
	Steps      int64   // steps in those groups
	Rebuild    Latency // of a machine from the engine
	Fallbacks  int64   // rebuilds that the first attempt did not lead to

	Cache CacheStats
	Queue struct { // the writes that are queued or being committed now
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

// Latency sums up how long the operations of one kind took. Percentiles are at most
// 12.5 % above the exact ones.
type Latency struct {
	Count         int64
	Mean          time.Duration
	P50, P95, P99 time.Duration
	Max           time.Duration
}
