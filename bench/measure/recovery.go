package measure

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/golang/snappy"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/workload"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// Recovered compares the rebuild of one machine (a snapshot and 50 events) with a
// plain loop over the same bytes.
type Recovered struct {
	Ours  time.Duration // from the file: find, check, decompress, decode, apply
	Plain time.Duration // a loop that decompresses, decodes and applies the same bytes in memory
	View  time.Duration // a View of the live machine
	Load  time.Duration // a Load of the live machine, which copies its state
}

const (
	recoverySnapshot = 100
	recoveryEvents   = 50
)

// Recovery measures one machine for about the time given.
func Recovery(dir string, duration time.Duration) (r Recovered, err error) {
	events, err := workload.Play(42, recoverySnapshot+recoveryEvents)
	if err != nil {
		return r, err
	}
	path, ctx := filepath.Join(dir, "game.db"), context.Background()
	use := func(cache savepoint.CacheOptions, fn func(*savepoint.Store[game.Game]) error) error {
		db, err := savepoint.Open(path, &savepoint.Options{Cache: cache, NoRecoverAll: true, Journal: peer.Journal})
		if err != nil {
			return err
		}
		defer db.Close()
		kind := workload.GameKind()
		kind.Snapshot = savepoint.SnapshotPolicy{Events: recoverySnapshot, Every: -1, NoClose: true}
		store, err := savepoint.Register(db, kind)
		if err != nil {
			return err
		}
		return fn(store)
	}
	const id = "g-1"
	read := func(*savepoint.State[game.Game]) error { return nil }
	var state game.Game // at the snapshot
	var metas []savepoint.Meta
	err = use(savepoint.CacheOptions{}, func(s *savepoint.Store[game.Game]) error {
		for _, ev := range events {
			if _, err := s.Append(ctx, id, ev); err != nil {
				return err
			}
		}
		st, err := s.At(ctx, id, savepoint.AtSeq(recoverySnapshot))
		if err != nil {
			return err
		}
		state = st.Value
		for rec, err := range s.Events(ctx, id, savepoint.EventRange{After: recoverySnapshot}) {
			if err != nil {
				return err
			}
			metas = append(metas, rec.Meta)
		}
		if r.View, err = each(duration, func() error { return s.View(ctx, id, read) }); err != nil {
			return err
		}
		r.Load, err = each(duration, func() error { _, err := s.Load(ctx, id); return err })
		return err
	})
	if err != nil {
		return r, err
	}
	p, err := newPlain(&state, events[recoverySnapshot:], metas)
	if err != nil {
		return r, err
	}
	err = use(savepoint.CacheOptions{Off: true}, func(s *savepoint.Store[game.Game]) (err error) {
		n := int64(0)
		r.Ours, r.Plain, err = inTurns(duration, func() error { n++; return s.View(ctx, id, read) }, p.run)
		if got := s.DB().Stats().Rebuild.Count; err == nil && got < n {
			return fmt.Errorf("%d views, %d rebuilds: the cache is not off", n, got)
		}
		return err
	})
	return r, err
}

// inTurns measures two functions in short alternating turns, so that both run under
// the same conditions, and returns the medians of the turns.
func inTurns(duration time.Duration, a, b func() error) (time.Duration, time.Duration, error) {
	const turn = 10 * time.Millisecond
	var as, bs []float64
	for start := time.Now(); len(as) == 0 || time.Since(start) < 2*duration; {
		took, err := each(turn, a)
		if err != nil {
			return 0, 0, err
		}
		as = append(as, float64(took))
		if took, err = each(turn, b); err != nil {
			return 0, 0, err
		}
		bs = append(bs, float64(took))
	}
	return time.Duration(Median(as)), time.Duration(Median(bs)), nil
}

// each returns the mean time of a call of fn.
func each(duration time.Duration, fn func() error) (time.Duration, error) {
	if err := fn(); err != nil {
		return 0, err
	}
	start, n := time.Now(), 0
	for ; time.Since(start) < duration; n += 16 {
		for range 16 {
			if err := fn(); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(start) / time.Duration(n), nil
}

// plain is the program that Recovered compares with. It has the bytes of one machine
// in memory and does not check them: the state in one compressed piece, the events in
// another.
type plain struct {
	kind          savepoint.Kind[game.Game]
	state, events []byte // compressed
	lengths       []int  // of the events
}

func newPlain(state *game.Game, events []savepoint.Event[game.Game], metas []savepoint.Meta) (*plain, error) {
	p := &plain{kind: workload.GameKind()}
	b, err := codec.Marshal(state)
	if err != nil {
		return nil, err
	}
	p.state = snappy.Encode(nil, b)
	var all []byte
	for i, ev := range events {
		b, err := codec.Marshal(ev)
		if err != nil {
			return nil, err
		}
		m := metas[i] // the record's own bytes
		e := record.Envelope{Time: m.Time.UnixMicro(), Version: 1 << 32, Name: m.Name, From: m.From, To: m.To,
			Actor: m.Actor, Origin: uint8(m.Origin), Payload: b}
		from := len(all)
		all = e.Append(all)
		p.lengths = append(p.lengths, len(all)-from)
	}
	p.events = snappy.Encode(nil, all)
	return p, nil
}

func (p *plain) run() error {
	b, err := snappy.Decode(nil, p.state)
	if err != nil {
		return err
	}
	var state game.Game
	if err := codec.Unmarshal(b, &state); err != nil {
		return err
	}
	if b, err = snappy.Decode(nil, p.events); err != nil {
		return err
	}
	var e, like record.Envelope
	for _, n := range p.lengths {
		like = e
		if err := e.Parse(b[:n], &like); err != nil {
			return err
		}
		b = b[n:]
		ev := workload.NewGameEvent(e.Name)
		if err := codec.Unmarshal(e.Payload, ev); err != nil {
			return err
		}
		if err := ev.Apply(&state, savepoint.Meta{}); err != nil {
			return err
		}
	}
	return nil
}
