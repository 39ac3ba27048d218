package main

import (
	"fmt"

	"github.com/liap-tui/savepoint/bench/measure"
	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/report"
)

// grown lists the sizes of the growth scenario: machines, and events of each.
var grown = [][2]int{{100, 10}, {100, 100}, {100, 1000}, {100, 10_000}, {1000, 100}, {10_000, 10}, {10_000, 100}, {100_000, 10}}

// growth measures what appends, loads and openings cost in stores of several
// sizes.
func (s *session) growth() error {
	sizes := grown
	if s.quick {
		sizes = sizes[:2]
	}
	for _, size := range sizes {
		machines, events := size[0], size[1]
		load, err := s.payload(s.payloads[0], machines)
		if err != nil {
			return err
		}
		peers := s.stores()
		results := map[string][]measure.Grown{}
		err = s.interleave(peers, func(_ int, p peer.Peer, dir string) error {
			g, err := measure.Grow(p, dir, load, machines, events, s.duration)
			if err == nil {
				results[p.Name] = append(results[p.Name], g)
			}
			return err
		})
		if err != nil {
			return err
		}
		sheet := &report.Sheet{Title: fmt.Sprintf("growth, %s, %d machines of %d events", load.Name, machines, events),
			Head: []string{"peer", "appends/s, 1 writer", "64 writers", "load, µs an event", "open, ms", "file bytes / event"}}
		for _, p := range peers {
			if len(results[p.Name]) == 0 {
				continue
			}
			of := func(get func(g measure.Grown) float64) string {
				var values []float64
				for _, g := range results[p.Name] {
					values = append(values, get(g))
				}
				return span(values)
			}
			sheet.Add(p.Name, of(func(g measure.Grown) float64 { return g.Alone }), of(func(g measure.Grown) float64 { return g.Many }),
				of(func(g measure.Grown) float64 { return g.Load.Seconds() * 1e6 }), of(func(g measure.Grown) float64 { return g.Open.Seconds() * 1e3 }),
				of(func(g measure.Grown) float64 { return g.FileBytes }))
		}
		s.say("%s", sheet)
	}
	return nil
}
