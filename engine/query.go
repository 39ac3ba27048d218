package engine

import "context"

// Query says which events a Querier gives: those behind After and before Before
// whose Terms are what it names.
type Query struct {
	After, Before    uint64 // positions After < pos < Before; a Before of 0 is no bound
	Newest           bool   // newest first
	Kind             uint32 // of the write that stored it, or put it back; 0 = any
	MinTime, MaxTime int64  // MinTime <= Time <= MaxTime; both 0 = any
	Name, From, To   string // empty = any
	Actor            string // empty = any
	Origin           uint8  // 0 = any
}

// Querier is an Engine that finds events by their Terms. It may read them from
// the events' Bytes where it knows their form.
type Querier interface {
	// Query calls fn for the events that q names, in the order of their positions.
	// It may give others as well, never one twice or out of order: the caller
	// looks at each. Purged and trimmed events are left out; a damaged one that may
	// be meant is a Record with an Err. What is given of events that come and go
	// meanwhile, fn's errors, Stop and ctx are as in Feed.
	Query(ctx context.Context, q Query, fn func(Record) error) error
}
