package savepoint_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// ledger is a state that every lost, doubled or swapped event changes.
type ledger struct {
	Sum   uint64
	Count int
	Last  string
}

// booked is the event of a ledger.
type booked struct {
	N    int
	Text string
}

func (e booked) Apply(l *ledger, _ savepoint.Meta) error {
	l.Sum, l.Count, l.Last = l.Sum*31+uint64(e.N), l.Count+1, e.Text
	return nil
}

// after returns the ledger after the events 1 to n of write.
func after(n int) (l ledger) {
	for i := range n {
		_ = entry(i+1).Apply(&l, savepoint.Meta{})
	}
	return l
}

// entry returns event i of write.
func entry(i int) booked {
	return booked{N: i * i, Text: string(rune('A'+i%26)) + " says a word or two"}
}

// ledgerKind returns a kind with a snapshot after each number of events, below zero none, and none at Close.
func ledgerKind(every int) savepoint.Kind[ledger] {
	return savepoint.Kind[ledger]{
		Name:     "ledger",
		Events:   savepoint.Events[ledger]{"booked": booked{}},
		Snapshot: savepoint.SnapshotPolicy{Events: every, Every: -1, Keep: -1, NoClose: true},
	}
}

// write appends the events with the numbers from to to, each with a commit of its own.
func write(t testing.TB, s *savepoint.Store[ledger], id string, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		_, err := s.Append(t.Context(), id, entry(i))
		require.NoError(t, err)
	}
}

// reopen opens a file and registers the kind.
func reopen(t testing.TB, path string, k savepoint.Kind[ledger], o *savepoint.Options) (*savepoint.DB, *savepoint.Store[ledger]) {
	t.Helper()
	db := open(t, path, o)
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	return db, s
}

// well checks that a machine serves and is at the state after n events.
func well(t testing.TB, s *savepoint.Store[ledger], id string, n int) {
	t.Helper()
	st, err := s.Load(t.Context(), id)
	if assert.NoError(t, err) {
		assert.Equal(t, after(n), st.Value)
		assert.EqualValues(t, n, st.Seq)
	}
}

// gone is what Events shows of a history with gaps.
type gone struct {
	seqs []uint64
	gaps []savepoint.GapError
	errs []error
}

// history reads the records in a range, with the gaps and errors.
func history(t testing.TB, s *savepoint.Store[ledger], id string, r savepoint.EventRange) (g gone) {
	t.Helper()
	for rec, err := range s.Events(t.Context(), id, r) {
		var gap *savepoint.GapError
		switch {
		case errors.As(err, &gap):
			g.gaps = append(g.gaps, *gap)
		case err != nil:
			g.errs = append(g.errs, err)
		default:
			g.seqs = append(g.seqs, rec.Seq)
		}
	}
	return g
}

// fromTo returns the numbers from from to to.
func fromTo(from, to uint64) (out []uint64) {
	for s := from; s <= to; s++ {
		out = append(out, s)
	}
	return out
}

var (
	cheats atomic.Int64 // cheated adds one and applies the result
	factor atomic.Int64 // multiplied multiplies by it; a test changes it to change Apply
	broken atomic.Bool
)

// cheated is an event whose Apply is not deterministic.
type cheated struct{ N int }

func (e cheated) Apply(l *ledger, _ savepoint.Meta) error {
	l.Sum, l.Count = l.Sum+uint64(cheats.Add(1)), l.Count+1
	return nil
}

// multiplied is an event whose Apply a test changes by factor, and lets fail by broken.
type multiplied struct{ N int }

func (e multiplied) Apply(l *ledger, _ savepoint.Meta) error {
	if broken.Load() {
		return errors.New("this program has a bug")
	}
	l.Sum, l.Count = l.Sum+uint64(e.N)*uint64(factor.Load()), l.Count+1
	return nil
}

// unsteadyKind returns ledgerKind with the events cheated and multiplied.
func unsteadyKind(every int) savepoint.Kind[ledger] {
	k := ledgerKind(every)
	k.Events["cheated"], k.Events["multiplied"] = cheated{}, multiplied{}
	return k
}
