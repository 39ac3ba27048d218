package engine

import "context"

// Query selects events by position and by their Terms.
type Query struct {
	After, Before    uint64 // positions After < pos < Before; a Before of 0 is no bound
	Newest           bool   // newest first
	Kind             uint32 // of the write that stored the event, or restored it; 0 = any
	MinTime, MaxTime int64  // MinTime <= Time <= MaxTime; both 0 = any
	Name, From, To   string // empty = any
	Actor            string // empty = any
	Origin           uint8  // 0 = any
}

// Querier is an Engine that finds events by their Terms. Instead of storing
// Event.Terms it may parse them from Event.Bytes. Engine bolt does: it stores only
// Terms.Time and reads Name, From, To, Actor and Origin from the start of Bytes,
// which it expects in the encoding of internal/record. Bytes that do not start
// with that encoding match every query of their kind and time.
type Querier interface {
	// Query calls fn for the events that q selects, in the order of their
	// positions, or in reverse with Newest. It may deliver other events as well, so
	// that the caller has to test each one, but none twice or out of order. Purged
	// and trimmed events are left out. A damaged event that q may select is a
	// Record with Err set. A damaged head, events that are committed or removed
	// during the call, and the rules for fn, Stop, ctx and lent bytes are as in
	// Feed.
	Query(ctx context.Context, q Query, fn func(Record) error) error
}
