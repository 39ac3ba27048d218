package report

import "time"

// Compact is what a Compact removed from the file, or an Unarchive put back. The counts
// of a Compact come from reading the log again afterwards, so they contain only what was
// removed. The file keeps its size; its free pages are used again.
type Compact struct {
	Kind, ID  string
	Base      uint64        // the log starts right after this record
	Records   int           // removed, or put back
	Bytes     int64         // of these records, as encoded, before compression
	Snapshots int           // removed
	Segments  int           // of the log, that the archive stored or returned
	Took      time.Duration // how long it took
}

// Retain is what one pass of the retention did.
type Retain struct {
	Machines  int           // examined
	Compacted int           // compactions; a large machine may need several
	Archived  int           // how many of Compacted were finished machines
	Records   int           // removed
	Bytes     int64         // of these records, as encoded
	Failed    []error       // of single machines, which each names; the first 100
	Took      time.Duration // how long the pass took
}

// RetentionStats count what all passes of the retention did since Open.
type RetentionStats struct {
	Passes   int64  // over all machines
	Running  bool   // a pass is under way
	Machines int64  // compactions; a machine counts each time
	Archived int64  // how many of Machines were finished machines that went into the archive
	Records  int64  // removed
	Bytes    int64  // of these records, as encoded
	Failed   int64  // compactions that failed and removed nothing
	Error    string // of the last one that failed
}
