package game

import (
	"fmt"
	"slices"
)

// Piece is a kind of piece, and its number is its points: every name and colour has points of its
// own, even for red and odd for black. Pieces of one kind are interchangeable.
type Piece int

// The fourteen kinds of pieces, and Hidden for a piece that must not be seen.
const (
	Hidden Piece = iota
	BlackSoldier
	RedSoldier
	BlackCannon
	RedCannon
	BlackHorse
	RedHorse
	BlackChariot
	RedChariot
	BlackElephant
	RedElephant
	BlackAdvisor
	RedAdvisor
	BlackGeneral
	RedGeneral
)

// WeakLimit is the most points a piece of a weak hand may have.
const WeakLimit = 9

var names = [...]string{"SOLDIER", "CANNON", "HORSE", "CHARIOT", "ELEPHANT", "ADVISOR", "GENERAL"}

// Valid reports whether p is one of the fourteen kinds.
func (p Piece) Valid() bool { return p >= BlackSoldier && p <= RedGeneral }

// Points returns the points of p, 1 to 14.
func (p Piece) Points() int { return int(p) }

// Red reports whether p is red; otherwise it is black.
func (p Piece) Red() bool { return p%2 == 0 }

// Colour returns "red" or "black".
func (p Piece) Colour() string {
	if p.Red() {
		return "red"
	}
	return "black"
}

// Name returns the name without the colour, such as "CHARIOT"; empty if p is not Valid.
func (p Piece) Name() string {
	if !p.Valid() {
		return ""
	}
	return names[(p-1)/2]
}

// Soldier reports whether p is a soldier of either colour.
func (p Piece) Soldier() bool { return p == RedSoldier || p == BlackSoldier }

// Copies returns how many pieces of this kind the game has: 1, 2 or 5; 0 if p is not Valid.
func (p Piece) Copies() int {
	switch {
	case !p.Valid():
		return 0
	case p >= BlackGeneral:
		return 1
	case p.Soldier():
		return 5
	}
	return 2
}

// String returns colour, name and points, such as "red CHARIOT (8)".
func (p Piece) String() string {
	switch {
	case p == Hidden:
		return "hidden"
	case !p.Valid():
		return fmt.Sprintf("no piece (%d)", int(p))
	}
	return fmt.Sprintf("%s %s (%d)", p.Colour(), p.Name(), p.Points())
}

// Pieces returns the 32 pieces of the game, strongest first. The caller owns the slice.
func Pieces() []Piece {
	all := make([]Piece, 0, Seats*HandSize)
	for p := RedGeneral; p >= BlackSoldier; p-- {
		for range p.Copies() {
			all = append(all, p)
		}
	}
	return all
}

// counts holds how many pieces of each kind there are, by points.
type counts [RedGeneral + 1]int

// add counts pieces. It returns false if one of them does not exist.
func (c *counts) add(pieces ...Piece) bool {
	for _, p := range pieces {
		if !p.Valid() {
			return false
		}
		c[p]++
	}
	return true
}

// checkHolds refuses pieces that are not all in hand.
func checkHolds(hand, pieces []Piece) error {
	var have, want counts
	have.add(hand...)
	for _, p := range pieces {
		if !want.add(p) {
			return fmt.Errorf("%v cannot be played", p)
		}
		if want[p] > have[p] {
			return fmt.Errorf("%d of %v played: the hand has %d", want[p], p, have[p])
		}
	}
	return nil
}

// without returns the pieces of hand except the given ones; hand is not changed.
func without(hand, pieces []Piece) []Piece {
	left := slices.Clone(hand)
	for _, p := range pieces {
		if i := slices.Index(left, p); i >= 0 {
			left = slices.Delete(left, i, i+1)
		}
	}
	return left
}

// sorted returns a copy of pieces, strongest first.
func sorted(pieces []Piece) []Piece {
	s := slices.Clone(pieces)
	slices.SortFunc(s, func(a, b Piece) int { return int(b - a) })
	return s
}
