package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/bench/measure"
	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/report"
)

// typed measures what no peer has: reads of a live machine, and the rebuild of a
// machine, compared with a plain loop over the same bytes.
func (s *session) typed() error {
	var ours, plain, view, load, ratio []float64
	for range s.rounds {
		dir := filepath.Join(s.dir, fmt.Sprintf("cell-%d", s.cells))
		s.cells++
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		r, err := measure.Recovery(dir, min(s.duration, 500*time.Millisecond))
		if err != nil {
			return err
		}
		ours, plain = append(ours, float64(r.Ours)/1e3), append(plain, float64(r.Plain)/1e3)
		view, load = append(view, float64(r.View)), append(load, float64(r.Load)/1e3)
		ratio = append(ratio, float64(r.Ours)/float64(r.Plain))
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	sheet := &report.Sheet{Title: "typed API, one machine", Head: []string{"what", "median"}}
	sheet.Add("View of a live machine, ns", span(view))
	sheet.Add("Load of a live machine (a copy), µs", span(load))
	sheet.Add("rebuild: snapshot and 50 events, µs", span(ours))
	sheet.Add("the same bytes in memory, plain loop, µs", span(plain))
	sheet.Add("rebuild / plain loop", span(ratio))
	s.say("%s", sheet)
	return nil
}

// space measures the size of stored events and snapshots, compared with their JSON.
func (s *session) space() error {
	dir := filepath.Join(s.dir, "space")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stored, err := measure.Space(dir, s.recorded)
	if err != nil {
		return err
	}
	sheet := &report.Sheet{Title: "space, compared with JSON", Head: []string{"what", "items", "JSON bytes each",
		"encoded", "compressed", "stored", "stored bytes each", "items a value"}}
	for _, t := range stored {
		part := func(n int64) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(t.JSON)) }
		sheet.Add(t.What, fmt.Sprint(t.Items), fmt.Sprint(t.JSON/int64(t.Items)), part(t.Raw), part(t.Payload), part(t.Bytes),
			fmt.Sprint(t.Bytes/int64(t.Items)), fmt.Sprintf("%.1f", float64(t.Items)/float64(t.Values)))
	}
	s.say("%s", sheet)
	return nil
}

// loads measures the reading of one machine with 50 events.
func (s *session) loads() error {
	for _, payload := range s.payloads {
		load, err := s.payload(payload, slices.Max(s.machines))
		if err != nil {
			return err
		}
		o := measure.Reading{Machines: min(2000, load.Machines()), Events: 50, Loads: 5000}
		if s.quick {
			o.Machines, o.Loads = min(200, o.Machines), 1000
		}
		for _, cold := range []bool{false, true} {
			o.Cold = cold
			if cold {
				o.Loads = 200
			}
			if err := s.reading(payload, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) reading(payload string, o measure.Reading) error {
	rates := map[string]map[int]float64{}
	peers := s.stores()
	err := s.interleave(peers, func(round int, p peer.Peer, dir string) error {
		r, err := measure.Read(p, dir, s.load, o)
		if errors.Is(err, measure.ErrNoReading) {
			return nil
		}
		if err == nil {
			if rates[p.Name] == nil {
				rates[p.Name] = map[int]float64{}
			}
			rates[p.Name][round] = r
		}
		return err
	})
	if err != nil {
		return err
	}
	name := "load-warm"
	if o.Cold {
		name = "load-cold"
	}
	sheet := &report.Sheet{Title: fmt.Sprintf("%s, %s, head and %d events of one of %d machines", name, payload, o.Events, o.Machines),
		Head: []string{"peer", "loads/s", "engine / peer"}}
	group := report.Group{Name: name}
	for _, p := range peers {
		r := rates[p.Name]
		if len(r) == 0 {
			continue
		}
		all := slices.Collect(maps.Values(r))
		if p.Ours {
			sheet.Add(p.Name, span(all), "-")
		} else {
			var ratios []float64
			for round, v := range r {
				if ours, ok := rates[peer.Engine][round]; ok {
					ratios = append(ratios, ours/v)
				}
			}
			sheet.Add(p.Name, span(all), span(ratios))
			if len(ratios) > 0 {
				s.ratio(name, payload, 1, p.Name, measure.Median(ratios))
			}
		}
		group.Bars = append(group.Bars, report.Bar{Name: p.Name, Value: measure.Median(all), Ours: p.Ours})
	}
	if len(sheet.Rows) > 0 {
		s.say("%s", sheet)
		s.chart("load of one machine, "+payload, group)
	}
	return nil
}

// opens measures the opening of stores that hold many events.
func (s *session) opens() error {
	sizes := []int{10_000}
	if s.million {
		sizes = append(sizes, 1_000_000)
	}
	load, err := s.payload(s.payloads[0], 10_000)
	if err != nil {
		return err
	}
	for _, n := range sizes {
		cells, file := map[string]*openings{}, map[string]float64{}
		cell := func(name string) *openings {
			if cells[name] == nil {
				cells[name] = new(openings)
			}
			return cells[name]
		}
		err := s.interleave(s.peers, func(_ int, p peer.Peer, dir string) error {
			if p.Volatile || p.Name == peer.APIDefault {
				return nil
			}
			r, err := measure.Open(p, dir, load, 10_000, n)
			if err != nil {
				return err
			}
			cell(p.Name + ", after a clean close").add(r.Clean)
			cell(p.Name + ", after a crash").add(r.Crash)
			file[p.Name] = float64(r.FileBytes)
			if p.Name == peer.Engine {
				full, err := measure.FullJournal(dir, load, 10_000, n, fullJournal)
				if err != nil {
					return err
				}
				cell(p.Name + fullName).add(full)
			}
			return nil
		})
		if err != nil {
			return err
		}
		sheet := &report.Sheet{Title: fmt.Sprintf("open, %s, %d events", load.Name, n),
			Head: []string{"peer", "ms", "structure check, ms", "replayed", "on disk"}}
		for _, p := range s.peers {
			for _, how := range []string{", after a clean close", ", after a crash", fullName} {
				if c := cells[p.Name+how]; c != nil {
					sheet.Add(p.Name+how, span(c.time), span(c.check), report.Bytes(c.replayed), report.Bytes(file[p.Name]))
				}
			}
		}
		s.say("%s", sheet)
	}
	return nil
}

// A crash with a full journal of the default size: its content is five quarters
// of 32 MiB, the amount at which a checkpoint becomes due.
const (
	fullJournal = 40 << 20
	fullName    = ", after a crash, journal full"
)

// openings holds the times of one cell's openings, in milliseconds.
type openings struct {
	time, check []float64
	replayed    float64 // bytes, of the last one
}

func (o *openings) add(r measure.Opening) {
	o.time, o.check = append(o.time, r.Time.Seconds()*1e3), append(o.check, r.Check.Seconds()*1e3)
	o.replayed = float64(r.Replayed)
}

// author runs the load that the author of the original library specified.
func (s *session) author() error {
	load, err := s.payload("games", max(measure.AuthorGames, slices.Max(s.machines)))
	if err != nil {
		return err
	}
	sheet := &report.Sheet{Title: fmt.Sprintf("the author's load: %d games, 2 operations a second each, %v a shape, typed API with defaults", measure.AuthorGames, s.sustained),
		Head: []string{"shape", "operation", "done", "p50", "p99", "target", "reached"}}
	for _, shape := range []string{"steady", "burst", "wave"} {
		dir := filepath.Join(s.dir, "author-"+shape)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		s.probe.Calm()
		r, err := measure.Author(dir, load, shape, s.sustained)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		for op, target := range measure.Targets {
			l := &r.Latencies[op]
			p99 := l.Quantile(0.99)
			sheet.Add(shape, measure.Operation(op), l.Count(), micros(float64(l.Quantile(0.5))), micros(float64(p99)), target, p99 < target)
		}
		sheet.Notes = append(sheet.Notes, fmt.Sprintf("%s: %d of %d operations done (%s %%), %d of them writes refused as conflicts, as they should be.",
			shape, r.Done, r.Wanted, report.Number(100*float64(r.Done)/math.Max(float64(r.Wanted), 1)), r.Conflicts))
	}
	s.say("%s", sheet)
	return nil
}
