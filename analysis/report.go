package analysis

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/report"
)

// Report says what happened to a machine, or to all machines of a kind, in a
// window of time. Lists are sorted by count, then by name, and end after
// Options.Top entries. At most 1,000 different names or paths of a list are
// counted one by one; a record with a further one adds to Other instead.
type Report struct {
	Kind, ID string // ID is empty in a report of All
	Machines int    // with records in the window
	Records  int
	Lost     int // records that were passed over: they are damaged or a recovery gave them up

	First, Last time.Time  // the earliest and the latest time of a record
	PerDay      float64    // records a day from First to Last; a part of a day counts as one
	Days        []DayCount // days with records, in order, at most 4,000

	UniquePaths  int // different changes of phase
	UniquePhases int // phases that records begin or end in
	Paths        []PathCount
	Phases       []NameCount // by the records that end in them
	Events       []EventCount
	Actors       []NameCount
	Origins      []NameCount
	Other        int // what the lists do not count, because they are full

	Took report.Latency // from a machine's record to its next one
}

// NameCount is how often a name occurs.
type NameCount struct {
	Name  string
	Count int
}

// PathCount is how often machines went from one phase to another, and how long
// the record before was ago.
type PathCount struct {
	From, To string
	Count    int
	Took     report.Latency
}

// EventCount is how often an event occurs, and how long the record before was
// ago.
type EventCount struct {
	Name  string
	Count int
	Took  report.Latency
}

// DayCount is how many records a day has, in UTC.
type DayCount struct {
	Day   time.Time
	Count int
}

// report sorts and cuts what was counted.
func (c *counter) report() *Report {
	out := &c.out
	out.UniquePaths, out.UniquePhases = len(c.paths), len(c.seen)
	out.Took = report.Latency(c.took.Summary())
	if out.Records > 0 {
		const day = 24 * time.Hour
		out.PerDay = float64(out.Records) / float64(max(1, (out.Last.Sub(out.First)+day-1)/day))
	}
	for _, day := range slices.Sorted(maps.Keys(c.days)) {
		out.Days = append(out.Days, DayCount{time.UnixMicro(day).UTC(), c.days[day]})
	}
	for path, t := range c.paths {
		out.Paths = append(out.Paths, PathCount{path[0], path[1], t.n, report.Latency(t.took.Summary())})
	}
	out.Paths = top(out.Paths, c.o.Top, func(p, q PathCount) int {
		return cmp.Or(q.Count-p.Count, cmp.Compare(p.From, q.From), cmp.Compare(p.To, q.To))
	})
	for name, t := range c.events {
		out.Events = append(out.Events, EventCount{name, t.n, report.Latency(t.took.Summary())})
	}
	out.Events = top(out.Events, c.o.Top, func(p, q EventCount) int { return cmp.Or(q.Count-p.Count, cmp.Compare(p.Name, q.Name)) })
	out.Phases, out.Actors, out.Origins = c.names(c.phases), c.names(c.actors), c.names(c.origins)
	return out
}

func (c *counter) names(table map[string]int) (out []NameCount) {
	for name, n := range table {
		out = append(out, NameCount{name, n})
	}
	return top(out, c.o.Top, func(p, q NameCount) int { return cmp.Or(q.Count-p.Count, cmp.Compare(p.Name, q.Name)) })
}

// top returns the first n entries of the sorted list.
func top[T any](list []T, n int, less func(a, b T) int) []T {
	slices.SortFunc(list, less)
	return list[:min(n, len(list)):min(n, len(list))]
}
