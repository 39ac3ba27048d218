package main

import (
	"fmt"
	"time"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/bench/measure"
	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/report"
	"github.com/liap-tui/savepoint/bench/workload"
)

// series holds the results of one peer in one cell, by round.
type series map[int]measure.Appended

func (r series) of(get func(measure.Appended) float64) (values []float64) {
	for _, a := range r {
		values = append(values, get(a))
	}
	return values
}

// against returns the ratios of two series, round by round.
func (r series) against(o series) (values []float64) {
	for round, a := range r {
		if b, ok := o[round]; ok && b.Rate > 0 {
			values = append(values, a.Rate/b.Rate)
		}
	}
	return values
}

func rate(a measure.Appended) float64 { return a.Rate }

// appends runs a scenario of appends: each number of machines with each number
// of writers; 0 writers means one goroutine that does not wait.
func (s *session) appends(scenario string, machines, writers []int, duration time.Duration, snapshots *snapshots) error {
	for _, payload := range s.payloads {
		for _, m := range machines {
			load, err := s.payload(payload, m)
			if err != nil {
				return err
			}
			for _, w := range writers {
				o := measure.Appending{Machines: m, Writers: w, Window: 1000, Duration: duration, Device: scenario == "sustained"}
				peers := s.peers
				if snapshots != nil {
					o.Every, o.State = snapshots.every, snapshots.state
					peers = snapshots.peers(peers)
				}
				if err := s.cell(scenario, load, peers, o); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// cell runs all peers with one load and reports the results.
func (s *session) cell(scenario string, load *workload.Load, peers []peer.Peer, o measure.Appending) error {
	var run []peer.Peer
	for _, p := range peers {
		if o.Writers > 0 || !p.Blocking {
			run = append(run, p)
		}
	}
	results := map[string]series{}
	err := s.interleave(run, func(round int, p peer.Peer, dir string) error {
		r, err := measure.Append(p, dir, load, o)
		if err != nil {
			return err
		}
		if results[p.Name] == nil {
			results[p.Name] = series{}
		}
		results[p.Name][round] = r
		return nil
	})
	if err != nil || len(results) == 0 {
		return err
	}
	who := fmt.Sprintf("%d writers", o.Writers)
	switch o.Writers {
	case 0:
		who = fmt.Sprintf("one goroutine, at most %d pending", o.Window)
	case 1:
		who = "1 writer"
	}
	sheet := &report.Sheet{
		Title: fmt.Sprintf("%s, %s (%.0f bytes an event), %d machines, %s", scenario, load.Name, load.Average(), o.Machines, who),
		Head:  []string{"peer", "appends/s", "engine / peer", "api / peer", "p50", "p99", "device bytes / event byte", "file bytes / event", "peak memory"},
	}
	group := report.Group{Name: who}
	for _, p := range run {
		r := results[p.Name]
		if len(r) == 0 {
			continue
		}
		cells := []any{p.Name, span(r.of(rate))}
		for _, ours := range []string{peer.Engine, peer.API} {
			ratios := results[ours].against(r)
			if p.Ours || len(ratios) == 0 {
				cells = append(cells, "-")
				continue
			}
			cells = append(cells, span(ratios))
			s.appendRatio(scenario, load.Name, o, ours, p.Name, measure.Median(ratios))
		}
		mid := func(get func(measure.Appended) float64) float64 { return measure.Median(r.of(get)) }
		cells = append(cells,
			micros(mid(func(a measure.Appended) float64 { return float64(a.P50) })),
			micros(mid(func(a measure.Appended) float64 { return float64(a.P99) })),
			report.Number(mid(func(a measure.Appended) float64 { return a.Written })),
			report.Number(mid(func(a measure.Appended) float64 { return float64(a.FileBytes) / float64(a.Total) })),
			report.Bytes(mid(func(a measure.Appended) float64 { return float64(a.PeakMemory) })))
		sheet.Add(cells...)
		group.Bars = append(group.Bars, report.Bar{Name: p.Name, Value: mid(rate), Ours: p.Ours})
	}
	s.say("%s", sheet)
	s.chart(fmt.Sprintf("%s, %s, %d machines", scenario, load.Name, o.Machines), group)
	return nil
}

// appendRatio adds a RATIO line, with the cell's name in the form that these lines use.
func (s *session) appendRatio(scenario, payload string, o measure.Appending, ours, name string, value float64) {
	switch {
	case scenario == "durable" && ours == peer.Engine:
		s.ratio(fmt.Sprintf("durable-engine-%d", o.Machines), payload, o.Writers, name, value)
	case scenario == "durable":
		s.ratio(fmt.Sprintf("durable-api-%d", o.Machines), payload, o.Writers, name, value)
	case ours == peer.API:
		return
	case scenario == "async":
		s.ratio("async", payload, o.Writers, name, value)
	default:
		s.ratio(fmt.Sprintf("%s-%d", scenario, o.Machines), payload, o.Writers, name, value)
	}
}

// snapshots configures the hybrid scenario.
type snapshots struct {
	every int
	state []byte
}

// peers lets the typed API take snapshots by its own policy.
func (h *snapshots) peers(peers []peer.Peer) (out []peer.Peer) {
	for _, p := range peers {
		if p.Name == peer.API || p.Name == peer.APIDefault {
			p = peer.WithPolicy(p, savepoint.SnapshotPolicy{Events: h.every, Every: -1, NoClose: true})
		}
		out = append(out, p)
	}
	return out
}

// hybrid runs appends with a snapshot at every 20th event of a machine, with so few
// machines that each stores several.
func (s *session) hybrid() error {
	state, err := workload.GameState(40)
	if err != nil {
		return err
	}
	return s.appends("hybrid", []int{100}, s.writers, s.duration, &snapshots{every: 20, state: state})
}

func span(values []float64) string {
	low, high := measure.Interval(values)
	return report.Span(measure.Median(values), low, high)
}

func micros(ns float64) string {
	return time.Duration(ns).Round(time.Microsecond).String()
}
