package game

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// weakHand has nothing above 9 points; two of it do not collide.
var (
	weakHand  = []Piece{BlackElephant, RedChariot, BlackChariot, RedHorse, BlackHorse, RedCannon, BlackCannon, RedSoldier}
	weakHand2 = []Piece{BlackElephant, RedChariot, BlackChariot, RedHorse, BlackHorse, RedCannon, BlackCannon, BlackSoldier}
	top       = []Piece{RedGeneral, RedAdvisor}
)

func TestWeak_NineIsWeakTenIsNot(t *testing.T) {
	assert.True(t, Weak(weakHand))
	assert.False(t, Weak([]Piece{RedElephant, BlackSoldier}))
	assert.True(t, Weak([]Piece{BlackElephant, BlackSoldier}))
}

func TestDealt_Rules(t *testing.T) {
	g := seated(t)
	good := dealtWith(g, hands(t, nil, top, []Piece{BlackGeneral, RedElephant}, []Piece{BlackAdvisor, RedElephant}))
	require.NoError(t, good.Check(g))
	require.Equal(t, 1, good.Starter)

	change := func(f func(*Dealt)) Dealt {
		e := good
		for i := range e.Hands {
			e.Hands[i] = slices.Clone(e.Hands[i])
		}
		f(&e)
		return e
	}
	refused(t, g, change(func(e *Dealt) { e.Hands[2] = e.Hands[2][:7] }), "7 pieces dealt to seat 2: a hand has 8")
	refused(t, g, change(func(e *Dealt) { slices.Reverse(e.Hands[3]) }), "not in order")
	refused(t, g, change(func(e *Dealt) { e.Hands[0][7] = Hidden }), "not a piece")
	refused(t, g, change(func(e *Dealt) { e.Hands[1][1] = RedGeneral }), "of red ADVISOR (12) dealt: the game has 2")
	refused(t, g, change(func(e *Dealt) { e.Starter = 0 }), "seat 0 as starter: it is seat 1")
	refused(t, g, change(func(e *Dealt) { e.Asking = []int{3} }), "may ask for a redeal")
	refused(t, g, Dealt{}, "0 pieces dealt")

	do(t, g, good)
	assert.Equal(t, RoundStart, g.Phase, "no weak hand: nobody is asked")
	refused(t, g, good, "belongs into phase preparation")
	refused(t, g, RoundStarted{Starter: 0}, "seat 0 as starter: it is seat 1")
}

// In round one the seats after the holder of the red GENERAL answer in play order.
func TestRedeal_OrderOfAnswers(t *testing.T) {
	g := seated(t)
	deal := dealtWith(g, hands(t, weakHand, []Piece{BlackGeneral}, top, weakHand2))
	require.Equal(t, []int{3, 0}, deal.Asking)
	do(t, g, deal)
	refused(t, g, deal, "dealt already")
	refused(t, g, RoundStarted{Starter: 2}, "belongs into phase round_start")
	refused(t, g, RedealAsked{0}, "it is the move of seat 3")
	refused(t, g, RedealDeclined{1}, "it is the move of seat 3")
	do(t, g, RedealDeclined{3})
	refused(t, g, RedealAsked{3}, "it is the move of seat 0")
	do(t, g, RedealDeclined{0})
	assert.Equal(t, RoundStart, g.Phase)
	assert.Equal(t, 2, g.Starter)
	assert.Equal(t, 1, g.Multiplier)
	assert.Equal(t, NoSeat, g.Redealer)
}

// The asker starts although the red GENERAL is elsewhere, each redeal adds one to the multiplier,
// the last asker counts, and the next round starts with multiplier 1 and no redealer.
func TestRedeal_MultiplierAndStarter(t *testing.T) {
	g := seated(t)
	do(t, g, dealtWith(g, hands(t, weakHand, nil, top, weakHand2)), RedealAsked{3})
	assert.Equal(t, 2, g.Multiplier)
	assert.False(t, g.dealt())
	refused(t, g, RedealAsked{0}, "not a player's move")

	second := dealtWith(g, hands(t, weakHand, nil, top, weakHand2))
	require.Equal(t, 3, second.Starter)
	require.Equal(t, []int{3, 0}, second.Asking, "from the redealer")
	do(t, g, second, RedealDeclined{3}, RedealAsked{0})
	assert.Equal(t, 3, g.Multiplier)

	do(t, g, dealtWith(g, hands(t, []Piece{RedElephant}, []Piece{RedElephant}, top, []Piece{BlackGeneral})))
	require.Equal(t, RoundStart, g.Phase)
	assert.Equal(t, 0, g.Starter)
	assert.Equal(t, 0, g.Redealer)
	do(t, g, RoundStarted{Starter: 0})
	declare(t, g, 1, 1, 1, 1)
	finish(t, g, seed(1), Scoring)
	piles := [Seats]int{}
	for i := range piles {
		piles[i] = g.Players[i].Piles
	}
	last := g.Leader
	do(t, g, Server(g, nil))
	for i, p := range g.Players {
		assert.Equal(t, 3*Points(1, piles[i]), p.Score, "tripled")
	}
	require.Equal(t, Preparation, g.Phase)
	assert.Equal(t, 1, g.Multiplier)
	assert.Equal(t, NoSeat, g.Redealer)
	assert.Equal(t, last, g.Starter, "the winner of the last turn")
	next := Deal(g, seed(2))
	assert.Equal(t, last, next.Starter)
}

func TestRedeal_AtMostMaxRedeals(t *testing.T) {
	g := seated(t)
	for range MaxRedeals {
		do(t, g, dealtWith(g, hands(t, nil, weakHand)), RedealAsked{1})
	}
	assert.Equal(t, 1+MaxRedeals, g.Multiplier)
	deal := dealtWith(g, hands(t, nil, weakHand))
	assert.Empty(t, deal.Asking)
	do(t, g, deal)
	assert.Equal(t, RoundStart, g.Phase)
}

// The game keeps its own copy of what a deal holds.
func TestDealt_SharesNothing(t *testing.T) {
	g := seated(t)
	deal := dealtWith(g, hands(t, weakHand))
	do(t, g, deal)
	before := g.Clone()
	deal.Hands[0][0] = Hidden
	deal.Asking[0] = 3
	assert.Equal(t, before, *g)
}
