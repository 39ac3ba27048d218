package anomaly

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

// maxListed is how many anomalies are kept; the oldest are dropped.
const maxListed = 256

// Watcher finds anomalies in the writes of machines, which are reported to it one by one. Its methods may be
// called from several goroutines.
type Watcher struct {
	opt Options
	now func() time.Time
	log *slog.Logger

	mu    sync.Mutex
	list  []Anomaly // the newest; a ring once it is full
	next  int       // index of the oldest in a full ring
	stats Stats
}

// NewWatcher returns a watcher with the options, which are valid. now is the
// clock of Anomaly.Time.
func NewWatcher(o Options, now func() time.Time, log *slog.Logger) *Watcher {
	return &Watcher{opt: o.withDefaults(), now: now, log: log}
}

// Machine is what a watcher remembers of one machine. The caller keeps it, and
// guards it with a lock of its own. Kind and ID do not change.
type Machine struct {
	Kind, ID string

	paths    [][2]string // the last changes of phase; a ring once it is full
	next     int         // index of the oldest in a full ring
	since    time.Time   // start of the interval
	refused  int
	illegal  int
	writes   int
	reported struct{ refused, illegal, writes bool } // in this interval
}

// startInterval starts a new interval if the old one is over.
func (m *Machine) startInterval(length time.Duration) {
	if now := time.Now(); now.Sub(m.since) >= length {
		*m = Machine{Kind: m.Kind, ID: m.ID, paths: m.paths, next: m.next, since: now}
	}
}

// Wrote counts one write after which the machine is at seq; path yields the phases
// before and after each of its records.
func (w *Watcher) Wrote(m *Machine, seq uint64, path func(yield func(from, to string) bool)) {
	m.startInterval(w.opt.Interval)
	m.writes++
	if w.opt.Writes > 0 && m.writes > w.opt.Writes && !m.reported.writes {
		m.reported.writes = true
		w.report(m, Anomaly{What: Writes, Count: m.writes, Seq: seq}, &w.stats.Writes)
	}
	if w.opt.Loop <= 0 {
		return
	}
	for from, to := range path {
		if from == to {
			continue
		}
		if n := m.visited([2]string{from, to}, w.opt.Window); n > w.opt.Loop {
			m.paths, m.next = m.paths[:0], 0 // a loop that goes on is reported again after as many rounds
			w.report(m, Anomaly{What: Loop, Path: from + " -> " + to, Count: n, Seq: seq}, &w.stats.Loops)
		}
	}
}

// Refused counts one write that was refused while the machine was at seq.
func (w *Watcher) Refused(m *Machine, seq uint64, illegal bool) {
	m.startInterval(w.opt.Interval)
	m.refused++
	if w.opt.Refused > 0 && m.refused > w.opt.Refused && !m.reported.refused {
		m.reported.refused = true
		w.report(m, Anomaly{What: Refused, Count: m.refused, Seq: seq}, &w.stats.Refused)
	}
	if !illegal {
		return
	}
	m.illegal++
	if w.opt.Illegal > 0 && m.illegal > w.opt.Illegal && !m.reported.illegal {
		m.reported.illegal = true
		w.report(m, Anomaly{What: Illegal, Count: m.illegal, Seq: seq}, &w.stats.Illegal)
	}
}

// visited remembers a change of phase and returns how often it is among those
// remembered.
func (m *Machine) visited(path [2]string, window int) (n int) {
	if len(m.paths) < window {
		m.paths = append(m.paths, path)
	} else {
		m.paths[m.next] = path
		m.next = (m.next + 1) % window
	}
	for _, p := range m.paths {
		if p == path {
			n++
		}
	}
	return n
}

// report lists, counts and logs an anomaly of a machine, now.
func (w *Watcher) report(m *Machine, a Anomaly, counter *int64) {
	a.Kind, a.ID, a.Time = m.Kind, m.ID, w.now()
	w.mu.Lock()
	*counter++
	if len(w.list) < maxListed {
		w.list = append(w.list, a)
	} else {
		w.list[w.next] = a
		w.next = (w.next + 1) % maxListed
	}
	w.mu.Unlock()
	w.log.Warn("anomaly", "kind", a.Kind, "id", a.ID, "what", a.What, "path", a.Path, "count", a.Count, "seq", a.Seq)
}

// List returns the newest anomalies, at most 256, oldest first.
func (w *Watcher) List() []Anomaly {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Concat(w.list[w.next:], w.list[:w.next])
}

// Stats returns the current counts.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}
