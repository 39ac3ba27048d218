package savepoint_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// at returns the state of duel "d" at a seq.
func at(t *testing.T, s *savepoint.Store[duel], seq uint64) savepoint.State[duel] {
	t.Helper()
	st, err := s.At(t.Context(), "d", savepoint.AtSeq(seq))
	require.NoError(t, err)
	return st
}

// records returns all records of a machine.
func records[S any](t *testing.T, s *savepoint.Store[S], id string) (all []savepoint.Record[S]) {
	t.Helper()
	for rec, err := range s.Events(t.Context(), id, savepoint.EventRange{}) {
		require.NoError(t, err)
		all = append(all, rec)
	}
	return all
}

// duelV1 and duel are one game in two versions. From 1 to 2 the phase "turn" becomes "playing", a pot is computed,
// "played" becomes "laid" with its card in two parts, and "noted" is dropped.
type duelV1 struct {
	Phase  string
	Turn   int
	Hands  map[int][]string
	Opened time.Time
	Stake  float64
	Big    uint64
	Mark   []byte
}

type duel struct {
	Phase  string
	ToMove int
	Hands  map[int][]string
	Opened time.Time
	Stake  float64
	Big    uint64
	Mark   []byte
	Pot    int
	Left   int // the cards in all hands
}

type playedV1 struct {
	Seat int
	Card string
}

func (e playedV1) Apply(g *duelV1, m savepoint.Meta) error {
	if g.Hands == nil {
		*g = openedV1(m.Time)
	}
	i := slices.Index(g.Hands[e.Seat], e.Card)
	if i < 0 {
		return fmt.Errorf("seat %d has no %s", e.Seat, e.Card)
	}
	g.Phase, g.Turn, g.Hands[e.Seat] = "turn", 1-e.Seat, slices.Delete(g.Hands[e.Seat], i, i+1)
	return nil
}

// openedV1 returns the state that the first move of a duel starts from.
func openedV1(at time.Time) duelV1 {
	return duelV1{Phase: "turn", Opened: at, Stake: 2, Big: 1 << 63, Mark: []byte{0, 255},
		Hands: map[int][]string{0: {"7H", "8H", "9H", "TH"}, 1: {"7S", "8S", "9S", "TS"}}}
}

type notedV1 struct{ Text string }

func (notedV1) Apply(*duelV1, savepoint.Meta) error { return nil }

type laid struct {
	Seat       int
	Rank, Suit string
}

func (e laid) Check(g *duel, _ savepoint.Meta) error {
	if g.ToMove != e.Seat {
		return errNotYourTurn
	}
	return nil
}

func (e laid) Apply(g *duel, m savepoint.Meta) error {
	if g.Hands == nil {
		up, err := duelUp(openedV1(m.Time))
		if err != nil {
			return err
		}
		*g = up
	}
	i := slices.Index(g.Hands[e.Seat], e.Rank+e.Suit)
	if i < 0 {
		return fmt.Errorf("seat %d has no %s%s", e.Seat, e.Rank, e.Suit)
	}
	g.Phase, g.ToMove, g.Hands[e.Seat] = "playing", 1-e.Seat, slices.Delete(g.Hands[e.Seat], i, i+1)
	g.Left--
	return nil
}

func duelUp(o duelV1) (duel, error) {
	n := duel{Phase: o.Phase, ToMove: o.Turn, Hands: o.Hands, Opened: o.Opened, Stake: o.Stake, Big: o.Big, Mark: o.Mark, Pot: int(2 * o.Stake)}
	for _, hand := range o.Hands {
		n.Left += len(hand)
	}
	if n.Phase == "turn" {
		n.Phase = "playing"
	}
	return n, nil
}

func duelDown(n duel) (duelV1, error) {
	o := duelV1{Phase: n.Phase, Turn: n.ToMove, Hands: n.Hands, Opened: n.Opened, Stake: n.Stake, Big: n.Big, Mark: n.Mark}
	if o.Phase == "playing" {
		o.Phase = "turn"
	}
	return o, nil
}

func laidUp(o playedV1) (laid, error) {
	return laid{Seat: o.Seat, Rank: o.Card[:1], Suit: o.Card[1:]}, nil
}

// duelMigrations returns the migrations from version 1 to 2: of the state, of a renamed event and of a dropped one.
func duelMigrations() []savepoint.Migration {
	return []savepoint.Migration{
		{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0), Up: savepoint.StructMigration(duelUp), Down: savepoint.StructMigration(duelDown)},
		{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0), Event: "played", Rename: "laid", Up: savepoint.StructMigration(laidUp)},
		{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0), Event: "noted", Drop: true},
	}
}

// duelKindV1 returns the kind of version 1, without a snapshot at Close.
func duelKindV1(st savepoint.Strategy) savepoint.Kind[duelV1] {
	return savepoint.Kind[duelV1]{Name: "duel", Strategy: st, Snapshot: savepoint.SnapshotPolicy{NoClose: true},
		Events: savepoint.Events[duelV1]{"played": playedV1{}, "noted": notedV1{}},
		Phase:  func(g *duelV1) string { return g.Phase }}
}

// duelKind returns the kind of version 2, with its migrations and without a snapshot at Close.
func duelKind(st savepoint.Strategy) savepoint.Kind[duel] {
	return savepoint.Kind[duel]{Name: "duel", Version: savepoint.V(2, 0, 0), Strategy: st,
		Snapshot: savepoint.SnapshotPolicy{NoClose: true}, Migrations: duelMigrations(),
		Events: savepoint.Events[duel]{"laid": laid{}},
		Phase:  func(g *duel) string { return g.Phase },
		Legal:  map[string][]string{"": {"playing"}, "playing": {"over"}}}
}

// lasting is an engine that outlives its database and records the steps of each Commit.
type lasting struct {
	engine.Engine
	steps []engine.Step
	fail  error // the next Commit returns it

	events atomic.Int64 // how many loads asked for records
}

func (k *lasting) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	if want.Events {
		k.events.Add(1)
	}
	return k.Engine.Load(ctx, machine, want, fn)
}

func (k *lasting) Close() error { return nil }

func (k *lasting) Commit(ctx context.Context, steps []engine.Step, out []engine.Result) error {
	if err := k.fail; err != nil {
		k.fail = nil
		return err
	}
	for _, s := range steps {
		k.steps = append(k.steps, engine.Step{Writes: slices.Clone(s.Writes)})
	}
	return k.Engine.Commit(ctx, steps, out)
}

// places are the places of a database that a test opens several times. Each returns the path and options of Open.
var places = map[string]func(t *testing.T) func(o savepoint.Options) (string, *savepoint.Options){
	"memory": func(*testing.T) func(savepoint.Options) (string, *savepoint.Options) {
		e := &lasting{Engine: memory.New()}
		return func(o savepoint.Options) (string, *savepoint.Options) { o.Engine = e; return "kept", &o }
	},
	"file": func(t *testing.T) func(savepoint.Options) (string, *savepoint.Options) {
		path := filepath.Join(t.TempDir(), "duel.db")
		return func(o savepoint.Options) (string, *savepoint.Options) { return path, &o }
	},
	"journal": func(t *testing.T) func(savepoint.Options) (string, *savepoint.Options) {
		path := filepath.Join(t.TempDir(), "duel.db")
		return func(o savepoint.Options) (string, *savepoint.Options) { o.Journal = 1 << 20; return path, &o }
	},
}

// place returns the path and options that open one place, with o added.
type place func(o savepoint.Options) (string, *savepoint.Options)

// somewhere returns a place in memory.
func somewhere(t *testing.T) place { return place(places["memory"](t)) }

// onEachPlace runs a test on each of places.
func onEachPlace(t *testing.T, fn func(t *testing.T, at place)) {
	for _, name := range slices.Sorted(maps.Keys(places)) {
		t.Run(name, func(t *testing.T) { fn(t, place(places[name](t))) })
	}
}

// use opens the place, registers the kind, runs fn and closes it.
func use[S any](t *testing.T, at place, k savepoint.Kind[S], fn func(s *savepoint.Store[S])) {
	t.Helper()
	useWith(t, at, savepoint.Options{}, k, fn)
}

// useWith is use with options.
func useWith[S any](t *testing.T, at place, o savepoint.Options, k savepoint.Kind[S], fn func(s *savepoint.Store[S])) {
	t.Helper()
	path, opts := at(o)
	db, err := savepoint.Open(path, opts)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	fn(s)
}

// playV1 appends the first n moves of a duel, with a note before the last one.
func playV1(t *testing.T, s *savepoint.Store[duelV1], id string, n int) {
	t.Helper()
	for i := range n {
		card := fmt.Sprintf("%c%c", "789T"[i/2], "HS"[i%2])
		if i == n-1 {
			_, err := s.Append(t.Context(), id, notedV1{Text: "so far"})
			require.NoError(t, err)
		}
		_, err := s.Append(t.Context(), id, playedV1{Seat: i % 2, Card: card})
		require.NoError(t, err)
	}
}
