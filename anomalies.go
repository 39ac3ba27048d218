package savepoint

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/liap-tui/savepoint/engine"
)

// AnomalyOptions say which behaviour of a machine is reported as an anomaly. In each
// limit 0 means the default and a negative number means "off".
type AnomalyOptions struct {
	// Loop is how often one change of phase may be among the machine's last Window
	// changes of phase. Default 3.
	Loop int
	// Window is how many changes of phase are remembered for each machine in memory.
	// Default 10, at most 100.
	Window int
	// Refused is how many writes to one machine may be refused within Interval, for
	// any reason. Default 20.
	Refused int
	// Illegal is how many of those may be refused because of Kind.Legal. Default 5.
	Illegal int
	// Writes is how many writes to one machine may be made within Interval. Default
	// 600.
	Writes int
	// Interval is the time over which refused and other writes are counted. Default 1
	// minute.
	Interval time.Duration
}

// The values of Anomaly.What.
const (
	AnomalyLoop    = "loop"    // more than Loop times the same change of phase
	AnomalyRefused = "refused" // more than Refused writes were refused
	AnomalyIllegal = "illegal" // more than Illegal writes were refused with ErrIllegal
	AnomalyWrites  = "writes"  // more than Writes writes
)

// Anomaly is one report about a machine that exceeded a limit of AnomalyOptions.
type Anomaly struct {
	Kind, ID string
	What     string // AnomalyLoop, ...
	Path     string // of a loop: the change of phase, as in "turn -> scoring"
	Count    int    // how often it happened; more than the limit
	Seq      uint64 // of the machine at that time
	Time     time.Time
}

func (a Anomaly) String() string {
	return fmt.Sprintf("%s %q at %d: %s %d times %s", a.Kind, a.ID, a.Seq, a.What, a.Count, a.Path)
}

// AnomalyStats count the anomalies since Open.
type AnomalyStats struct{ Loops, Refused, Illegal, Writes int64 }

const (
	maxAnomalies     = 256 // how many are listed
	maxAnomalyWindow = 100
)

func (o *AnomalyOptions) validate() error {
	if o == nil || o.Interval >= 0 && o.Window >= 0 && o.Window <= maxAnomalyWindow {
		return nil
	}
	return fmt.Errorf("Anomalies.Interval %v, Window %d: neither may be below zero, and the window is %d at most", o.Interval, o.Window, maxAnomalyWindow)
}

func (o AnomalyOptions) withDefaults() AnomalyOptions {
	orDefault(&o.Loop, 3)
	orDefault(&o.Window, 10)
	orDefault(&o.Refused, 20)
	orDefault(&o.Illegal, 5)
	orDefault(&o.Writes, 600)
	orDefault(&o.Interval, time.Minute)
	return o
}

// anomalies watches the writes of all machines. Without Options.Anomalies it is nil:
// all methods may be called on nil, and do nothing.
type anomalies struct {
	opt AnomalyOptions
	now func() time.Time
	log *slog.Logger

	mu    sync.Mutex
	list  []Anomaly // the newest; a ring once it is full
	next  int       // index of the oldest in a full ring
	stats AnomalyStats
}

func newAnomalies(o *Options) *anomalies {
	if o.Anomalies == nil {
		return nil
	}
	return &anomalies{opt: o.Anomalies.withDefaults(), now: o.Now, log: o.Logger}
}

// accessPattern is what is remembered of one machine's writes. The machine's lock
// guards it.
type accessPattern struct {
	paths    [][2]string // the last changes of phase; a ring once it is full
	next     int         // index of the oldest in a full ring
	since    time.Time   // start of the interval
	refused  int
	illegal  int
	writes   int
	reported struct{ refused, illegal, writes bool } // in this interval
}

// patternOf returns the pattern of a machine. Its counts are of the interval now.
func (a *anomalies) patternOf(m *machine) *accessPattern {
	p := m.pattern
	if p == nil {
		p = &accessPattern{since: time.Now()}
		m.pattern = p
	}
	if now := time.Now(); now.Sub(p.since) >= a.opt.Interval {
		*p = accessPattern{paths: p.paths, next: p.next, since: now}
	}
	return p
}

// report lists, counts and logs an anomaly.
func (a *anomalies) report(m *machine, what, path string, count int, counter *int64) {
	found := Anomaly{Kind: m.kind.name, ID: m.id, What: what, Path: path, Count: count, Seq: m.seq, Time: a.now()}
	a.mu.Lock()
	*counter++
	if len(a.list) < maxAnomalies {
		a.list = append(a.list, found)
	} else {
		a.list[a.next] = found
		a.next = (a.next + 1) % maxAnomalies
	}
	a.mu.Unlock()
	a.log.Warn("anomaly", "kind", m.kind.name, "id", m.id, "what", what, "path", path, "count", count, "seq", m.seq)
}

// watchWrite counts a write to a locked machine, which added events.
func (a *anomalies) watchWrite(m *machine, events []engine.Event) {
	if a == nil || len(events) == 0 {
		return
	}
	p := a.patternOf(m)
	p.writes++
	if a.opt.Writes > 0 && p.writes > a.opt.Writes && !p.reported.writes {
		p.reported.writes = true
		a.report(m, AnomalyWrites, "", p.writes, &a.stats.Writes)
	}
	for i := range events {
		t := &events[i].Terms
		if t.From == t.To || a.opt.Loop <= 0 {
			continue
		}
		if n := p.visited([2]string{t.From, t.To}, a.opt.Window); n > a.opt.Loop {
			p.paths, p.next = p.paths[:0], 0 // a loop that goes on is reported again after as many rounds
			a.report(m, AnomalyLoop, t.From+" -> "+t.To, n, &a.stats.Loops)
		}
	}
}

// visited remembers a change of phase and returns how often it is among those
// remembered.
func (p *accessPattern) visited(path [2]string, window int) (n int) {
	if len(p.paths) < window {
		p.paths = append(p.paths, path)
	} else {
		p.paths[p.next] = path
		p.next = (p.next + 1) % window
	}
	for _, old := range p.paths {
		if old == path {
			n++
		}
	}
	return n
}

// watchRefusal counts a write to a locked machine that was refused.
func (a *anomalies) watchRefusal(m *machine, err error) {
	if a == nil {
		return
	}
	p := a.patternOf(m)
	p.refused++
	if a.opt.Refused > 0 && p.refused > a.opt.Refused && !p.reported.refused {
		p.reported.refused = true
		a.report(m, AnomalyRefused, "", p.refused, &a.stats.Refused)
	}
	if !errors.Is(err, ErrIllegal) {
		return
	}
	p.illegal++
	if a.opt.Illegal > 0 && p.illegal > a.opt.Illegal && !p.reported.illegal {
		p.reported.illegal = true
		a.report(m, AnomalyIllegal, "", p.illegal, &a.stats.Illegal)
	}
}

// snapshot returns the counts of now.
func (a *anomalies) snapshot() AnomalyStats {
	if a == nil {
		return AnomalyStats{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Anomalies returns the newest anomalies since Open, 256 at most, oldest first. It
// returns none unless Options.Anomalies is set.
func (db *DB) Anomalies() []Anomaly {
	a := db.anomalies
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Concat(a.list[a.next:], a.list[:a.next])
}
