package savepoint

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/histogram"
)

// op is an operation as metrics and errors name it.
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
	latency [ops]histogram.Histogram // of operations that succeeded
	refused [ops]atomic.Int64        // writes that were not queued
	failed  [ops]atomic.Int64        // writes that were queued and not stored; reads that returned an error

	hits, secondHits, misses atomic.Int64 // uses of a machine: its live state, its encoded state or neither was in memory
	rebuilds, fallbacks      atomic.Int64 // rebuilds, and those that the first attempt did not lead to
	rebuildTime              histogram.Histogram
	groups, grouped          atomic.Int64 // groups that were committed, and the steps in them
	commitTime               histogram.Histogram
	conflicts, illegal       atomic.Int64 // refused writes
	snapshots, views         atomic.Int64
	position                 atomic.Uint64 // the highest position that was written
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

// wrote counts a queued write that is resolved with err.
func (m *metrics) wrote(a *Ack, err error) {
	if err != nil {
		m.failed[a.op].Add(1)
		return
	}
	m.latency[a.op].Add(time.Since(a.start))
}

// read counts a read of a machine.
func (m *metrics) read(o op, start time.Time, err error) {
	if err != nil {
		m.failed[o].Add(1)
		return
	}
	m.latency[o].Add(time.Since(start))
}

// sampleViews is how many Views share one measurement: to read the clock takes longer
// than a View.
const sampleViews = 32

// sample counts a View and returns the time for one in sampleViews, else the zero Time.
func (m *metrics) sample() time.Time {
	if m.views.Add(1)%sampleViews != 0 {
		return time.Time{}
	}
	return time.Now()
}

// viewed counts the result of a View. start is what sample returned.
func (m *metrics) viewed(start time.Time, err error) {
	if err != nil {
		m.failed[opView].Add(1)
	} else if !start.IsZero() {
		m.latency[opView].Add(time.Since(start))
	}
}

// group counts a group of n steps that was committed.
func (m *metrics) group(n int, took time.Duration) {
	m.groups.Add(1)
	m.grouped.Add(int64(n))
	m.commitTime.Add(took)
}

// stored counts what a durable step has stored.
func (m *metrics) stored(s *step, result *engine.Result) {
	for i := range s.first {
		m.snapshots.Add(int64(len(s.first[i].Snapshots)))
	}
	for i := range s.writes {
		m.snapshots.Add(int64(len(s.writes[i].Snapshots)))
		m.position.Store(max(m.position.Load(), result.Pos[i]))
	}
}

// rebuilt counts a rebuild that needed fallbacks attempts before the one that led to
// the state.
func (m *metrics) rebuilt(took time.Duration, fallbacks int) {
	m.rebuilds.Add(1)
	if fallbacks > 0 {
		m.fallbacks.Add(1)
	}
	m.rebuildTime.Add(took)
}
