// Package analysis counts what the records of machines say: which events, phases, paths between phases
// and actors occur how often, and how long the machines took. It reads through the public API of package
// savepoint alone and holds nothing but counts, whose number is bounded.
package analysis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint"
)

// Options selects the records to be counted. The zero value selects all of them.
type Options struct {
	// Since and Until bound the times of the records, both included; zero means
	// no bound.
	Since, Until time.Time
	// Prefix bounds All to the ids that begin with it. Analyze ignores it.
	Prefix string
	// Top is how many paths, phases, events and actors are listed. Default 10,
	// at most 1,000; a negative number means none.
	Top int
}

// Limits of an analysis, which bound its memory.
const (
	defaultTop  = 10
	maxDistinct = 1000 // different paths, phases, events, actors
	maxDays     = 4000
)

func (o Options) withDefaults() Options {
	if o.Top == 0 {
		o.Top = defaultTop
	}
	o.Top = min(max(0, o.Top), maxDistinct)
	return o
}

// includes reports whether a record of this time is in the window.
func (o *Options) includes(at time.Time) bool {
	return (o.Since.IsZero() || !at.Before(o.Since)) && (o.Until.IsZero() || !at.After(o.Until))
}

// Analyze counts what the records of one machine say. It reads all of them. A
// record that is damaged or was given up counts as lost; a machine that does
// not exist is savepoint.ErrNotFound, a deleted one is analyzed like any other.
func Analyze[S any](ctx context.Context, s *savepoint.Store[S], id string, o Options) (*Report, error) {
	c := newCounter(s.Kind(), id, o)
	if err := machine(ctx, c, s, id); err != nil {
		return nil, fmt.Errorf("analyze %s %.60q: %w", s.Kind(), id, err)
	}
	return c.report(), nil
}

// All counts what the records of all machines of the store's kind say, deleted
// machines included. It reads the whole kind; records that are written meanwhile
// may be missing. A machine that cannot be read counts as one lost record.
func All[S any](ctx context.Context, s *savepoint.Store[S], o Options) (*Report, error) {
	c := newCounter(s.Kind(), "", o)
	for h, err := range s.List(ctx, savepoint.ListOptions{Prefix: o.Prefix, Deleted: true}) {
		var damage *savepoint.CorruptError
		switch {
		case errors.As(err, &damage):
			c.out.Lost++
			continue
		case err == nil:
			err = machine(ctx, c, s, h.ID)
		}
		if errors.As(err, &damage) {
			c.out.Lost++
		} else if err != nil && !errors.Is(err, savepoint.ErrNotFound) { // purged meanwhile
			return nil, fmt.Errorf("analyze all %s: %w", s.Kind(), err)
		}
	}
	return c.report(), nil
}

// machine counts the records of one machine.
func machine[S any](ctx context.Context, c *counter, s *savepoint.Store[S], id string) error {
	c.begin()
	for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
		var gap *savepoint.GapError
		switch {
		case errors.As(err, &gap):
			c.out.Lost += int(gap.To - gap.From + 1)
		case err != nil && rec.Seq == 0: // no record comes with the error that ends the reading
			return err
		default: // of a record whose event does not decode the Meta is known, which is all that counts here
			c.count(&rec.Meta)
		}
	}
	c.end()
	return nil
}
