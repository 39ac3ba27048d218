package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// tally is a state in which each applied event leaves a trace.
type tally struct {
	Phase string
	Count int
	Sum   int64
	Slots map[string]int64
	Last  []int64 // the numbers of the last five events
	By    string  // actor, key, time and seq of the newest event, as Apply saw them
}

// added is an event that Check refuses by the phase, and that fails in Apply with the number failsInApply.
type added struct {
	N    int64
	Slot string
}

func (e added) Check(t *tally, _ savepoint.Meta) error {
	if t.Phase == "even" && e.N%2 != 0 {
		return errOdd
	}
	return nil
}

func (e added) Apply(t *tally, m savepoint.Meta) error {
	t.Count++
	t.Sum += e.N
	if e.N == failsInApply {
		return errors.New("fails in Apply")
	}
	if e.Slot != "" {
		if t.Slots == nil {
			t.Slots = map[string]int64{}
		}
		t.Slots[e.Slot] += e.N
	}
	t.Last = append(t.Last, e.N)
	if len(t.Last) > 5 {
		t.Last = t.Last[1:]
	}
	t.By = fmt.Sprintf("%s/%s/%d/%d", m.Actor, m.Key, m.Time.UnixMicro(), m.Seq)
	return nil
}

var errOdd = errors.New("no odd number while the phase is even")

const failsInApply = 666

// turned is an event by pointer, with a map, that changes the phase.
type turned struct {
	To   string
	More map[string]int64
}

func (e *turned) Apply(t *tally, _ savepoint.Meta) error {
	t.Phase = e.To
	for k, n := range e.More {
		if t.Slots == nil {
			t.Slots = map[string]int64{}
		}
		t.Slots[k] = n
	}
	return nil
}

// tallyKind returns a kind of tally with rules for phases and sums.
func tallyKind(name string, st savepoint.Strategy, p savepoint.SnapshotPolicy) savepoint.Kind[tally] {
	return savepoint.Kind[tally]{
		Name: name, Strategy: st, Snapshot: p,
		Events: savepoint.Events[tally]{"added": added{}, "turned": &turned{}},
		New:    func() tally { return tally{Phase: "any"} },
		Phase:  func(t *tally) string { return t.Phase },
		Legal:  map[string][]string{"any": {"even", "end"}, "even": {"any"}, "end": {"any"}},
		Validate: func(t *tally) error {
			if t.Sum < -1_000_000 {
				return errors.New("the sum is too low")
			}
			return nil
		},
	}
}

var (
	noPolicy = savepoint.SnapshotPolicy{Events: -1, Every: -1, NoClose: true}
	errDisk  = errors.New("the disk failed")
)

// snapshotOnly returns a snapshot-only kind that stores unsaved writes at the interval.
func snapshotOnly(every time.Duration) savepoint.Kind[tally] {
	return tallyKind("tally", savepoint.SnapshotOnly, savepoint.SnapshotPolicy{Events: -1, Every: every, Keep: 3, NoClose: true})
}

// add appends n events with the numbers from 0 on.
func add(t testing.TB, s *savepoint.Store[tally], id string, n int) {
	t.Helper()
	for i := range n {
		_, err := s.Append(context.Background(), id, added{N: int64(i)})
		require.NoError(t, err)
	}
}

// recordsOf returns how many records a machine's log has.
func recordsOf[S any](t testing.TB, s *savepoint.Store[S], id string) (n int) {
	t.Helper()
	for _, err := range s.Events(context.Background(), id, savepoint.EventRange{}) {
		require.NoError(t, err)
		n++
	}
	return n
}
