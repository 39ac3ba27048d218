package memory

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/liap-tui/savepoint/engine"
)

// indexEntry locates an event, which may be trimmed or purged since.
type indexEntry struct {
	pos, seq uint64
	m        *machine
	kind     uint32
	terms    engine.Terms
}

// restoreEntry makes a restored event the one at its position.
func (e *Engine) restoreEntry(m *machine, kind uint32, o *engine.StoredEvent) {
	i, found := slices.BinarySearchFunc(e.index, o.Pos, func(p indexEntry, pos uint64) int { return cmp.Compare(p.pos, pos) })
	if !found {
		e.index = slices.Insert(e.index, i, indexEntry{})
	}
	e.index[i] = indexEntry{o.Pos, o.Seq, m, kind, o.Terms}
}

// feedPage is the largest number of events that a Feed reads under one lock.
const feedPage = 256

// Feed implements engine.Feeder.
func (e *Engine) Feed(ctx context.Context, after uint64, fn func(engine.Record) error) (uint64, error) {
	var lent lender
	defer lent.end()
	for more := true; more; {
		page, upTo, err := e.feedPage(ctx, after)
		if err != nil {
			return after, err
		}
		for _, r := range page {
			if err := ctx.Err(); err != nil {
				return after, err
			}
			if r.Err == nil {
				r.Bytes = lent.lend(r.Bytes)
			}
			err := fn(r)
			if err == nil || errors.Is(err, engine.Stop) {
				after = r.Pos
			}
			if errors.Is(err, engine.Stop) {
				return after, nil
			}
			if err != nil {
				return after, err
			}
		}
		more = len(page) == feedPage
		after = max(after, upTo)
	}
	return after, nil
}

// feedPage returns the next events after position after, and the position up to
// which it has read.
func (e *Engine) feedPage(ctx context.Context, after uint64) (page []engine.Record, upTo uint64, err error) {
	if err := e.rlock(ctx); err != nil {
		return nil, 0, err
	}
	defer e.mu.RUnlock()
	from, _ := slices.BinarySearchFunc(e.index, after, func(p indexEntry, pos uint64) int { return cmp.Compare(p.pos, pos) })
	if from < len(e.index) && e.index[from].pos == after {
		from++
	}
	for _, p := range e.index[from:] {
		if len(page) == feedPage {
			return page, page[feedPage-1].Pos, nil
		}
		if r, ok := e.recordAt(p); ok {
			page = append(page, r)
		}
	}
	return page, max(after, e.pos), nil
}

// recordAt returns the event of an entry; ok is false if its machine was purged.
// The bytes are the engine's own.
func (e *Engine) recordAt(p indexEntry) (r engine.Record, ok bool) {
	if e.machines[p.m.key] != p.m {
		return r, false
	}
	r = engine.Record{Machine: p.m.key, Seq: p.seq, Pos: p.pos}
	if n := p.m.eventsTo(p.seq); n > 0 && p.m.events[n-1].seq == p.seq && p.m.events[n-1].pos == p.pos {
		r.Bytes = p.m.events[n-1].bytes
	} else {
		r.Err = engine.ErrTrimmed
	}
	return r, true
}
