package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/liap-tui/savepoint/bench/measure"
	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/report"
	"github.com/liap-tui/savepoint/bench/workload"
)

// session is one run of the command.
type session struct {
	*config
	ctx   context.Context
	probe *measure.Probe
	out   io.Writer
	log   io.Writer
	start time.Time
	cells int

	load     *workload.Load // the newest
	loadName string

	sheets []string
	ratios []string
	charts map[string][]report.Group // by title
	order  []string
	failed []string
	short  bool // -quick ran out of time
}

func (s *session) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.sheets = append(s.sheets, text)
	fmt.Fprintln(s.out, text)
}

func (s *session) intro(fsType string) {
	s.say("# savepoint and its peers\n\n%s; disk: %s; %d rounds of %v a cell, order of the peers by seed %d; %s.",
		machine(), fsType, s.rounds, s.duration, s.seed, time.Now().UTC().Format("2 January 2006"))
	if s.rounds < 7 {
		s.say("\nFewer than seven rounds: do not quote these figures.")
	}
	s.say("")
}

// all runs the selected scenarios.
func (s *session) all() error {
	for _, name := range scenarios {
		if !slices.Contains(s.only, name) {
			continue
		}
		s.deadline = s.quickDeadline(name)
		var err error
		switch name {
		case "typed":
			err = s.typed()
		case "durable":
			err = s.appends("durable", s.machines, s.writers, s.duration, nil)
		case "sustained":
			err = s.appends("sustained", s.machines, s.writers, s.sustained, nil)
		case "async":
			err = s.appends("async", []int{slices.Max(s.machines)}, []int{0}, s.duration, nil)
		case "hybrid":
			err = s.hybrid()
		case "load":
			err = s.loads()
		case "space":
			err = s.space()
		case "open":
			err = s.opens()
		case "growth":
			err = s.growth()
		case "author":
			err = s.author()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// quickDeadline returns the time at which a scenario of -quick has to end; the
// zero time means no limit.
func (s *session) quickDeadline(scenario string) time.Time {
	if !s.quick {
		return time.Time{}
	}
	after := map[string]time.Duration{"typed": 6, "durable": 38, "sustained": 42, "async": 45, "hybrid": 47, "load": 52, "growth": 58}
	return s.start.Add(after[scenario] * time.Second)
}

// payload makes the load for the given number of machines. With few machines each
// gets a whole game, with many the first events of one.
func (s *session) payload(name string, machines int) (*workload.Load, error) {
	events := 48
	switch {
	case machines <= 100:
		events = 1000
	case s.quick:
		events = 16
	}
	key := fmt.Sprint(name, machines, events)
	if s.loadName == key {
		return s.load, nil
	}
	s.load, s.loadName = nil, ""
	l, err := workload.New(name, machines, events, s.recorded)
	if err == nil {
		s.load, s.loadName = l, key
	}
	return l, err
}

// interleave calls fn for each peer in each round, every round in an order of its
// own, each time with an empty directory. A peer that fails is left out from
// then on, and named at the end; ours must not fail.
func (s *session) interleave(peers []peer.Peer, fn func(round int, p peer.Peer, dir string) error) error {
	random := rand.New(rand.NewPCG(s.seed, uint64(s.cells)))
	out := map[string]bool{}
	for round := range s.rounds {
		peers := slices.Clone(peers)
		random.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
		for _, p := range peers {
			if err := s.ctx.Err(); err != nil {
				return err
			}
			if out[p.Name] {
				continue
			}
			if !s.deadline.IsZero() && time.Now().After(s.deadline) {
				s.short = true
				return nil
			}
			dir := filepath.Join(s.dir, fmt.Sprintf("cell-%d", s.cells))
			s.cells++
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			s.probe.Calm()
			err := fn(round, p, dir)
			if gone := os.RemoveAll(dir); err == nil {
				err = gone
			}
			if err != nil && p.Ours {
				return err
			}
			if err != nil {
				out[p.Name] = true
				s.failed = append(s.failed, err.Error())
				fmt.Fprintln(s.log, err)
			}
		}
	}
	return nil
}

// stores returns the peers that store encoded bytes on a disk: all but the typed
// API and those that store nothing.
func (s *session) stores() []peer.Peer {
	return slices.DeleteFunc(slices.Clone(s.peers), func(p peer.Peer) bool {
		return p.Name == peer.API || p.Name == peer.APIDefault || p.Volatile
	})
}

// ratio adds a RATIO line, which is machine-readable.
func (s *session) ratio(scenario, payload string, writers int, peer string, value float64) {
	if payload != "games" {
		scenario += "@" + payload
	}
	s.ratios = append(s.ratios, fmt.Sprintf("RATIO %s %d %s %.2f", scenario, max(writers, 1), peer, value))
}

func (s *session) chart(title string, g report.Group) {
	if s.charts == nil {
		s.charts = map[string][]report.Group{}
	}
	if s.charts[title] == nil {
		s.order = append(s.order, title)
	}
	s.charts[title] = append(s.charts[title], g)
}

// finish prints the last lines and writes the files.
func (s *session) finish() error {
	s.say("\n%s. The run took %v.", s.probe, time.Since(s.start).Round(time.Second))
	if s.short {
		s.say("\nTime ran out: some cells have fewer rounds, or none.")
	}
	for _, f := range s.failed {
		s.say("\nLeft out: %s", f)
	}
	defer func() { // the last lines, whatever the files do
		fmt.Fprintln(s.out)
		for _, r := range s.ratios {
			fmt.Fprintln(s.out, r)
		}
	}()
	if s.config.out == "" {
		return nil
	}
	if err := os.MkdirAll(s.config.out, 0o755); err != nil {
		return err
	}
	text := strings.Join(s.sheets, "\n") + "\n"
	for _, title := range s.order {
		name := strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			}
			return '-'
		}, strings.ToLower(title)) + ".svg"
		svg := report.Chart(title, "per second, median of the rounds", s.charts[title])
		if err := os.WriteFile(filepath.Join(s.config.out, name), []byte(svg), 0o644); err != nil {
			return err
		}
		text += fmt.Sprintf("\n![%s](%s)\n", title, name)
	}
	text += "\n```text\n" + strings.Join(s.ratios, "\n") + "\n```\n"
	return os.WriteFile(filepath.Join(s.config.out, "compare.md"), []byte(text), 0o644)
}
