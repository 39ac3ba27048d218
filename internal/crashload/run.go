package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/liap-tui/savepoint"
)

// runner is one run of the workload on an open file. A machine is written only by
// the goroutine that holds its lock, so that the seqs of a write are known before it
// is issued.
type runner struct {
	w        *world
	machines []*machine
	left     *atomic.Int64 // number of writes left; nil = no limit
	answers  sync.WaitGroup
	waiting  chan struct{} // bounds the number of writes that are not acknowledged yet
}

// machine is what the workload knows about one machine.
type machine struct {
	sync.Mutex
	name  string
	store *savepoint.Store[game]
	id    string
	seq   uint64 // the newest record issued
	tags  uint64 // the newest tagged snapshot issued
}

// errOnPurpose is the error with which an Update is refused.
var errOnPurpose = errors.New("on purpose")

var ctx = context.Background()

// say prints one line in one system call.
func say(format string, args ...any) { os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n") }

// fatal ends the process: the workload expects no errors.
func fatal(err error) {
	os.Stderr.WriteString("crashload: " + err.Error() + "\n")
	os.Exit(1)
}

func must(err error) {
	if err != nil {
		fatal(err)
	}
}

// life opens the file, makes the writes and closes it.
func life(path string, machines, writers int, seed int64, left *atomic.Int64) {
	// The cache is too small for all machines, so that they are read from the file
	// all the time.
	w, err := open(path, &savepoint.Options{Journal: journal, Cache: savepoint.CacheOptions{Machines: max(2, machines/2)}})
	must(err)
	r := &runner{w: w, left: left, waiting: make(chan struct{}, 64)}
	for n := range machines {
		m := &machine{name: nameAt(n)}
		m.store, m.id = w.at(m.name)
		st, err := m.store.Load(ctx, m.id)
		if !errors.Is(err, savepoint.ErrNotFound) {
			must(err)
			m.seq = st.Seq
			tags, err := tagged(m.store, m.id)
			must(err)
			m.tags = uint64(len(tags))
		}
		r.machines = append(r.machines, m)
	}
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() { r.writer(rand.New(rand.NewSource(seed*1000 + int64(n)))) })
	}
	wg.Wait()
	must(w.db.Flush(ctx))
	r.answers.Wait()
	must(w.db.Close())
}

func (r *runner) writer(rnd *rand.Rand) {
	for r.left == nil || r.left.Add(-1) >= 0 {
		m := r.machines[rnd.Intn(len(r.machines))]
		switch n := rnd.Intn(100); {
		case n < 15 && len(r.machines) > 1:
			r.across(rnd)
			continue
		case n < 45:
			m.Lock()
			r.one(m)
		case n < 60:
			m.Lock()
			r.several(m, 2+rnd.Intn(3))
		case n < 85:
			m.Lock()
			r.burst(m, rnd)
		case n < 92:
			m.Lock()
			r.one(m)
			r.byHand(m, rnd)
		default:
			m.Lock()
			r.refused(m, rnd)
			r.one(m)
			r.read(m)
		}
		m.Unlock()
	}
}

// next assigns the next n records of a machine to a write, and prints its BEGIN line.
func (m *machine) next(n int) part {
	p := part{Machine: m.name, Lo: m.seq + 1, Hi: m.seq + uint64(n)}
	m.seq = p.Hi
	say("BEGIN %s %d %d", p.Machine, p.Lo, p.Hi)
	return p
}

func (p part) acknowledged() { say("ACK %s %d", p.Machine, p.Hi) }

// landed checks the result of a write.
func landed(p part, h savepoint.Head, err error) {
	must(err)
	if h.Seq != p.Hi || h.Phase != phaseAt(p.Hi) {
		fatal(fmt.Errorf("%s: write %d to %d returned seq %d in phase %s", p.Machine, p.Lo, p.Hi, h.Seq, h.Phase))
	}
}

// one writes one record and waits. A write with a key is made twice.
func (r *runner) one(m *machine) {
	p := m.next(1)
	h, err := submit(m.store, m.id, p, []part{p})
	landed(p, h, err)
	p.acknowledged()
	if keyed(p.Machine, p.Lo) {
		h, err = submit(m.store, m.id, p, []part{p})
		landed(p, h, err)
	}
}

// submit makes the write of p, alone. A second call makes the same write, so that
// its key can be tested.
func submit(s *savepoint.Store[game], id string, p part, step []part) (savepoint.Head, error) {
	o := options(p, true)
	switch {
	case p.Hi > p.Lo:
		return s.Update(ctx, id, func(m *savepoint.Machine[game]) error { return fill(m, p, step) }, o...)
	case saves(p.Machine, p.Lo):
		return s.Save(ctx, id, stateAt(p.Machine, p.Lo, step), o...)
	}
	return s.Append(ctx, id, eventAt(p.Machine, p.Lo, step), o...)
}

// several writes n records at once and waits.
func (r *runner) several(m *machine, n int) {
	p := m.next(n)
	h, err := submit(m.store, m.id, p, []part{p})
	landed(p, h, err)
	p.acknowledged()
}

// burst writes without waiting. Another goroutine waits for the writes, in order.
func (r *runner) burst(m *machine, rnd *rand.Rand) {
	type pending struct {
		p   part
		ack *savepoint.Ack
	}
	var list []pending
	for range 2 + rnd.Intn(5) {
		n := 1
		if saves(m.name, m.seq+1) || rnd.Intn(4) == 0 {
			n = 2 + rnd.Intn(2)
		}
		r.waiting <- struct{}{}
		p := m.next(n)
		step, o := []part{p}, options(p, true)
		if n == 1 {
			list = append(list, pending{p, m.store.Go(ctx, m.id, eventAt(m.name, p.Lo, step), o...)})
		} else {
			list = append(list, pending{p, m.store.GoUpdate(ctx, m.id, func(sm *savepoint.Machine[game]) error { return fill(sm, p, step) }, o...)})
		}
	}
	r.answers.Go(func() {
		if m.store.Kind() == statesOnly {
			must(r.w.db.Flush(ctx)) // makes such writes durable before their interval has passed
		}
		for _, a := range list {
			h, err := a.ack.Wait(ctx)
			landed(a.p, h, err)
			a.p.acknowledged()
			<-r.waiting
		}
	})
}

// across writes to several machines at once and waits.
func (r *runner) across(rnd *rand.Rand) {
	chosen := rnd.Perm(len(r.machines))[:min(len(r.machines), 2+rnd.Intn(2))]
	slices.Sort(chosen)
	var step []part
	for _, n := range chosen {
		m := r.machines[n]
		m.Lock()
		defer m.Unlock()
		step = append(step, m.next(1+rnd.Intn(3)))
	}
	must(acrossAll(r.w, step))
	for _, p := range step {
		p.acknowledged()
	}
}

func acrossAll(w *world, step []part) error {
	return w.db.Update(ctx, func(tx *savepoint.Tx) error {
		for _, p := range step {
			s, id := w.at(p.Machine)
			m, err := s.In(tx, id, options(p, false)...)
			if err != nil {
				return err
			}
			if err := fill(m, p, step); err != nil {
				return err
			}
		}
		return nil
	})
}

// tagPrefix and a number are the tag of a manual snapshot. Tagged snapshots are
// never pruned, so they are acknowledged like records, under a separate name.
const tagPrefix = "kept-"

func tagsOf(machine string) string { return machine + "#tags" }

// byHand takes a snapshot, with a tag or without, or deletes one. It follows a new
// record, so that it never replaces a snapshot with a tag.
func (r *runner) byHand(m *machine, rnd *rand.Rand) {
	switch rnd.Intn(4) {
	case 0:
		m.tags++
		say("BEGIN %s %d %d", tagsOf(m.name), m.tags, m.tags)
		_, err := m.store.Snapshot(ctx, m.id, savepoint.Tag(fmt.Sprint(tagPrefix, m.tags)))
		must(err)
		say("ACK %s %d", tagsOf(m.name), m.tags)
	case 1:
		var loose []uint64
		for info, err := range m.store.Snapshots(ctx, m.id, savepoint.SnapshotRange{}) {
			must(err)
			if !info.Base && len(info.Tags) == 0 && info.Seq != m.seq {
				loose = append(loose, info.Seq)
			}
		}
		if len(loose) > 0 {
			_, err := m.store.DeleteSnapshot(ctx, m.id, loose[rnd.Intn(len(loose))])
			must(err)
		}
	default:
		_, err := m.store.Snapshot(ctx, m.id, savepoint.Because("by hand"))
		must(err)
	}
}

// tagged lists the numbers of a machine's tagged snapshots, which have no holes.
func tagged(s *savepoint.Store[game], id string) ([]uint64, error) {
	var numbers []uint64
	for info, err := range s.Snapshots(ctx, id, savepoint.SnapshotRange{}) {
		if err != nil {
			return nil, err
		}
		for _, t := range info.Tags {
			var n uint64
			if strings.HasPrefix(t, tagPrefix) {
				if _, err := fmt.Sscan(t[len(tagPrefix):], &n); err != nil {
					return nil, fmt.Errorf("tag %q: %w", t, err)
				}
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != uint64(i)+1 {
			return numbers, fmt.Errorf("tagged snapshot %d is missing, or occurs twice", i+1)
		}
	}
	return numbers, nil
}

// refused makes writes that are refused and must have no effect.
func (r *runner) refused(m *machine, rnd *rand.Rand) {
	var err error
	switch rnd.Intn(3) {
	case 0:
		_, err = m.store.Append(ctx, m.id, moved{Seq: m.seq + 2, Body: []byte("out of turn")})
	case 1:
		_, err = m.store.Append(ctx, m.id, eventAt(m.name, m.seq+1, nil), savepoint.IfSeq(m.seq+1))
		if err != nil && !errors.Is(err, savepoint.ErrConflict) {
			fatal(err)
		}
	default:
		p := part{Machine: m.name, Lo: m.seq + 1, Hi: m.seq + 2}
		_, err = m.store.Update(ctx, m.id, func(sm *savepoint.Machine[game]) error {
			if err := fill(sm, p, []part{p}); err != nil {
				fatal(err)
			}
			return errOnPurpose
		})
		if !errors.Is(err, errOnPurpose) {
			fatal(fmt.Errorf("%s: an Update refused on purpose returned %v", m.name, err))
		}
	}
	if err == nil {
		fatal(fmt.Errorf("%s: a write that must be refused was not", m.name))
	}
}

// read reads the machine while other goroutines write.
func (r *runner) read(m *machine) {
	st, err := m.store.Load(ctx, m.id)
	must(err)
	if what := st.Value.differs(m.name, m.seq); what != "" || st.Seq != m.seq {
		fatal(fmt.Errorf("%s: record %d of %d: %s", m.name, st.Seq, m.seq, what))
	}
	must(m.store.View(ctx, m.id, func(st *savepoint.State[game]) error {
		if what := st.Value.differs(m.name, m.seq); what != "" {
			return errors.New(what)
		}
		return nil
	}))
}
