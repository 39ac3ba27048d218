package game

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each change breaks one invariant of a valid game.
func TestGame_Validate_FindsDamage(t *testing.T) {
	for _, c := range []struct {
		phase  string
		words  string
		damage func(g *Game)
	}{
		{Turn, "does not exist", func(g *Game) { g.Phase = "chess" }},
		{Turn, "seat 4 does not exist", func(g *Game) { g.ToMove = 4 }},
		{Turn, "seat -2 does not exist", func(g *Game) { g.Redealer = -2 }},
		{Turn, "round 0", func(g *Game) { g.Round = 0 }},
		{Turn, "round 21", func(g *Game) { g.Round = MaxRounds + 1 }},
		{Turn, "multiplier 2", func(g *Game) { g.Multiplier = 2 }},
		{Turn, "after a redeal", func(g *Game) { g.Multiplier, g.Redealer = 2, next(g.Starter) }},
		{Turn, "as starter", func(g *Game) { g.Starter = NoSeat }},
		{Turn, "turn 0", func(g *Game) { g.Turn = 0 }},
		{Declaration, "with leader 1", func(g *Game) { g.Leader = 1 }},
		{Turn, "seat 2 is free", func(g *Game) { g.Players[2].Name = "" }},
		{Turn, "are both", func(g *Game) { g.Players[2].Name = g.Players[1].Name }},
		{Turn, "not a piece", func(g *Game) { g.Players[2].Hand[0] = Hidden }},
		{Turn, "the game has", func(g *Game) { g.Players[2].Hand[7]++ }},
		{Turn, "the game has", func(g *Game) { g.Players[2].Hand = g.Players[2].Hand[1:] }},
		{Turn, "piles of", func(g *Game) { g.Players[1].Piles++ }},
		{Turn, "seat 1 holds 9 pieces, not 8", func(g *Game) {
			g.Players[1].Hand = append(g.Players[1].Hand, g.Players[2].Hand[0])
			g.Players[2].Hand = g.Players[2].Hand[1:]
		}},
		{Preparation, "out before the deal", func(g *Game) { g.Players[0].Taken, g.Players[0].Piles = Pieces()[:4], 1 }},
		{TurnResults, "3 plays", func(g *Game) {
			g.Players[g.Plays[3].Seat].Hand = append(g.Players[g.Plays[3].Seat].Hand, g.Plays[3].Pieces...)
			g.Plays = g.Plays[:3]
		}},
		{TurnResults, "is by seat", func(g *Game) { g.Plays[1], g.Plays[2] = g.Plays[2], g.Plays[1] }},
		{Turn, "declarations", func(g *Game) { g.Players[0].Declared = Undeclared }},
		{Turn, "make 8", func(g *Game) {
			for i := range g.Players {
				g.Players[i].Declared, g.Players[i].Zeros = 2, 0
			}
		}},
		{Turn, "declared 9", func(g *Game) { g.Players[0].Declared = 9 }},
		{Turn, "zeros in a row", func(g *Game) { g.Players[0].Declared, g.Players[0].Zeros = 1, 1 }},
		{Declaration, "passed over", func(g *Game) { g.Players[next(g.Starter)].Declared = 2 }},
		{Scoring, "has score 1", func(g *Game) { g.Players[0].Score++ }},
		{Scoring, "of 0 rounds", func(g *Game) { g.Players[0].Points = []int{0} }},
		{GameOver, "in the last round", func(g *Game) {
			p := &g.Players[0]
			p.Points[0]--
			p.Points[len(p.Points)-1]++
		}},
		{GameOver, "win with scores", func(g *Game) { g.Winners = append(g.Winners, g.Winners...) }},
		{Turn, "win with scores", func(g *Game) { g.Winners = []int{1} }},
		{Preparation, "goes on with scores", func(g *Game) {
			g.Round, g.Starter = 2, 1
			for i := range g.Players {
				g.Players[i].Points, g.Players[i].Score = []int{50}, 50
			}
		}},
		{Turn, "is to move, not", func(g *Game) { g.ToMove = next(g.ToMove) }},
		{Scoring, "is to move, not", func(g *Game) { g.ToMove = 0 }},
		{Turn, "are asked", func(g *Game) { g.Asking = []int{0} }},
		{Preparation, "asked before the deal", func(g *Game) { g.Asking = []int{0} }},
	} {
		g := New()
		finish(t, &g, seed(4), c.phase)
		require.NoError(t, g.Validate())
		c.damage(&g)
		assert.ErrorContains(t, g.Validate(), c.words, c.phase)
	}
}

// Each change damages a game in preparation while weak hands are asked.
func TestGame_Validate_FindsDamage_Asking(t *testing.T) {
	for _, asking := range [][]int{nil, {1}, {3, 3}, {3, 7}, {0, 3}} {
		g := seated(t)
		do(t, g, dealtWith(g, hands(t, weakHand, nil, top, weakHand2)))
		g.Asking = asking
		assert.Error(t, g.Validate(), "%v", asking)
	}
}
