package game

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDeclared_TotalMustNotBeEight(t *testing.T) {
	for _, c := range []struct {
		first   []int
		allowed []int
	}{
		{[]int{0, 0, 0}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{[]int{1, 2, 2}, []int{0, 1, 2, 4, 5, 6, 7, 8}},
		{[]int{8, 0, 0}, []int{1, 2, 3, 4, 5, 6, 7, 8}},
		{[]int{4, 4, 1}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{[]int{8, 8, 8}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
	} {
		g := declaring(t)
		assert.Len(t, g.Allowed(g.ToMove), HandSize+1, "the first may say anything")
		declare(t, g, c.first...)
		last := g.ToMove
		assert.Equal(t, c.allowed, g.Allowed(last), "after %v", c.first)
		sum := c.first[0] + c.first[1] + c.first[2]
		if sum <= HandSize {
			refused(t, g, Declared{last, HandSize - sum}, "the total must not be 8")
		}
		for _, n := range c.allowed {
			assert.NoError(t, Declared{last, n}.Check(g))
		}
		do(t, g, Declared{last, c.allowed[0]})
		assert.Equal(t, Turn, g.Phase)
		assert.Equal(t, g.Starter, g.ToMove)
	}
}

func TestDeclared_OrderAndRange(t *testing.T) {
	g := declaring(t)
	require.Equal(t, 0, g.ToMove)
	refused(t, g, Declared{1, 2}, "it is the move of seat 0")
	refused(t, g, Declared{9, 2}, "seat 9 does not exist")
	refused(t, g, Declared{0, 9}, "seat 0 declared 9: allowed are [0 1 2 3 4 5 6 7 8]")
	refused(t, g, Declared{0, -1}, "seat 0 declared -1: allowed are")
	refused(t, g, Played{0, []Piece{RedGeneral}}, "belongs into phase turn")
	declare(t, g, 3, 0)
	refused(t, g, Declared{0, 1}, "it is the move of seat 2")
	assert.Nil(t, g.Allowed(NoSeat))
	assert.Nil(t, g.Allowed(Seats))
}

// A zero is allowed twice in a row; after it at least one pile must be named, and that ends the row.
func TestDeclared_ThirdZero(t *testing.T) {
	g := declaring(t)
	r := seed(3)
	who := 2
	for round, want := range []int{1, 2, 0, 1} {
		for g.ToMove != who {
			do(t, g, Declared{g.ToMove, 3})
		}
		if want == 0 {
			refused(t, g, Declared{who, 0}, "declared 0 after 2 rounds of 0 in a row")
			assert.Equal(t, 1, g.Allowed(who)[0])
			do(t, g, Declared{who, 1})
		} else {
			do(t, g, Declared{who, 0})
		}
		assert.Equal(t, want, g.Players[who].Zeros, "round %d", round+1)
		for g.Phase == Declaration {
			do(t, g, Declared{g.ToMove, 3})
		}
		finish(t, g, r, Declaration)
	}
}

// The last declarer may be bound by both rules at once.
func TestDeclared_ThirdZeroAndLast(t *testing.T) {
	g := declaring(t)
	declare(t, g, 2, 2, 2)
	g.Players[3].Zeros = MaxZeros // as after two rounds more
	assert.Equal(t, []int{1, 3, 4, 5, 6, 7, 8}, g.Allowed(3))
	refused(t, g, Declared{3, 0}, "rounds of 0 in a row")
	refused(t, g, Declared{3, 2}, "the total must not be 8")
}
