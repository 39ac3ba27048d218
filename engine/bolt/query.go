package bolt

import (
	"context"
	"errors"

	"github.com/liap-tui/savepoint/engine"
)

// newQuery returns a cursor that reads the records that q may match.
func newQuery(e *Engine, q engine.Query) *positionCursor {
	t := &positionCursor{e: e, newest: q.Newest, filter: newFilter(q), page: feedPage{limit: firstQueryPage}, blocks: blockReader{limit: e.opt.maxValue()}}
	before := q.Before
	if before == 0 {
		before = engine.All
	}
	if t.at, t.end = q.After, before-1; q.Newest {
		t.at, t.end = before, q.After+1
	}
	return t
}

// query is [Engine.Query].
func (t *positionCursor) query(ctx context.Context, fn func(engine.Record) error) error {
	for !t.done {
		if err := t.next(ctx); err != nil {
			return err
		}
		for i := range t.page.records {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, ok := t.page.record(i)
			if !ok || errors.Is(r.Err, engine.ErrTrimmed) {
				continue
			}
			if err := fn(r); errors.Is(err, engine.Stop) {
				return nil
			} else if err != nil {
				return err
			}
		}
		t.page.limit = min(2*t.page.limit, maxFeedPage)
	}
	return nil
}

// firstQueryPage is the largest number of records of a query's first page: most
// callers stop early. Each later page may have twice as many.
const firstQueryPage = 32
