// Command compare runs savepoint and its peers under the same loads, one after
// the other and round by round, and prints the results.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/liap-tui/savepoint/bench/measure"
	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/workload"
)

// config holds the command's flags.
type config struct {
	dir, out       string
	quick, million bool
	only           []string
	payloads       []string
	peers          []peer.Peer
	writers        []int
	machines       []int
	rounds         int
	duration       time.Duration
	sustained      time.Duration
	wait           time.Duration
	seed           uint64
	recorded       string
	profile        string
	deadline       time.Time // of -quick
}

// scenarios lists the scenarios in the order in which they run.
var scenarios = []string{"typed", "durable", "sustained", "async", "hybrid", "load", "space", "open", "growth", "author"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	c.dir, err = os.MkdirTemp(c.dir, "compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	kind, memory := measure.Device(c.dir)
	if memory {
		return fmt.Errorf("%s is in a file system of type %s, which is not durable: name a directory on a disk with -dir", c.dir, kind)
	}
	if c.profile != "" {
		f, err := os.Create(c.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	probe, err := measure.NewProbe(c.dir)
	if err != nil {
		return err
	}
	defer probe.Close()
	probe.Wait = c.wait
	s := &session{config: c, ctx: ctx, probe: probe, out: stdout, log: stderr, start: time.Now()}
	s.intro(kind)
	if err := s.all(); err != nil {
		return err
	}
	return s.finish()
}

func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	var only, payloads, peers, writers, machines string
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.Int64Var(&peer.Journal, "journal", 0, "size of savepoint's journal in bytes (Options.Journal); 0 = its default")
	f.SetOutput(stderr)
	f.StringVar(&c.dir, "dir", "", "directory on a real disk to store in (default: .data below the working directory)")
	f.StringVar(&c.out, "out", "", "write Markdown and SVG charts to this directory, for example results")
	f.BoolVar(&c.quick, "quick", false, "first results within a minute: 1 and 64 writers, 10,000 machines, two rounds")
	f.BoolVar(&c.million, "million", false, "scenario open: a store of a million events too")
	f.StringVar(&only, "only", "", "scenarios, with commas: "+strings.Join(scenarios, ", "))
	f.StringVar(&payloads, "payload", "games", "payloads, with commas: "+strings.Join(workload.Ways, ", ")+", or all")
	f.StringVar(&peers, "peers", "", "peers, with commas; ours are added if none of them is named (default all)")
	f.StringVar(&writers, "writers", "1,8,64,512", "numbers of writers")
	f.StringVar(&machines, "machines", "1,100,10000", "numbers of machines")
	f.IntVar(&c.rounds, "rounds", 7, "rounds; figures that are quoted need seven")
	f.DurationVar(&c.duration, "duration", 2*time.Second, "duration of each cell")
	f.DurationVar(&c.sustained, "sustained", 10*time.Second, "duration of each sustained cell, and of each shape of the author's load")
	f.DurationVar(&c.wait, "wait", 5*time.Second, "how long to wait for a calm disk before each cell")
	f.Uint64Var(&c.seed, "seed", 1, "seed of the order of the peers in each round")
	f.StringVar(&c.recorded, "recorded", workload.RecordedPath(), "file of the recorded games")
	f.StringVar(&c.profile, "cpuprofile", "", "write a CPU profile of the whole run to this file")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if c.quick {
		quick := func(name, value string) {
			if !given[name] {
				_ = f.Set(name, value)
			}
		}
		quick("only", "durable,async,load")
		quick("writers", "1,64")
		quick("machines", "10000")
		quick("rounds", "2")
		quick("duration", "200ms")
		quick("sustained", "1s")
		quick("wait", "0s")
	}
	if payloads == "all" {
		payloads = strings.Join(workload.Ways, ",")
	}
	c.only, c.payloads = list(only), list(payloads)
	if len(c.only) == 0 {
		c.only = scenarios
	}
	for _, s := range c.only {
		if !slices.Contains(scenarios, s) {
			return nil, fmt.Errorf("no scenario %q: use some of %v", s, scenarios)
		}
	}
	names := list(peers)
	if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return n == peer.Engine || n == peer.API || n == peer.APIDefault }) {
		names = append(names, peer.Engine, peer.API)
	}
	var err error
	if c.peers, err = peer.Find(names...); err != nil {
		return nil, err
	}
	if c.quick && len(names) == 0 {
		c.peers = slices.DeleteFunc(c.peers, func(p peer.Peer) bool { return p.Name == peer.APIDefault })
	}
	if c.writers, err = numbers(writers); err != nil {
		return nil, err
	}
	if c.machines, err = numbers(machines); err != nil {
		return nil, err
	}
	if c.dir == "" {
		c.dir = ".data"
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			return nil, err
		}
	}
	c.dir, err = filepath.Abs(c.dir)
	return c, err
}

func list(text string) (items []string) {
	for s := range strings.SplitSeq(text, ",") {
		if s = strings.TrimSpace(s); s != "" {
			items = append(items, s)
		}
	}
	return items
}

func numbers(text string) (ns []int, err error) {
	for _, s := range list(text) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number above zero", s)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// machine describes the computer that runs the benchmark, without its name.
func machine() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.Trim(name, "\t :\n")
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s", cpu, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
