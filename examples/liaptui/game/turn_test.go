package game

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPlayed_Rules(t *testing.T) {
	g := declaring(t,
		[]Piece{RedGeneral, RedHorse, RedHorse, BlackSoldier, BlackSoldier},
		[]Piece{BlackGeneral, RedChariot, RedChariot, RedElephant},
		[]Piece{BlackChariot, BlackChariot, RedAdvisor, RedElephant},
		[]Piece{BlackAdvisor, BlackAdvisor, BlackHorse, BlackHorse})
	declare(t, g, 2, 2, 2, 1)

	refused(t, g, Played{1, []Piece{BlackGeneral}}, "it is the move of seat 0")
	refused(t, g, Played{0, nil}, "which is not a set")
	refused(t, g, Played{0, []Piece{RedGeneral, RedHorse}}, "seat 0 leads with [red GENERAL (14) red HORSE (6)], which is not a set")
	refused(t, g, Played{0, []Piece{BlackGeneral}}, "1 of black GENERAL (13) played: the hand has 0")
	refused(t, g, Played{0, []Piece{RedHorse, RedHorse, RedHorse}}, "3 of red HORSE (6) played: the hand has 2")
	refused(t, g, Played{0, []Piece{Hidden}}, "hidden cannot be played")
	refused(t, g, TurnScored{}, "belongs into phase turn_results")

	do(t, g, Played{0, []Piece{RedHorse, RedHorse}})
	refused(t, g, Played{1, []Piece{BlackGeneral}}, "seat 1 played 1 pieces: the leader played 2")
	refused(t, g, Played{1, nil}, "seat 1 played 0 pieces")
	do(t, g,
		Played{1, []Piece{BlackGeneral, RedElephant}}, // no set: loses
		Played{2, []Piece{BlackChariot, BlackChariot}})
	seat, err := g.TurnWinner()
	require.NoError(t, err)
	assert.Equal(t, 2, seat, "so far")
	do(t, g, Played{3, []Piece{BlackAdvisor, BlackAdvisor}})

	assert.Equal(t, TurnResults, g.Phase)
	assert.Equal(t, NoSeat, g.ToMove)
	refused(t, g, Played{0, []Piece{RedGeneral}}, "belongs into phase turn")
	refused(t, g, TurnScored{Winner: 2, Piles: 2}, "it is seat 3 that takes 2")
	refused(t, g, TurnScored{Winner: 3, Piles: 1}, "it is seat 3 that takes 2")
	do(t, g, TurnScored{Winner: 3, Piles: 2})
	assert.Equal(t, 2, g.Players[3].Piles)
	assert.Len(t, g.Players[3].Taken, 8)
	assert.Equal(t, 3, g.ToMove, "the winner leads")
	assert.Equal(t, 2, g.Turn)
	_, err = g.TurnWinner()
	assert.Error(t, err)

	do(t, g, Played{3, []Piece{BlackHorse, BlackHorse}})
	assert.Equal(t, 0, g.ToMove, "play goes round from the last seat to the first")
}

// A whole round by hand: eight piles, and the hands are empty at its end.
func TestRound_ByHand(t *testing.T) {
	g := declaring(t,
		[]Piece{RedGeneral, RedAdvisor, RedAdvisor, RedElephant, RedElephant, BlackGeneral, BlackAdvisor, BlackAdvisor},
		[]Piece{RedChariot, RedChariot, RedHorse, RedHorse, RedCannon, RedCannon, RedSoldier, RedSoldier},
		[]Piece{BlackChariot, BlackChariot, BlackHorse, BlackHorse, BlackCannon, BlackCannon, BlackSoldier, BlackSoldier})
	declare(t, g, 8, 0, 0, 1)
	do(t, g,
		Played{0, []Piece{RedElephant, RedAdvisor, RedGeneral, RedAdvisor, RedElephant}},
		Played{1, []Piece{RedChariot, RedHorse, RedHorse, RedCannon, RedCannon}},
		Played{2, []Piece{BlackChariot, BlackHorse, BlackHorse, BlackCannon, BlackCannon}},
		Played{3, []Piece{RedSoldier, RedSoldier, RedSoldier, BlackSoldier, BlackSoldier}},
		TurnScored{Winner: 0, Piles: 5},
		Played{0, []Piece{BlackAdvisor, BlackAdvisor}},
		Played{1, []Piece{RedSoldier, RedSoldier}},
		Played{2, []Piece{BlackSoldier, BlackSoldier}},
		Played{3, []Piece{BlackElephant, BlackElephant}},
		TurnScored{Winner: 0, Piles: 2},
		Played{0, []Piece{BlackGeneral}},
		Played{1, []Piece{RedChariot}},
		Played{2, []Piece{BlackChariot}},
		Played{3, []Piece{BlackSoldier}},
		TurnScored{Winner: 0, Piles: 1},
	)
	assert.Equal(t, Scoring, g.Phase)
	refused(t, g, RoundScored{}, "the round has points [0 0 0 0]: it is [13 3 3 -1]")
	refused(t, g, RoundScored{Points: [4]int{13, 3, 3, -1}, Winners: []int{0}}, "seats [0] win: it is seats []")
	do(t, g, RoundScored{Points: [4]int{13, 3, 3, -1}})
	assert.Equal(t, Preparation, g.Phase)
	assert.Equal(t, 2, g.Round)
	assert.Equal(t, []int{13}, g.Players[0].Points)
}
