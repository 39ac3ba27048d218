package engine

import (
	"context"
	"errors"
)

// ErrTrimmed is the Err of a Record whose event was removed by a TrimTo.
var ErrTrimmed = errors.New("trimmed")

// Record is one event of any machine, with its position.
type Record struct {
	Machine string
	Seq     uint64
	Pos     uint64
	Bytes   []byte // lent: valid until the callback returns; nil if Err is set
	Err     error  // a *Damage, or ErrTrimmed
}

// Feeder is an Engine that can read the events of all machines in their order.
type Feeder interface {
	// Feed calls fn for the durable events with a position greater than after, in
	// the order of their positions, and returns the position up to which it has
	// read: a later Feed continues after it. Positions without an event, and those
	// of purged machines, are skipped. A damaged event is a Record with Err set,
	// and so may be an event that was removed by a TrimTo. The events of a machine
	// whose head is damaged are delivered, as long as the engine can still find the
	// machine's key.
	//
	// Every event that was committed before the call is delivered. Events that are
	// committed, trimmed or purged during the call may be delivered or not, but
	// positions never descend. The rules for fn, Stop, ctx and lent bytes are those
	// of Engine. After Stop the position returned is that of the last record. After an
	// error it is one up to which every record was delivered and accepted by fn.
	Feed(ctx context.Context, after uint64, fn func(Record) error) (uint64, error)
}
