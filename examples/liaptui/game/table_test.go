package game

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// do lets the rules allow and apply events, and validates after each.
func do(t *testing.T, g *Game, events ...Event) {
	t.Helper()
	for _, e := range events {
		from := g.Phase
		require.NoError(t, g.Do(e), "%T%+v", e, e)
		require.NoError(t, g.Validate(), "after %T%+v", e, e)
		require.Contains(t, Legal[from], g.Phase, "after %T%+v", e, e)
	}
}

// refused requires that the rules forbid e, in these words, and that g stays as it is.
func refused(t *testing.T, g *Game, e Event, words string) {
	t.Helper()
	before := g.Clone()
	require.ErrorContains(t, e.Check(g), words)
	require.Equal(t, before, *g)
}

// seated returns a game in preparation of round one, before the deal.
func seated(t *testing.T) *Game {
	t.Helper()
	g := New()
	do(t, &g, Joined{0, "Ann"}, Joined{1, "Ben"}, Joined{2, "Cid"}, Joined{3, "Dot"}, Started{})
	return &g
}

// hands fills up four hands with the pieces that nobody has, the strongest first to the lowest seat.
func hands(t *testing.T, some ...[]Piece) [Seats][]Piece {
	t.Helper()
	var all [Seats][]Piece
	rest := Pieces()
	for i, hand := range some {
		require.NoError(t, checkHolds(rest, hand))
		all[i] = slices.Clone(hand)
		rest = without(rest, hand)
	}
	for i := range all {
		n := HandSize - len(all[i])
		all[i] = sorted(append(all[i], rest[:n]...))
		rest = rest[n:]
	}
	return all
}

// dealtWith returns the deal of these hands as the rules want it in g.
func dealtWith(g *Game, hands [Seats][]Piece) Dealt {
	starter := g.starter(hands)
	return Dealt{Hands: hands, Starter: starter, Asking: g.asking(hands, starter)}
}

// declaring returns a game of round one in declaration: seat 0 has the red GENERAL and starts.
func declaring(t *testing.T, some ...[]Piece) *Game {
	t.Helper()
	g := seated(t)
	do(t, g, dealtWith(g, hands(t, some...)))
	for g.Phase == Preparation {
		do(t, g, RedealDeclined{g.ToMove})
	}
	do(t, g, RoundStarted{g.Starter})
	return g
}

// declare lets the four seats declare in order from the starter.
func declare(t *testing.T, g *Game, piles ...int) {
	t.Helper()
	for _, n := range piles {
		do(t, g, Declared{g.ToMove, n})
	}
}

// finish lets bots play until the phase is reached.
func finish(t *testing.T, g *Game, r *rand.Rand, phase string) {
	t.Helper()
	for g.Phase != phase {
		e := Next(g, r)
		require.NotNil(t, e, "the game is over before %s", phase)
		do(t, g, e)
	}
}

func seed(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 0x5eed)) }

// encoded is the state as text; two states with the same text are the same.
func encoded(t *testing.T, g *Game) []byte {
	t.Helper()
	b, err := json.Marshal(g)
	require.NoError(t, err)
	return b
}
