package savepoint

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/internal/histogram"
)

// op is a kind of operation, for metrics and errors.
type op uint8

const (
	opAppend op = iota
	opUpdate
	opGo
	opGoUpdate
	opSave
	opSnapshot
	opDelete
	opFork
	opMark
	opRecover
	opAcross
	opMigrate
	opFlush
	opCompact
	opUnarchive
	opLoad
	opView
	opAt
	ops
)

var opNames = [ops]string{"append", "update", "append", "update", "save", "snapshot", "delete", "fork",
	"mark", "recover", "update", "migrate", "flush", "compact", "unarchive", "load", "view", "at"}

func (o op) String() string { return opNames[o] }

// metrics counts what the database does. All of it is atomic.
type metrics struct {
	latency [ops]histogram.Histogram
	refused [ops]atomic.Int64
	failed  [ops]atomic.Int64

	hits, secondHits, misses atomic.Int64
	rebuilds, fallbacks      atomic.Int64
	rebuildTime              histogram.Histogram
	groups, grouped          atomic.Int64
	commitTime               histogram.Histogram
	conflicts, illegal       atomic.Int64
	snapshots, views         atomic.Int64
	position                 atomic.Uint64
	start                    time.Time
}

func newMetrics() *metrics { return &metrics{start: time.Now()} }

// refuse counts a write that was not queued.
func (m *metrics) refuse(o op, err error) {
	m.refused[o].Add(1)
	switch {
	case errors.Is(err, ErrConflict):
		m.conflicts.Add(1)
	case errors.Is(err, ErrIllegal):
		m.illegal.Add(1)
	}
}

// wrote counts a write's answer.
func (m *metrics) wrote(a *Ack, err error) {
	if err != nil {
		m.failed[a.op].Add(1)
		return
	}
	m.latency[a.op].Add(time.Since(a.start))
}

// read counts a look at a machine.
func (m *metrics) read(o op, start time.Time, err error) {
	if err != nil {
		m.failed[o].Add(1)
		return
	}
	m.latency[o].Add(time.Since(start))
}

// sampleViews is how many looks share one measured time: reading the clock
// takes longer than a look.
const sampleViews = 32

// sample starts the clock for one look in sampleViews.
func (m *metrics) sample() time.Time {
	if m.views.Add(1)%sampleViews != 0 {
		return time.Time{}
	}
	return time.Now()
}

// viewed counts a look.
func (m *metrics) viewed(start time.Time, err error) {
	if err != nil {
		m.failed[opView].Add(1)
	} else if !start.IsZero() {
		m.latency[opView].Add(time.Since(start))
	}
}

func (m *metrics) group(n int, took time.Duration) {
	m.groups.Add(1)
	m.grouped.Add(int64(n))
	m.commitTime.Add(took)
}

func (m *metrics) rebuilt(took time.Duration, fallbacks int) {
	m.rebuilds.Add(1)
	if fallbacks > 0 {
		m.fallbacks.Add(1)
	}
	m.rebuildTime.Add(took)
}
