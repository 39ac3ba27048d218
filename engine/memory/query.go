package memory

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/liap-tui/savepoint/engine"
)

// Query implements engine.Querier. It tests every event in the range of positions.
func (e *Engine) Query(ctx context.Context, q engine.Query, fn func(engine.Record) error) error {
	var lent lender
	defer lent.end()
	if q.Before == 0 {
		q.Before = engine.All
	}
	for {
		page, err := e.queryPage(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.Bytes = lent.lend(r.Bytes)
			if err := fn(r); errors.Is(err, engine.Stop) {
				return nil
			} else if err != nil {
				return err
			}
			if q.Newest {
				q.Before = r.Pos
			} else {
				q.After = r.Pos
			}
		}
		if len(page) < feedPage {
			return nil
		}
	}
}

// queryPage returns the first events that q selects.
func (e *Engine) queryPage(ctx context.Context, q engine.Query) (page []engine.Record, err error) {
	if err := e.rlock(ctx); err != nil {
		return nil, err
	}
	defer e.mu.RUnlock()
	at := func(pos uint64) int {
		i, _ := slices.BinarySearchFunc(e.index, pos, func(p indexEntry, pos uint64) int { return cmp.Compare(p.pos, pos) })
		return i
	}
	entries := e.index[:at(q.Before)]
	if q.After == engine.All {
		return nil, nil
	}
	entries = entries[min(at(q.After+1), len(entries)):]
	for i := range entries {
		p := &entries[indexOf(i, len(entries), q.Newest)]
		if !selects(&q, p) {
			continue
		}
		r, ok := e.recordAt(*p)
		if !ok || r.Err != nil {
			continue
		}
		if page = append(page, r); len(page) == feedPage {
			break
		}
	}
	return page, nil
}

func selects(q *engine.Query, p *indexEntry) bool {
	t := &p.terms
	return (q.Kind == 0 || q.Kind == p.kind) && (q.Name == "" || q.Name == t.Name) &&
		(q.From == "" || q.From == t.From) && (q.To == "" || q.To == t.To) && (q.Actor == "" || q.Actor == t.Actor) &&
		(q.Origin == 0 || q.Origin == t.Origin) && (q.MinTime == 0 && q.MaxTime == 0 || t.Time >= q.MinTime && t.Time <= q.MaxTime)
}
