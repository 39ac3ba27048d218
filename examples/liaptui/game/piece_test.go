package game

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPiece_Facts(t *testing.T) {
	for _, c := range []struct {
		piece  Piece
		text   string
		points int
		copies int
	}{
		{RedGeneral, "red GENERAL (14)", 14, 1},
		{BlackGeneral, "black GENERAL (13)", 13, 1},
		{RedAdvisor, "red ADVISOR (12)", 12, 2},
		{BlackAdvisor, "black ADVISOR (11)", 11, 2},
		{RedElephant, "red ELEPHANT (10)", 10, 2},
		{BlackElephant, "black ELEPHANT (9)", 9, 2},
		{RedChariot, "red CHARIOT (8)", 8, 2},
		{BlackChariot, "black CHARIOT (7)", 7, 2},
		{RedHorse, "red HORSE (6)", 6, 2},
		{BlackHorse, "black HORSE (5)", 5, 2},
		{RedCannon, "red CANNON (4)", 4, 2},
		{BlackCannon, "black CANNON (3)", 3, 2},
		{RedSoldier, "red SOLDIER (2)", 2, 5},
		{BlackSoldier, "black SOLDIER (1)", 1, 5},
		{Hidden, "hidden", 0, 0},
		{Piece(15), "no piece (15)", 15, 0},
		{Piece(-1), "no piece (-1)", -1, 0},
	} {
		assert.Equal(t, c.text, c.piece.String())
		assert.Equal(t, c.points, c.piece.Points(), c.text)
		assert.Equal(t, c.copies, c.piece.Copies(), c.text)
		assert.Equal(t, c.copies > 0, c.piece.Valid(), c.text)
	}
}

func TestPieces_AreTheWholeGame(t *testing.T) {
	all := Pieces()
	assert.Len(t, all, 32)
	red, points := 0, 0
	for _, p := range all {
		points += p.Points()
		if p.Red() {
			red++
		}
	}
	assert.Equal(t, 16, red)
	assert.Equal(t, 14+13+2*(12+11+10+9+8+7+6+5+4+3)+5*(2+1), points)
	assert.Equal(t, sorted(all), all, "strongest first")
}
