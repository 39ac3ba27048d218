package analysis

import (
	"time"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/histogram"
)

// counter counts records. All its tables are bounded.
type counter struct {
	o      Options
	out    Report
	days   map[int64]int // by the day's beginning in microseconds
	paths  map[[2]string]*timed
	events map[string]*timed

	phases, actors, origins map[string]int
	seen                    map[string]bool // phases
	took                    histogram.Histogram

	before int    // records counted when the machine began
	next   uint64 // the seq after the record counted last: only then the time between the two is known
}

// timed is a count with times.
type timed struct {
	n    int
	took histogram.Histogram
}

func newCounter(kind, id string, o Options) *counter {
	return &counter{o: o.withDefaults(), out: Report{Kind: kind, ID: id}, days: map[int64]int{}, paths: map[[2]string]*timed{},
		events: map[string]*timed{}, phases: map[string]int{}, actors: map[string]int{}, origins: map[string]int{}, seen: map[string]bool{}}
}

// begin starts a machine, end ends it.
func (c *counter) begin() { c.before, c.next = c.out.Records, 0 }

func (c *counter) end() {
	if c.out.Records > c.before {
		c.out.Machines++
	}
}

// count counts one record of the machine.
func (c *counter) count(m *savepoint.Meta) {
	known := m.Seq == c.next
	c.next = m.Seq + 1
	if !c.o.includes(m.Time) {
		return
	}
	out := &c.out
	out.Records++
	if out.First.IsZero() || m.Time.Before(out.First) {
		out.First = m.Time
	}
	if m.Time.After(out.Last) {
		out.Last = m.Time
	}
	day := m.Time.Truncate(24 * time.Hour).UnixMicro()
	if _, ok := c.days[day]; ok || len(c.days) < maxDays {
		c.days[day]++
	}
	times := []*histogram.Histogram{&c.took, countTimed(c, c.events, m.Name), nil}
	if m.From != m.To {
		times[2] = countTimed(c, c.paths, [2]string{m.From, m.To})
	}
	for _, h := range times {
		if known && h != nil {
			h.Add(m.Took)
		}
	}
	for _, phase := range []string{m.From, m.To} {
		if len(c.seen) < maxDistinct {
			c.seen[phase] = true
		}
	}
	c.countName(c.phases, m.To)
	if m.Actor != "" {
		c.countName(c.actors, m.Actor)
	}
	c.countName(c.origins, m.Origin.String())
}

// countTimed counts in a bounded table of counts with times and returns the
// key's times, or nil where the table is full.
func countTimed[K comparable](c *counter, table map[K]*timed, key K) *histogram.Histogram {
	t := table[key]
	if t == nil {
		if len(table) >= maxDistinct {
			c.out.Other++
			return nil
		}
		t = &timed{}
		table[key] = t
	}
	t.n++
	return &t.took
}

// countName counts in a bounded table.
func (c *counter) countName(table map[string]int, key string) {
	if _, ok := table[key]; !ok && len(table) >= maxDistinct {
		c.out.Other++
		return
	}
	table[key]++
}
