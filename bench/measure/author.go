package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/workload"
)

// Games and operations of the load that the author of the original library specified.
const (
	AuthorGames   = 5000
	authorRate    = 2 * AuthorGames // operations a second
	authorWorkers = 256             // goroutines
)

// Operation is one of the calls that a game server makes.
type Operation int

// Operations, in the order of reports.
const (
	Save Operation = iota
	Fetch
	Shot
	Recover
	operations
)

// Targets holds the author's targets for the 99th percentile, by Operation.
var Targets = [operations]time.Duration{50 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond}

func (o Operation) String() string { return [...]string{"save", "load", "snapshot", "recovery"}[o] }

// Shapes holds the shapes of the load by name. A shape returns the rate at a moment
// of the run as a part of the full rate; the moment is a part of the duration.
var Shapes = map[string]func(part float64) float64{
	"steady": func(float64) float64 { return 1 },
	"burst": func(part float64) float64 { // 30 % of the time at three times the rate
		if math.Mod(part*5, 1) < 0.3 {
			return 3
		}
		return 1
	},
	"wave": func(part float64) float64 { return 1 + 0.9*math.Sin(2*math.Pi*2*part) },
}

// Authored is the result of Author.
type Authored struct {
	Wanted, Done int64
	Conflicts    int64 // of writes that were to conflict, and did
	Latencies    [operations]Latencies
}

// Author runs the load against the typed API with default options. Operations
// are started by the clock, whether or not earlier ones have ended, and a latency
// counts from the time at which the operation was due: 65 % writes, of which 10 %
// conflict, 33.9 % loads, 1 % explicit snapshots, 0.1 % recoveries from the file.
func Author(dir string, load *workload.Load, shape string, duration time.Duration) (r Authored, err error) {
	rate := Shapes[shape]
	if rate == nil {
		return r, fmt.Errorf("no shape %q", shape)
	}
	s, err := peer.OpenAPI(dir, load, 0, savepoint.SnapshotPolicy{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := Fill(s, load, 0, AuthorGames, 1, 1); err != nil {
		return r, err
	}
	typed := s.(peer.Viewer).Typed()
	var mu sync.Mutex
	var errs []error
	var all sync.WaitGroup
	start := time.Now()
	for h := range authorWorkers {
		all.Go(func() {
			worker := authorWorker{typed: typed, own: h, random: rand.New(rand.NewPCG(uint64(h), 11)), seqs: map[int]uint64{}}
			err := worker.work(start, duration, rate)
			mu.Lock()
			defer mu.Unlock()
			r.Wanted += worker.r.Wanted
			r.Done += worker.r.Done
			r.Conflicts += worker.r.Conflicts
			for i := range r.Latencies {
				r.Latencies[i].Merge(&worker.r.Latencies[i])
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	return r, errors.Join(errs...)
}

// authorWorker is one goroutine of the load. It has games of its own: those whose number has its remainder.
type authorWorker struct {
	typed  workload.Typed
	own    int
	random *rand.Rand
	seqs   map[int]uint64
	r      Authored
}

func (h *authorWorker) work(start time.Time, duration time.Duration, rate func(float64) float64) error {
	at := time.Duration(h.random.Float64() * float64(time.Second) * authorWorkers / authorRate)
	for ; at < duration; at += time.Duration(float64(time.Second) * authorWorkers / authorRate / max(rate(at.Seconds()/duration.Seconds()), 0.05)) {
		h.r.Wanted++
		if time.Since(start) > duration+duration/2 {
			continue // too late: not executed
		}
		due := start.Add(at)
		time.Sleep(time.Until(due))
		op, err := h.one()
		if err != nil {
			return err
		}
		h.r.Latencies[op].Add(time.Since(due))
		h.r.Done++
	}
	return nil
}

func (h *authorWorker) one() (Operation, error) {
	ctx := context.Background()
	game := h.own + h.random.IntN((AuthorGames-h.own+authorWorkers-1)/authorWorkers)*authorWorkers
	seq := max(h.seqs[game], 1)
	switch p := h.random.Float64(); {
	case p < 0.001:
		return Recover, h.typed.Rebuild(ctx, game, seq)
	case p < 0.011:
		return Shot, h.typed.Snapshot(ctx, game, seq)
	case p < 0.35:
		return Fetch, h.typed.Load(ctx, game, seq)
	case p < 0.415:
		err := h.typed.Go(ctx, game, seq, savepoint.IfSeq(math.MaxUint32)).Err()
		if !errors.Is(err, savepoint.ErrConflict) {
			return Save, fmt.Errorf("a write with an old seq was not refused: %w", err)
		}
		h.r.Conflicts++
		return Save, nil
	default:
		h.seqs[game] = seq + 1
		return Save, h.typed.Go(ctx, game, seq+1).Err()
	}
}
