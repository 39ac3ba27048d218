package workload

import (
	"context"
	"fmt"
	"math"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// capture is an engine that keeps the events of its steps for the benchmarks, and
// nothing else.
type capture struct {
	*memory.Engine
	lists  map[string][]Payload
	pos    uint64
	bytes  int64
	events int64
}

// Commit keeps the events of the steps and reports that they are stored.
func (c *capture) Commit(_ context.Context, steps []engine.Step, out []engine.Result) error {
	for i := range steps {
		out[i] = engine.Result{}
		for _, w := range steps[i].Writes {
			for _, ev := range w.Events {
				c.lists[w.Machine] = append(c.lists[w.Machine], Payload{append([]byte(nil), ev.Bytes...), ev.Terms})
				c.bytes += int64(len(ev.Bytes))
				c.events++
			}
			c.pos += w.Seq - w.Expect
			out[i].Pos = append(out[i].Pos, c.pos)
		}
	}
	return nil
}

// captured plays lists of events through the typed API once and keeps the bytes
// that reach the engine.
func captured[S any](name string, kind savepoint.Kind[S], lists [][]savepoint.Event[S]) (*Load, error) {
	c := &capture{Engine: memory.New(), lists: map[string][]Payload{}}
	db, err := savepoint.Open("capture", &savepoint.Options{Engine: c, Cache: savepoint.CacheOptions{Bytes: math.MaxInt64 / 4}})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	store, err := savepoint.Register(db, withPolicy(kind, savepoint.SnapshotPolicy{Events: -1, Every: -1, NoClose: true}))
	if err != nil {
		return nil, err
	}
	l := &Load{Name: name, typed: func() Typed { return newTyped(kind, lists) }}
	for i, list := range lists {
		var last *savepoint.Ack
		for _, ev := range list {
			last = store.Go(context.Background(), id(i), ev)
			if err := failed(last); err != nil {
				return nil, fmt.Errorf("payload %s: machine %d: %w", name, i, err)
			}
		}
		if err := last.Err(); err != nil {
			return nil, fmt.Errorf("payload %s: machine %d: %w", name, i, err)
		}
		if len(c.lists) != 1 {
			return nil, fmt.Errorf("payload %s: machine %d became %d", name, i, len(c.lists))
		}
		for key, got := range c.lists {
			l.payloads = append(l.payloads, got)
			delete(c.lists, key)
		}
	}
	l.average = float64(c.bytes) / float64(c.events)
	return l, nil
}

// failed returns the error of an Ack that has resolved already, or nil.
func failed(a *savepoint.Ack) error {
	select {
	case <-a.Done():
		return a.Err()
	default:
		return nil
	}
}

func withPolicy[S any](kind savepoint.Kind[S], p savepoint.SnapshotPolicy) savepoint.Kind[S] {
	kind.Snapshot = p
	return kind
}
