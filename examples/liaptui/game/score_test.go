package game

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPoints(t *testing.T) {
	for _, c := range []struct{ declared, took, want int }{
		{0, 0, 3}, {0, 1, -1}, {0, 8, -8},
		{1, 1, 6}, {4, 4, 9}, {8, 8, 13},
		{3, 2, -1}, {2, 3, -1}, {8, 0, -8}, {1, 5, -4}, {5, 1, -4},
	} {
		assert.Equal(t, c.want, Points(c.declared, c.took), "declared %d, took %d", c.declared, c.took)
	}
}

func TestWinners(t *testing.T) {
	for _, c := range []struct {
		name   string
		scores [Seats]int
		round  int
		want   []int
	}{
		{"goes on", [Seats]int{49, 10, -3, 0}, 4, nil},
		{"reached", [Seats]int{50, 10, -3, 0}, 4, []int{0}},
		{"two reached, the higher wins", [Seats]int{50, 10, 52, 0}, 4, []int{2}},
		{"draw", [Seats]int{51, 10, 51, 0}, 4, []int{0, 2}},
		{"last round", [Seats]int{-5, 10, 12, 0}, MaxRounds, []int{2}},
		{"the round before the last", [Seats]int{-5, 10, 12, 0}, MaxRounds - 1, nil},
		{"last round, all equal below zero", [Seats]int{-5, -5, -5, -5}, MaxRounds, []int{0, 1, 2, 3}},
	} {
		assert.Equal(t, c.want, winners(c.scores, c.round), c.name)
	}
}

// scoring returns a game of round one before its points are given: seat 0 hit 1, seats 1 and 2 hit
// 0, seat 3 took 7 of 6 declared. The scores before are put in by hand.
func scoring(t *testing.T, scores ...int) *Game {
	t.Helper()
	g := declaring(t)
	declare(t, g, 1, 0, 0, 6)
	finish(t, g, seed(1), Scoring)
	for i, piles := range []int{1, 0, 0, 7} {
		g.Players[i].Piles = piles
		g.Players[i].Taken = Pieces()[:piles*Seats]
		g.Players[i].Score = scores[i]
	}
	return g
}

func TestRoundScored_EndsTheGame(t *testing.T) {
	for _, c := range []struct {
		name    string
		scores  []int
		winners []int
	}{
		{"nobody", []int{43, 46, 46, 49}, nil},
		{"one", []int{44, 0, 0, 0}, []int{0}},
		{"the highest", []int{44, 48, 0, 0}, []int{1}},
		{"draw", []int{45, 48, 48, 0}, []int{0, 1, 2}},
	} {
		g := scoring(t, c.scores...)
		e := Server(g, nil).(RoundScored)
		require.NoError(t, e.Check(g), c.name)
		assert.Equal(t, [Seats]int{6, 3, 3, -1}, e.Points, c.name)
		require.NoError(t, e.Apply(g))
		assert.Equal(t, c.winners, g.Winners, c.name)
		if c.winners == nil {
			assert.Equal(t, Preparation, g.Phase, c.name)
			continue
		}
		assert.Equal(t, GameOver, g.Phase, c.name)
		assert.Nil(t, Next(g, seed(1)), c.name)
		for i, p := range g.Players {
			assert.Equal(t, c.scores[i]+e.Points[i], p.Score, c.name)
		}
	}
}
