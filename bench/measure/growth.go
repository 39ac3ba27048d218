package measure

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/workload"
)

// Grown holds the cost of operations in a store of a given size.
type Grown struct {
	Alone     float64       // durable appends per second of one writer
	Many      float64       // of 64
	Load      time.Duration // of one machine with all its events, for each event; 0 if the store cannot load one machine
	Open      time.Duration // after a clean close
	FileBytes float64       // for each event
}

// Grow fills a store with the given number of events of each machine and measures it.
func Grow(p peer.Peer, dir string, load *workload.Load, machines, events int, d time.Duration) (g Grown, err error) {
	s, err := p.Open(dir, load)
	if err != nil {
		return g, fmt.Errorf("%s: %w", p.Name, err)
	}
	defer func() {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := Fill(s, load, 0, machines, 1, uint64(events)); err != nil {
		return g, fmt.Errorf("%s: fill: %w", p.Name, err)
	}
	if g.Load, err = loadEach(s, machines, d/4); err != nil {
		return g, fmt.Errorf("%s: load: %w", p.Name, err)
	}
	run := newAppending(s, load, Appending{Machines: machines, Duration: d})
	for i := range run.seqs {
		run.seqs[i] = uint64(events)
	}
	total := int64(machines * events)
	for _, writers := range []int{1, 64} {
		run.o.Writers = writers
		run.stop.Store(false)
		run.events.Store(0)
		if err := run.durable(); err != nil {
			return g, fmt.Errorf("%s: %w", p.Name, err)
		}
		total += run.result.Events
		if g.Many = run.result.Rate; writers == 1 {
			g.Alone = run.result.Rate
		}
	}
	err, s = s.Close(), nil
	if err != nil {
		return g, err
	}
	g.FileBytes = float64(Allocated(dir)) / float64(total)
	opened, err := timeOpen(p, dir, load)
	g.Open = opened.Time + opened.Check
	return g, err
}

// loadEach loads machines, one after the other, for the duration d, and returns the mean time of a load.
func loadEach(s peer.Store, machines int, d time.Duration) (time.Duration, error) {
	r, ok := peer.CanRead(s)
	if !ok {
		return 0, nil
	}
	random := rand.New(rand.NewPCG(5, 7))
	start, n := time.Now(), 0
	for time.Since(start) < d {
		if _, err := r.Read(workload.Key(random.IntN(machines)), func([]byte) { n++ }); err != nil {
			return 0, err
		}
	}
	return time.Since(start) / time.Duration(max(n, 1)), nil
}
