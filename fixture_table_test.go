package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// table is a small card game, the state of most tests.
type table struct {
	Phase  string
	Seats  []string
	Hands  map[int][]string
	Turn   int
	Played []string
	Scores map[string]int
	Note   string
}

type dealt struct {
	Seats []string
	Hands map[int][]string
}

func (e dealt) Check(t *table, _ savepoint.Meta) error {
	if t.Phase != "waiting" {
		return errors.New("the cards are dealt already")
	}
	return nil
}

func (e dealt) Apply(t *table, _ savepoint.Meta) error {
	t.Phase, t.Seats, t.Hands, t.Scores = "turn", e.Seats, e.Hands, map[string]int{}
	return nil
}

type played struct {
	Seat int
	Card string
}

func (e played) Check(t *table, _ savepoint.Meta) error {
	if t.Phase != "turn" || e.Seat != t.Turn {
		return fmt.Errorf("seat %d: %w", e.Seat, errNotYourTurn)
	}
	return nil
}

func (e played) Apply(t *table, _ savepoint.Meta) error {
	i := slices.Index(t.Hands[e.Seat], e.Card)
	if i < 0 {
		return fmt.Errorf("seat %d has no %s", e.Seat, e.Card)
	}
	t.Hands[e.Seat] = slices.Delete(t.Hands[e.Seat], i, i+1)
	t.Played = append(t.Played, e.Card)
	t.Turn = (t.Turn + 1) % len(t.Seats)
	return nil
}

var errNotYourTurn = errors.New("not your turn")

// noted is an event by pointer. Its Apply fails or panics as the fields say.
type noted struct {
	Text  string
	Fail  bool
	Panic bool
	Tags  []string
}

func (e *noted) Apply(t *table, m savepoint.Meta) error {
	t.Note = fmt.Sprintf("%s by %s", e.Text, m.Actor)
	if e.Fail {
		return errors.New("noted fails")
	}
	if e.Panic {
		panic("noted panics")
	}
	return nil
}

// moved sets the phase to any other one.
type moved struct{ To string }

func (e moved) Apply(t *table, _ savepoint.Meta) error { t.Phase = e.To; return nil }

// tableKind returns the kind of table, with rules for its phases.
func tableKind() savepoint.Kind[table] {
	return savepoint.Kind[table]{
		Name: "table",
		Events: savepoint.Events[table]{
			"dealt": dealt{}, "played": played{}, "noted": &noted{}, "moved": moved{},
		},
		New:   func() table { return table{Phase: "waiting"} },
		Phase: func(t *table) string { return t.Phase },
		Legal: map[string][]string{"waiting": {"turn", "scoring"}, "turn": {"turn", "scoring"}, "scoring": {"waiting"}},
		Validate: func(t *table) error {
			if t.Note == "invalid by " {
				return errors.New("the note is not valid")
			}
			return nil
		},
	}
}

// deal returns the event that starts a game of two.
func deal() dealt {
	return dealt{Seats: []string{"ann", "bob"}, Hands: map[int][]string{
		0: {"7H", "8H", "9H", "TH", "JH"}, 1: {"7S", "8S", "9S", "TS", "JS"}}}
}

var plays = []played{{0, "7H"}, {1, "7S"}, {0, "8H"}, {1, "8S"}, {0, "9H"}, {1, "9S"}, {0, "TH"}, {1, "TS"}}

// register registers tableKind.
func register(t testing.TB, db *savepoint.DB) *savepoint.Store[table] {
	t.Helper()
	s, err := savepoint.Register(db, tableKind())
	require.NoError(t, err)
	return s
}

// begin deals, plays n cards and returns the last head.
func begin(t testing.TB, s *savepoint.Store[table], id string, n int) savepoint.Head {
	t.Helper()
	ctx := context.Background()
	h, err := s.Append(ctx, id, deal())
	require.NoError(t, err)
	for _, p := range plays[:n] {
		h, err = s.Append(ctx, id, p, savepoint.By("seat"))
		require.NoError(t, err)
	}
	return h
}

// load loads a machine that exists.
func load(t testing.TB, s *savepoint.Store[table], id string) savepoint.State[table] {
	t.Helper()
	st, err := s.Load(context.Background(), id)
	require.NoError(t, err)
	return st
}

// kindOf returns tableKind with a strategy.
func kindOf(st savepoint.Strategy) savepoint.Kind[table] {
	k := tableKind()
	k.Strategy = st
	return k
}

var strategies = []savepoint.Strategy{savepoint.Hybrid, savepoint.EventSourced, savepoint.SnapshotOnly, savepoint.Versioned}

// note appends n notes with the texts "0", "1" and so on.
func note(t testing.TB, s *savepoint.Store[table], id string, n int) {
	t.Helper()
	for i := range n {
		_, err := s.Append(t.Context(), id, &noted{Text: fmt.Sprint(i)})
		require.NoError(t, err)
	}
}

// onEachKind runs a test on each engine with a kind and options of its own.
func onEachKind(t *testing.T, o savepoint.Options, k savepoint.Kind[table], fn func(t *testing.T, s *savepoint.Store[table])) {
	for name, path := range engines {
		t.Run(name, func(t *testing.T) {
			db := open(t, path(t), &o)
			s, err := savepoint.Register(db, k)
			require.NoError(t, err)
			fn(t, s)
		})
	}
}

// infos lists snapshots, none of which may be damaged.
func infos(t *testing.T, s *savepoint.Store[table], id string, r savepoint.SnapshotRange) (out []savepoint.SnapshotInfo) {
	t.Helper()
	for info, err := range s.Snapshots(t.Context(), id, r) {
		require.NoError(t, err)
		require.NoError(t, info.Err)
		out = append(out, info)
	}
	return out
}

// seqs returns the seqs of snapshots.
func seqs(list []savepoint.SnapshotInfo) (out []uint64) {
	for _, i := range list {
		out = append(out, i.Seq)
	}
	return out
}
