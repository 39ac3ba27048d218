package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/workload"
)

// Appending configures a load of appends.
type Appending struct {
	Machines int
	Writers  int           // goroutines that wait for each append; 0 = one that does not wait
	Window   int           // without waiting: the limit of pending appends
	Duration time.Duration // of the measured part
	Every    int           // events of a machine between its snapshots; 0 = no snapshots
	State    []byte        // the snapshot's bytes
	Device   bool          // count what reaches the device: it costs a sync of the file system before and after
}

// Appended is the result of Append.
type Appended struct {
	Rate       float64 // appends per second
	Events     int64
	P50, P99   time.Duration
	Written    float64 // bytes to the device per byte of an event, until the store was closed; NaN if not counted
	FileBytes  int64   // after the close, per all events of the cell
	PeakMemory int64
	Total      int64 // events in the store, those of the filling included
}

// Append opens the peer in dir, appends the first event of each machine, measures
// appends for o.Duration, and closes the peer. In a CPU profile all samples of it,
// those of the peer's own goroutines included, have the label peer.
func Append(p peer.Peer, dir string, load *workload.Load, o Appending) (r Appended, err error) {
	pprof.Do(context.Background(), pprof.Labels("peer", p.Name), func(context.Context) { r, err = appendTo(p, dir, load, o) })
	return r, err
}

func appendTo(p peer.Peer, dir string, load *workload.Load, o Appending) (r Appended, err error) {
	memory := watchPeak()
	s, err := p.Open(dir, load)
	if err != nil {
		return r, fmt.Errorf("%s: %w", p.Name, err)
	}
	defer func() {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := Fill(s, load, 0, o.Machines, 1, 1); err != nil {
		return r, fmt.Errorf("%s: fill: %w", p.Name, err)
	}
	before, counted := int64(0), false
	if o.Device {
		before, counted = Written(dir)
	}
	run := newAppending(s, load, o)
	if o.Writers == 0 {
		err = run.async()
	} else {
		err = run.durable()
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", p.Name, err)
	}
	r = run.result
	r.PeakMemory = memory.bytes()
	err, s = s.Close(), nil
	r.Written = math.NaN()
	if counted && r.Events > 0 {
		after, _ := Written(dir)
		r.Written = float64(after-before) / (float64(r.Events) * load.Average())
	}
	r.FileBytes, r.Total = Allocated(dir), r.Events+int64(o.Machines)
	return r, err
}

// Fill stores, for each machine from first to end-1, its records with the seqs from
// to last, in large batches.
func Fill(s peer.Store, load *workload.Load, first, end int, from, last uint64) error {
	const many = 2000
	var batch []peer.Append
	flush := func() error {
		as := make([]*peer.Append, len(batch))
		for i := range batch {
			as[i] = &batch[i]
		}
		if err := s.Batch(as); err != nil {
			return err
		}
		for i := range batch {
			if batch[i].Err != nil {
				return batch[i].Err
			}
		}
		batch = batch[:0]
		return nil
	}
	for seq := from; seq <= last; seq++ {
		for m := first; m < end; m++ {
			batch = append(batch, peer.Append{Number: m, Machine: workload.Key(m), Seq: seq, Event: load.At(m, seq)})
			if len(batch) == many {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// appending is a store under load.
type appending struct {
	s       peer.Store
	load    *workload.Load
	o       Appending
	keys    []string
	seqs    []uint64     // of each machine; its owner's, or under its lock
	locks   []sync.Mutex // where writers share machines
	stop    atomic.Bool
	events  atomic.Int64
	result  Appended
	latency Latencies
}

func newAppending(s peer.Store, load *workload.Load, o Appending) *appending {
	r := &appending{s: s, load: load, o: o}
	r.keys, r.seqs, r.locks = make([]string, o.Machines), make([]uint64, o.Machines), make([]sync.Mutex, o.Machines)
	for i := range r.keys {
		r.keys[i], r.seqs[i] = workload.Key(i), 1
	}
	return r
}

// next sets a to the next append of a machine.
func (r *appending) next(a *peer.Append, machine int) {
	r.seqs[machine]++
	seq := r.seqs[machine]
	a.Number, a.Machine, a.Seq, a.Event, a.State = machine, r.keys[machine], seq, r.load.At(machine, seq), nil
	if r.o.Every > 0 && seq%uint64(r.o.Every) == 0 {
		a.State = r.o.State
	}
}

// durable starts writers, each of which waits for each of its appends. With at
// least as many machines as writers, each writer has machines of its own and all
// machines are used evenly; otherwise writers share machines.
func (r *appending) durable() error {
	var mu sync.Mutex
	var errs []error
	var all sync.WaitGroup
	start := time.Now()
	timer := time.AfterFunc(r.o.Duration, func() { r.stop.Store(true) })
	defer timer.Stop()
	for w := range r.o.Writers {
		all.Go(func() {
			var l Latencies
			n, err := r.write(w, &l)
			r.events.Add(n)
			mu.Lock()
			defer mu.Unlock()
			r.latency.Merge(&l)
			if err != nil {
				r.stop.Store(true)
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	r.finish(start)
	return errors.Join(errs...)
}

func (r *appending) write(w int, l *Latencies) (n int64, err error) {
	var a peer.Append
	random := rand.New(rand.NewPCG(uint64(w), 7))
	shared := r.o.Machines < r.o.Writers
	own := (r.o.Machines - w + r.o.Writers - 1) / r.o.Writers
	for !r.stop.Load() {
		begin := time.Now()
		var wait peer.Pending
		if shared {
			m := random.IntN(r.o.Machines)
			r.locks[m].Lock()
			r.next(&a, m)
			wait, err = r.s.Start(&a)
			r.locks[m].Unlock()
		} else {
			r.next(&a, w+random.IntN(own)*r.o.Writers)
			wait, err = r.s.Start(&a)
		}
		if err == nil {
			err = wait.Wait()
		}
		if err != nil {
			return n, err
		}
		l.Add(time.Since(begin))
		n++
	}
	return n, nil
}

// async appends in one goroutine, which waits only when Window appends are pending.
func (r *appending) async() error {
	type slot struct {
		a     peer.Append
		wait  peer.Pending
		begin time.Time
	}
	ring := make([]slot, r.o.Window)
	random := rand.New(rand.NewPCG(1, 7))
	start := time.Now()
	settle := func(s *slot) error {
		if s.wait == nil {
			return nil
		}
		err := s.wait.Wait()
		s.wait = nil
		r.latency.Add(time.Since(s.begin))
		r.events.Add(1)
		return err
	}
	var at int
	for ; time.Since(start) < r.o.Duration; at++ {
		s := &ring[at%len(ring)]
		if err := settle(s); err != nil {
			return err
		}
		s.begin = time.Now()
		r.next(&s.a, random.IntN(r.o.Machines))
		var err error
		if s.wait, err = r.s.Start(&s.a); err != nil {
			return err
		}
	}
	for i := range ring {
		if err := settle(&ring[(at+i)%len(ring)]); err != nil {
			return err
		}
	}
	r.finish(start)
	return nil
}

func (r *appending) finish(start time.Time) {
	n := r.events.Load()
	r.result = Appended{
		Rate: float64(n) / time.Since(start).Seconds(), Events: n,
		P50: r.latency.Quantile(0.5), P99: r.latency.Quantile(0.99),
	}
}
