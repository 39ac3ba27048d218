package savepoint

import (
	"errors"

	"github.com/liap-tui/savepoint/anomaly"
	"github.com/liap-tui/savepoint/engine"
)

// anomalies watches the writes to all machines. Without Options.Anomalies it is
// nil: its methods may be called all the same, and do nothing.
type anomalies struct{ watcher *anomaly.Watcher }

func newAnomalies(o *Options) *anomalies {
	if o.Anomalies == nil {
		return nil
	}
	return &anomalies{anomaly.NewWatcher(*o.Anomalies, o.Now, o.Logger)}
}

// patternOf returns what is remembered of a locked machine.
func (x *anomalies) patternOf(m *machine) *anomaly.Machine {
	if m.pattern == nil {
		m.pattern = &anomaly.Machine{Kind: m.kind.name, ID: m.id}
	}
	return m.pattern
}

// watchWrite counts a write to a locked machine, which appended the events.
func (x *anomalies) watchWrite(m *machine, events []engine.Event) {
	if x == nil || len(events) == 0 {
		return
	}
	x.watcher.Wrote(x.patternOf(m), m.seq, func(yield func(from, to string) bool) {
		for i := range events {
			if !yield(events[i].Terms.From, events[i].Terms.To) {
				return
			}
		}
	})
}

// watchRefusal counts a write to a locked machine that was refused.
func (x *anomalies) watchRefusal(m *machine, err error) {
	if x != nil {
		x.watcher.Refused(x.patternOf(m), m.seq, errors.Is(err, ErrIllegal))
	}
}

// snapshot returns the current counts.
func (x *anomalies) snapshot() anomaly.Stats {
	if x == nil {
		return anomaly.Stats{}
	}
	return x.watcher.Stats()
}

// Anomalies returns the newest anomalies since Open, at most 256, oldest first. It
// returns none unless Options.Anomalies is set.
func (db *DB) Anomalies() []anomaly.Anomaly {
	if db.anomalies == nil {
		return nil
	}
	return db.anomalies.watcher.List()
}
