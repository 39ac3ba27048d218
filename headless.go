package savepoint

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// headless rebuilds a machine whose head is damaged as far as its snapshots and
// records lead, for a partial recovery. Nobody can say whether they are all: the
// head alone has their number and digest. The new head is put together from
// them.
func (db *DB) headless(ctx context.Context, k *kind, id string, limit int) (*rebuilt, []Attempt, error) {
	key := keyOf(k.name, id)
	top, err := db.newestItem(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	var best *rebuilt
	var tried []Attempt
	p := db.plan(k, id, top)
	defer p.free()
	p.limit, p.headless = limit, top
	for snapTo, again := engine.All, top > 0; again; {
		_, err := p.fromSnapshot(ctx, snapTo)
		if err != nil && !rebuildable(err) {
			return nil, tried, err
		}
		best = furthest(best, p.out)
		if again = err != nil && p.began && p.out.from > 0; again {
			tried = append(tried, p.attempt(err))
			snapTo = p.out.from - 1
		}
	}
	if best == nil || best.seq < top {
		if _, err := p.fromReplaced(ctx); err != nil && !rebuildable(err) {
			return nil, tried, err
		}
		best = furthest(best, p.out)
	}
	if best == nil {
		return nil, tried, nil
	}
	best.newest = best.head
	best.newest.Base, best.newest.Gaps, err = db.begins(ctx, k, key, top)
	return best, tried, err
}

// begins finds, without the head, where the log of a machine begins, and what
// earlier recoveries gave up.
func (db *DB) begins(ctx context.Context, k *kind, key string, top uint64) (base uint64, gaps []record.Gap, err error) {
	if !k.strategy.keepsEvents() {
		return top, nil, nil
	}
	var env record.Envelope
	want := engine.Want{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Events: true, To: engine.All}
	_, err = db.eng.Load(ctx, key, want, func(it engine.Item) error {
		var s record.Snapshot
		switch {
		case it.Err != nil:
		case it.Part == engine.PartSnapshot:
			if s.Parse(it.Bytes, key) == nil && s.Pinned {
				base = max(base, it.Seq)
			}
		case env.Parse(it.Bytes, nil) == nil && env.Name == replacedName && env.Reason == reasonRestored:
			var r Report
			if json.Unmarshal([]byte(env.Error), &r) == nil && r.LostTo > 0 {
				gaps = append(gaps, record.Gap{From: r.LostFrom, To: r.LostTo})
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, engine.ErrDamaged) {
		err = nil
	}
	return base, gaps, err
}
