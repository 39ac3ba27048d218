package bolt

import (
	"context"
	"errors"

	"github.com/liap-tui/savepoint/engine"
)

var _ engine.Querier = (*Engine)(nil)

// Query follows the order of records in one direction and passes over the
// stretches whose contents say that they have nothing.
func (e *Engine) Query(ctx context.Context, q engine.Query, fn func(engine.Record) error) error {
	t := positionCursor{e: e, newest: q.Newest, filter: newFilter(q), most: queryPage}
	before := q.Before
	if before == 0 {
		before = engine.All
	}
	if t.at, t.end = q.After, before-1; q.Newest {
		t.at, t.end = before, q.After+1
	}
	if q.After == engine.All {
		return ctx.Err()
	}
	for !t.done {
		if err := t.next(ctx); err != nil {
			return err
		}
		for i := range t.records {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, ok := t.record(i)
			if !ok || errors.Is(r.Err, engine.ErrTrimmed) {
				continue
			}
			if err := fn(r); errors.Is(err, engine.Stop) {
				return nil
			} else if err != nil {
				return err
			}
		}
		t.most = min(2*t.most, feedPage)
	}
	return nil
}

// queryPage is how many records the first page has: most queries want few.
const queryPage = 32
