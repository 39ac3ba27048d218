package engine

import (
	"context"
	"errors"
)

// ErrTrimmed is the Err of a Record whose event was removed by a TrimTo.
var ErrTrimmed = errors.New("trimmed")

// Record is one event of any machine, at its position.
type Record struct {
	Machine string
	Seq     uint64
	Pos     uint64
	Bytes   []byte // lent: it dies when the callback returns
	Err     error  // a *Damage, or ErrTrimmed; then there are no Bytes
}

// Feeder is an Engine that knows the order of all events.
type Feeder interface {
	// Feed calls fn for the events with a position greater than after, in the
	// order of their positions, as far as they are durable, and gives the
	// position up to which there is no other one: a later Feed goes on from
	// there. Positions without an event, and those of machines that were purged,
	// are passed over. A damaged event is a Record with an Err, and so may be one
	// that a TrimTo removed.
	//
	// An event that a Commit stored before the call is given. Of those that
	// come, are trimmed or purged meanwhile any may be given or not; an event that
	// is given later never has a position before one that was given. fn's errors,
	// Stop and ctx are as in Load; after a Stop the position is that of the last
	// event given. fn must not call the engine.
	Feed(ctx context.Context, after uint64, fn func(Record) error) (uint64, error)
}
