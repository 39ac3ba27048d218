package enginetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/long"
)

// testConcurrent reads while one committer writes. It checks that
//  1. each Load is of one moment: the head's seq is that of the last event, the
//     events are consecutive, from the trim, a snapshot or the start on, and all
//     bytes are those of their seq;
//  2. every Load sees the writes whose Commit returned before it started;
//  3. no Load returns an older state than an earlier one of the same reader;
//  4. a Scan delivers heads in order, each of one moment.
func testConcurrent(s *subject) {
	const machines = 5
	groups := long.N(s.t, 200, 800)
	var (
		acked   [machines]atomic.Uint64
		done    atomic.Bool
		readers sync.WaitGroup
	)
	name := func(m int) string { return fmt.Sprint("m", m) }
	for r := range 3 {
		readers.Go(func() {
			rd := reader{s: s, ctx: context.Background(), numbers: map[string]uint64{}, seqs: map[string]uint64{}}
			for n := 0; !s.t.Failed(); n++ {
				last := done.Load() // read once more after the last write
				if r == 2 && n%3 == 0 {
					rd.scan()
				} else if m := n % machines; n%4 == 3 {
					rd.snapshots(name(m), acked[m].Load())
				} else {
					rd.load(name(m), n, acked[m].Load())
				}
				if last {
					return
				}
			}
		})
	}
	func() {
		defer readers.Wait()
		defer done.Store(true)
		var seqs [machines]uint64
		for g := range groups {
			var steps []engine.Step
			for m := range machines {
				if m == machines-1 && g%7 == 6 { // the last machine is purged and created again
					steps = append(steps, step(purge(name(m), seqs[m])))
					seqs[m] = 0
				}
				n := uint64(1 + (g+m)%3)
				w := grow(name(m), seqs[m], n)
				seqs[m] += n
				if m != 0 && g%5 == m {
					w = with(w, seqs[m], seqs[m]-1) // may replace an earlier snapshot
					if seqs[m] > 60 {
						for seq := seqs[m] - 60; seq < seqs[m]-40; seq++ {
							w.Drop = append(w.Drop, seq)
						}
					}
					if m == 2 && seqs[m] > 40 {
						w.TrimTo = seqs[m] - 20
					}
				}
				steps = append(steps, step(w))
			}
			if s.e.Limits().AtomicAcross && g%2 == 0 {
				steps[0].Writes = append(steps[0].Writes, steps[1].Writes...)
				steps[1] = step(grow("never", 1, 1))
			}
			out, err := commit(context.Background(), s.e, steps)
			if !assert.NoError(s.t, err) || s.t.Failed() {
				return
			}
			for i := range out {
				if steps[i].Writes[0].Machine != "never" && !assert.NoError(s.t, out[i].Err) {
					return
				}
			}
			for m := range machines - 1 {
				acked[m].Store(seqs[m])
			}
		}
	}()
	require.False(s.t, s.t.Failed())
}

type reader struct {
	s       *subject
	ctx     context.Context
	numbers map[string]uint64
	seqs    map[string]uint64
}

// load reads one machine; n selects the range and the order.
func (r *reader) load(machine string, n int, acked uint64) {
	t := r.s.t
	want := engine.LoadRange{Events: true, To: engine.All, Newest: n%2 == 0}
	if n%4 < 2 {
		want.Snapshot, want.SnapshotTo = engine.NewestSnapshot, engine.All
	}
	h, items, err := load(r.ctx, r.s.e, machine, want)
	if !assert.NoError(t, err) || !r.head(machine, h, acked) {
		return
	}
	if want.Newest {
		events := items
		if len(events) > 0 && events[0].part == engine.PartSnapshot {
			events = events[1:]
		}
		slices.Reverse(events)
	}
	at, pos := h.Seq, h.Pos
	for i := len(items) - 1; i >= 0; i-- {
		it := items[i]
		good := assert.Equal(t, at, it.seq, "the item of %s after %d", machine, at)
		if it.part == engine.PartSnapshot {
			good = good && assert.Equal(t, string(snapshotBytes(machine, it.seq)), it.bytes) && assert.Zero(t, i)
		} else {
			good = good && assert.Equal(t, string(eventBytes(machine, it.seq)), it.bytes) &&
				assert.True(t, it.pos <= pos && (at != h.Seq || it.pos == pos), "pos %d of event %d of %s", it.pos, it.seq, machine)
			at, pos = at-1, it.pos-1
		}
		if !good {
			return
		}
	}
	if machine != "m2" && (len(items) == 0 || items[0].part != engine.PartSnapshot) {
		assert.Zero(t, at, "the events of %s start at 1", machine)
	}
}

// snapshots reads every snapshot of a machine.
func (r *reader) snapshots(machine string, acked uint64) {
	t := r.s.t
	h, items, err := load(r.ctx, r.s.e, machine, engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All})
	if !assert.NoError(t, err) || !r.head(machine, h, acked) {
		return
	}
	for i, it := range items {
		if !assert.True(t, i == 0 || items[i-1].seq < it.seq, "snapshots of %s in order", machine) ||
			!assert.LessOrEqual(t, it.seq, h.Seq) || !assert.Equal(t, string(snapshotBytes(machine, it.seq)), it.bytes) {
			return
		}
	}
}

// head compares one head with the earlier ones that this reader has seen.
func (r *reader) head(machine string, h engine.Head, acked uint64) bool {
	t := r.s.t
	if h.Number == 0 {
		_, seen := r.numbers[machine]
		return assert.Zero(t, acked, "%s is not there", machine) && assert.False(t, seen && machine != "m4", "%s is gone", machine)
	}
	if h.Number == r.numbers[machine] && !assert.GreaterOrEqual(t, h.Seq, r.seqs[machine], "%s goes back", machine) {
		return false
	}
	r.numbers[machine], r.seqs[machine] = h.Number, h.Seq
	return assert.GreaterOrEqual(t, h.Seq, acked, "%s: a committed write is not seen", machine) &&
		assert.Equal(t, headAt(machine, h.Number, h.Seq, h.Pos), h)
}

func (r *reader) scan() {
	last := ""
	err := r.s.e.Scan(r.ctx, "m", "", 0, func(machine string, h engine.Head) error {
		assert.Less(r.s.t, last, machine)
		assert.NoError(r.s.t, h.Err)
		last = machine
		r.head(machine, h, 0)
		return nil
	})
	assert.NoError(r.s.t, err)
}
