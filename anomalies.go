package savepoint

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// AnomalyOptions say what a machine has to do to be told about as strange. In
// each limit zero means the default and a negative number "off".
type AnomalyOptions struct {
	// Loop is how often the same change of phase may be among the machine's last
	// Window changes. Default 3.
	Loop int
	// Window is how many changes of phase are remembered for each machine in
	// memory. Default 10, at most 100.
	Window int
	// Refused is how many writes of one machine may be refused within Interval,
	// for whatever reason. Default 20.
	Refused int
	// Illegal is how many of those may be because of Kind.Legal. Default 5.
	Illegal int
	// Writes is how many writes of one machine may be made within Interval.
	// Default 600.
	Writes int
	// Interval of these counts. Default 1 minute.
	Interval time.Duration
}

// Kinds of anomalies.
const (
	AnomalyLoop    = "loop"
	AnomalyRefused = "refused"
	AnomalyIllegal = "illegal"
	AnomalyWrites  = "writes"
)

// Anomaly is something strange that a machine did.
type Anomaly struct {
	Kind, ID string
	What     string // AnomalyLoop, ...
	Path     string // of a loop: "turn -> scoring"
	Count    int    // how often; more than the limit
	Seq      uint64 // of the machine then
	Time     time.Time
}

func (a Anomaly) String() string {
	return fmt.Sprintf("%s %q at %d: %s %d times %s", a.Kind, a.ID, a.Seq, a.What, a.Count, a.Path)
}

// AnomalyStats count anomalies since Open.
type AnomalyStats struct{ Loops, Refused, Illegal, Writes int64 }

const (
	maxAnomalies     = 256 // listed
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

// anomalies is the list of the newest ones. Without Options.Anomalies there is
// none, and nothing is counted.
type anomalies struct {
	opt   AnomalyOptions
	mu    sync.Mutex
	list  []Anomaly // a ring once it is full
	next  int
	stats AnomalyStats
}

// accessPattern are what is remembered of one machine; its lock guards them.
type accessPattern struct {
	paths    [][2]string // the last changes of phase, a ring once it is full
	next     int
	since    time.Time // the beginning of the interval
	refused  int
	illegal  int
	writes   int
	answered [3]bool // told in this interval
}

// patternOf begins a new interval when the old one is over.
func (db *DB) patternOf(m *machine) *accessPattern {
	h := m.pattern
	if h == nil {
		h = &accessPattern{since: time.Now()}
		m.pattern = h
	}
	if now := time.Now(); now.Sub(h.since) >= db.anomalies.opt.Interval {
		*h = accessPattern{paths: h.paths, next: h.next, since: now}
	}
	return h
}

// reportAnomaly tells of an anomaly.
func (db *DB) reportAnomaly(m *machine, what, path string, count int, counter *int64) {
	x := db.anomalies
	a := Anomaly{Kind: m.kind.name, ID: m.id, What: what, Path: path, Count: count, Seq: m.seq, Time: db.opt.Now()}
	x.mu.Lock()
	*counter++
	if len(x.list) < maxAnomalies {
		x.list = append(x.list, a)
	} else {
		x.list[x.next] = a
		x.next = (x.next + 1) % maxAnomalies
	}
	x.mu.Unlock()
	db.log.Warn("anomaly", "kind", a.Kind, "id", a.ID, "what", what, "path", path, "count", count, "seq", a.Seq)
}

// watched looks at a draft that has landed, if anybody wants it.
func (d *draft) watched() {
	if d.db.anomalies != nil && len(d.events) > 0 {
		d.db.watchWrite(d)
	}
}

// watchWrite looks at what a draft that has landed did. The machine is locked.
func (db *DB) watchWrite(d *draft) {
	x, m := db.anomalies, d.m
	h := db.patternOf(m)
	h.writes++
	if x.opt.Writes > 0 && h.writes > x.opt.Writes && !h.answered[2] {
		h.answered[2] = true
		db.reportAnomaly(m, AnomalyWrites, "", h.writes, &x.stats.Writes)
	}
	for i := range d.events {
		if t := &d.events[i].Terms; t.From != t.To && x.opt.Loop > 0 {
			if n := h.visited([2]string{t.From, t.To}, x.opt.Window); n > x.opt.Loop {
				h.paths, h.next = h.paths[:0], 0 // told once; it has to begin anew
				db.reportAnomaly(m, AnomalyLoop, t.From+" -> "+t.To, n, &x.stats.Loops)
			}
		}
	}
}

// visited remembers a change of phase and says how often it is among the last ones.
func (h *accessPattern) visited(path [2]string, window int) (n int) {
	if len(h.paths) < window {
		h.paths = append(h.paths, path)
	} else {
		h.paths[h.next] = path
		h.next = (h.next + 1) % window
	}
	for _, p := range h.paths {
		if p == path {
			n++
		}
	}
	return n
}

// watchRefusal looks at a write that was refused. The machine is locked.
func (db *DB) watchRefusal(m *machine, err error) {
	x := db.anomalies
	h := db.patternOf(m)
	h.refused++
	if x.opt.Refused > 0 && h.refused > x.opt.Refused && !h.answered[0] {
		h.answered[0] = true
		db.reportAnomaly(m, AnomalyRefused, "", h.refused, &x.stats.Refused)
	}
	if !errors.Is(err, ErrIllegal) {
		return
	}
	h.illegal++
	if x.opt.Illegal > 0 && h.illegal > x.opt.Illegal && !h.answered[1] {
		h.answered[1] = true
		db.reportAnomaly(m, AnomalyIllegal, "", h.illegal, &x.stats.Illegal)
	}
}

// Anomalies lists the newest anomalies since Open, at most 256, oldest first. It
// is empty unless Options.Anomalies are set.
func (db *DB) Anomalies() []Anomaly {
	x := db.anomalies
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Concat(x.list[x.next:], x.list[:x.next])
}

func (db *DB) anomalyStats() AnomalyStats {
	x := db.anomalies
	if x == nil {
		return AnomalyStats{}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stats
}
