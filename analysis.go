package savepoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/internal/histogram"
)

// AnalyzeOptions say which records to look at.
type AnalyzeOptions struct {
	// Since and Until bound the times of the records; zero = no bound.
	Since, Until time.Time
	// Prefix bounds AnalyzeAll to the ids that begin with it.
	Prefix string
	// Top is how many paths, phases, events and actors are listed. Default 10,
	// at most 1,000.
	Top int
}

// Analysis tells what happened to a machine, or to all of a kind, in a window of
// time. Lists are sorted by count, then by name, and cut at Top. Of more than
// 1,000 different ones the later ones are only counted, in Other.
type Analysis struct {
	Kind, ID string // of all machines the ID is empty
	Machines int    // with records in the window
	Records  int
	Lost     int // records that are damaged or were given up: passed over

	First, Last time.Time  // the earliest and the latest time of a record
	PerDay      float64    // records a day from First to Last; a part of a day counts as one
	Days        []DayCount // with records, in order, at most 4,000

	UniquePaths  int // different changes of phase
	UniquePhases int // phases that records begin or end in
	Paths        []PathCount
	Phases       []NameCount // by the records that end in them
	Events       []EventCount
	Actors       []NameCount
	Origins      []NameCount
	Other        int // not in these lists, for they are too many

	Took Latency // between a record and the machine's record before
}

// NameCount is how often a name occurs.
type NameCount struct {
	Name  string
	Count int
}

// PathCount is how often a machine went from one phase to another, and how long
// that took since the record before.
type PathCount struct {
	From, To string
	Count    int
	Took     Latency
}

// EventCount is how often an event occurs, and how long it took since the record
// before.
type EventCount struct {
	Name  string
	Count int
	Took  Latency
}

// DayCount is how many records a day has, in UTC.
type DayCount struct {
	Day   time.Time
	Count int
}

const (
	defaultTop  = 10
	maxDistinct = 1000
	maxDays     = 4000
)

// Analyze counts what the machine's records say. It reads them all.
func (s *Store[S]) Analyze(ctx context.Context, id string, o AnalyzeOptions) (*Analysis, error) {
	a := newAnalyst(s.kind, id, o)
	if err := a.machine(ctx, s.db, id); err != nil {
		return nil, fmt.Errorf("analyze %s %.60q: %w", s.kind.name, id, err)
	}
	return a.result(), nil
}

// AnalyzeAll is Analyze over all machines of the kind, deleted ones included. It
// reads the whole kind; what is written meanwhile may be missing. A machine that
// cannot be read counts as one lost record.
func (s *Store[S]) AnalyzeAll(ctx context.Context, o AnalyzeOptions) (*Analysis, error) {
	a := newAnalyst(s.kind, "", o)
	for h, err := range s.List(ctx, ListOptions{Prefix: o.Prefix, Deleted: true}) {
		var c *CorruptError
		switch {
		case errors.As(err, &c):
			a.out.Lost++
			continue
		case err == nil:
			err = a.machine(ctx, s.db, h.ID)
		}
		if errors.As(err, &c) {
			a.out.Lost++
		} else if err != nil && !errors.Is(err, ErrNotFound) { // purged meanwhile
			return nil, fmt.Errorf("analyze all %s: %w", s.kind.name, err)
		}
	}
	return a.result(), nil
}

// analyst counts records. All its tables are bounded.
type analyst struct {
	kind   *kind
	o      AnalyzeOptions
	out    Analysis
	days   map[int64]int
	paths  map[[2]string]*timed
	events map[string]*timed

	phases, actors, origins map[string]int
	seen                    map[string]bool // phases
	took                    histogram.Histogram
	next                    uint64 // the seq behind the record looked at last: only then a time between them is known
}

// timed is a count with times.
type timed struct {
	n    int
	took histogram.Histogram
}

func newAnalyst(k *kind, id string, o AnalyzeOptions) *analyst {
	orDefault(&o.Top, defaultTop)
	o.Top = min(max(0, o.Top), maxDistinct)
	return &analyst{kind: k, o: o, out: Analysis{Kind: k.name, ID: id}, days: map[int64]int{}, paths: map[[2]string]*timed{},
		events: map[string]*timed{}, phases: map[string]int{}, actors: map[string]int{}, origins: map[string]int{}, seen: map[string]bool{}}
}

// machine counts the records of one machine.
func (a *analyst) machine(ctx context.Context, db *DB, id string) error {
	m, err := db.awaitDurable(ctx, a.kind, id)
	if err != nil {
		return err
	}
	before := a.out.Records
	a.next = 0
	w := logReader{db: db, kind: a.kind, machine: m}
	for more := true; more; {
		var entries []logEntry
		if entries, more, err = w.page(ctx); err != nil {
			return db.wrapEngineError(a.kind, id, err)
		}
		for i := range entries {
			a.record(&entries[i])
		}
	}
	if a.out.Records > before {
		a.out.Machines++
	}
	return nil
}

func (a *analyst) record(e *logEntry) {
	if e.gap != nil {
		a.out.Lost += int(e.gap.To - e.gap.From + 1)
		return
	}
	known := e.seq == a.next
	a.next = e.seq + 1
	at := stored(e.env.Time)
	if !a.o.Since.IsZero() && at.Before(a.o.Since) || !a.o.Until.IsZero() && at.After(a.o.Until) {
		return
	}
	out := &a.out
	out.Records++
	if out.First.IsZero() || at.Before(out.First) {
		out.First = at
	}
	if at.After(out.Last) {
		out.Last = at
	}
	day := micros(at.Truncate(24 * time.Hour))
	if _, ok := a.days[day]; ok || len(a.days) < maxDays {
		a.days[day]++
	}
	times := []*histogram.Histogram{&a.took}
	times = append(times, room(a, a.events, e.env.Name))
	if e.env.From != e.env.To {
		times = append(times, room(a, a.paths, [2]string{e.env.From, e.env.To}))
	}
	for _, h := range times {
		if known && h != nil {
			h.Add(e.sincePrevious)
		}
	}
	for _, phase := range []string{e.env.From, e.env.To} {
		if len(a.seen) < maxDistinct {
			a.seen[phase] = true
		}
	}
	count(a, a.phases, e.env.To)
	if e.env.Actor != "" {
		count(a, a.actors, e.env.Actor)
	}
	count(a, a.origins, Origin(e.env.Origin).String())
}

// room counts in a bounded table of counts with times, and gives the times.
func room[K comparable](a *analyst, table map[K]*timed, key K) *histogram.Histogram {
	t := table[key]
	if t == nil {
		if len(table) >= maxDistinct {
			a.out.Other++
			return nil
		}
		t = &timed{}
		table[key] = t
	}
	t.n++
	return &t.took
}

// count counts in a bounded table.
func count(a *analyst, table map[string]int, key string) {
	if _, ok := table[key]; !ok && len(table) >= maxDistinct {
		a.out.Other++
		return
	}
	table[key]++
}

func (a *analyst) result() *Analysis {
	out := &a.out
	out.UniquePaths, out.UniquePhases = len(a.paths), len(a.seen)
	out.Took = Latency(a.took.Summary())
	if out.Records > 0 {
		const day = 24 * time.Hour
		out.PerDay = float64(out.Records) / float64(max(1, (out.Last.Sub(out.First)+day-1)/day))
	}
	for _, day := range slices.Sorted(maps.Keys(a.days)) {
		out.Days = append(out.Days, DayCount{stored(day), a.days[day]})
	}
	for path, t := range a.paths {
		out.Paths = append(out.Paths, PathCount{path[0], path[1], t.n, Latency(t.took.Summary())})
	}
	out.Paths = top(out.Paths, a.o.Top, func(p, q PathCount) int {
		return cmp.Or(q.Count-p.Count, cmp.Compare(p.From, q.From), cmp.Compare(p.To, q.To))
	})
	for name, t := range a.events {
		out.Events = append(out.Events, EventCount{name, t.n, Latency(t.took.Summary())})
	}
	out.Events = top(out.Events, a.o.Top, func(p, q EventCount) int { return cmp.Or(q.Count-p.Count, cmp.Compare(p.Name, q.Name)) })
	out.Phases, out.Actors, out.Origins = a.names(a.phases), a.names(a.actors), a.names(a.origins)
	return out
}

func (a *analyst) names(table map[string]int) (out []NameCount) {
	for name, n := range table {
		out = append(out, NameCount{name, n})
	}
	return top(out, a.o.Top, func(p, q NameCount) int { return cmp.Or(q.Count-p.Count, cmp.Compare(p.Name, q.Name)) })
}

// top is the beginning of a sorted list.
func top[T any](list []T, n int, less func(a, b T) int) []T {
	slices.SortFunc(list, less)
	return list[:min(n, len(list)):min(n, len(list))]
}
