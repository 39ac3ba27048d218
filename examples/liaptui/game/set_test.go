package game

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecognise(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []Piece
		set    Set
	}{
		{"single general", []Piece{RedGeneral}, Set{Single, 14}},
		{"single soldier", []Piece{BlackSoldier}, Set{Single, 1}},
		{"pair", []Piece{RedElephant, RedElephant}, Set{Pair, 20}},
		{"pair of soldiers", []Piece{BlackSoldier, BlackSoldier}, Set{Pair, 2}},
		{"pair of two colours", []Piece{RedElephant, BlackElephant}, Set{}},
		{"pair of generals", []Piece{RedGeneral, BlackGeneral}, Set{}},
		{"pair of a general the game has once", []Piece{RedGeneral, RedGeneral}, Set{}},
		{"three soldiers", []Piece{RedSoldier, RedSoldier, RedSoldier}, Set{ThreeOfAKind, 6}},
		{"three soldiers of two colours", []Piece{RedSoldier, BlackSoldier, RedSoldier}, Set{}},
		{"three horses", []Piece{RedHorse, RedHorse, RedHorse}, Set{}},
		{"high straight", []Piece{RedElephant, RedGeneral, RedAdvisor}, Set{Straight, 36}},
		{"high straight, black", []Piece{BlackGeneral, BlackAdvisor, BlackElephant}, Set{Straight, 33}},
		{"low straight", []Piece{RedCannon, RedHorse, RedChariot}, Set{Straight, 18}},
		{"low straight, black", []Piece{BlackChariot, BlackHorse, BlackCannon}, Set{Straight, 15}},
		{"straight of two colours", []Piece{BlackChariot, RedHorse, BlackCannon}, Set{}},
		{"straight over two groups", []Piece{RedElephant, RedChariot, RedHorse}, Set{}},
		{"straight with a soldier", []Piece{RedHorse, RedCannon, RedSoldier}, Set{}},
		{"two and one of a group", []Piece{RedHorse, RedCannon, RedCannon}, Set{}},
		{"four soldiers", slices.Repeat([]Piece{BlackSoldier}, 4), Set{FourOfAKind, 4}},
		{"extended, chariot doubled", []Piece{RedChariot, RedChariot, RedHorse, RedCannon}, Set{ExtendedStraight, 18}},
		{"extended, cannon doubled", []Piece{RedCannon, RedChariot, RedHorse, RedCannon}, Set{ExtendedStraight, 18}},
		{"extended, advisor doubled", []Piece{BlackGeneral, BlackAdvisor, BlackAdvisor, BlackElephant}, Set{ExtendedStraight, 33}},
		{"two pairs of a group", []Piece{RedChariot, RedChariot, RedHorse, RedHorse}, Set{}},
		{"extended and a stranger", []Piece{RedChariot, RedHorse, RedCannon, RedSoldier}, Set{}},
		{"extended of two colours", []Piece{RedChariot, BlackChariot, RedHorse, RedCannon}, Set{}},
		{"extended 5", []Piece{RedChariot, RedChariot, RedHorse, RedCannon, RedCannon}, Set{ExtendedStraight5, 18}},
		{"extended 5, high", []Piece{RedGeneral, RedAdvisor, RedAdvisor, RedElephant, RedElephant}, Set{ExtendedStraight5, 36}},
		{"extended 5, one tripled", []Piece{RedChariot, RedChariot, RedChariot, RedHorse, RedCannon}, Set{}},
		{"five soldiers", slices.Repeat([]Piece{RedSoldier}, 5), Set{FiveOfAKind, 10}},
		{"five soldiers of two colours", append(slices.Repeat([]Piece{RedSoldier}, 4), BlackSoldier), Set{}},
		{"six soldiers", slices.Repeat([]Piece{RedSoldier}, 6), Set{}},
		{"double straight", []Piece{RedChariot, RedCannon, RedHorse, RedHorse, RedCannon, RedChariot}, Set{DoubleStraight, 36}},
		{"double straight, black", []Piece{BlackChariot, BlackChariot, BlackHorse, BlackHorse, BlackCannon, BlackCannon}, Set{DoubleStraight, 30}},
		{"double straight of the high group", []Piece{RedGeneral, RedGeneral, RedAdvisor, RedAdvisor, RedElephant, RedElephant}, Set{}},
		{"double straight of two colours", []Piece{RedChariot, BlackChariot, RedHorse, RedHorse, RedCannon, RedCannon}, Set{}},
		{"nothing", nil, Set{}},
		{"seven", slices.Repeat([]Piece{RedSoldier}, 7), Set{}},
		{"hidden", []Piece{Hidden}, Set{}},
		{"no piece", []Piece{15}, Set{}},
		{"a piece below the table", []Piece{-3, RedHorse}, Set{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range c.pieces {
				before := slices.Clone(c.pieces)
				assert.Equal(t, c.set, Recognise(c.pieces), "%v", c.pieces)
				assert.Equal(t, before, c.pieces)
				c.pieces = append(c.pieces[1:], c.pieces[0])
			}
			assert.Equal(t, c.set, Recognise(c.pieces))
			if c.set.Type != Invalid {
				assert.Equal(t, len(c.pieces), c.set.Type.Size())
			}
		})
	}
}

// Every choice of at most six of the 32 pieces is tried: the number of sets among them is the one that
// follows from the rules, and Sets finds the same sets.
func TestRecognise_ExhaustiveCount(t *testing.T) {
	got := map[SetType]int{}
	looked := 0
	var choose func(p Piece, chosen []Piece)
	choose = func(p Piece, chosen []Piece) {
		if p > RedGeneral {
			looked++
			got[Recognise(chosen).Type]++
			return
		}
		for n := 0; n <= p.Copies() && len(chosen)+n <= MaxSet; n++ {
			choose(p+1, append(slices.Clone(chosen), slices.Repeat([]Piece{p}, n)...))
		}
	}
	choose(BlackSoldier, nil)
	want := map[SetType]int{Single: 14, Pair: 12, ThreeOfAKind: 2, Straight: 4, FourOfAKind: 2, ExtendedStraight: 10,
		ExtendedStraight5: 8, FiveOfAKind: 2, DoubleStraight: 2}
	sum := 0
	for _, n := range want {
		sum += n
	}
	want[Invalid] = looked - sum
	require.Equal(t, want, got)
	require.Greater(t, looked, 10000)

	found := map[SetType]int{Invalid: looked - sum}
	last := Set{}
	for _, pieces := range Sets(Pieces()) {
		s := Recognise(pieces)
		found[s.Type]++
		require.GreaterOrEqual(t, Compare(s, last), 0, "weakest first")
		last = s
	}
	require.Equal(t, want, found)
}

func TestSets_OfAHand(t *testing.T) {
	got := Sets([]Piece{RedChariot, RedHorse, RedHorse, RedCannon, BlackSoldier})
	assert.Equal(t, [][]Piece{
		{BlackSoldier}, {RedCannon}, {RedHorse}, {RedChariot},
		{RedHorse, RedHorse},
		{RedChariot, RedHorse, RedCannon},
		{RedChariot, RedHorse, RedHorse, RedCannon},
	}, got)
	assert.Empty(t, Sets(nil))
}

func TestCompare_Order(t *testing.T) {
	// Each is stronger than the one before.
	order := []Set{
		{}, {Single, 1}, {Single, 14}, {Pair, 2}, {Pair, 24}, {ThreeOfAKind, 3}, {ThreeOfAKind, 6}, {Straight, 15}, {Straight, 36},
		{FourOfAKind, 4}, {FourOfAKind, 8}, {ExtendedStraight, 15}, {ExtendedStraight, 36}, {ExtendedStraight5, 15},
		{FiveOfAKind, 5}, {FiveOfAKind, 10}, {DoubleStraight, 30}, {DoubleStraight, 36},
	}
	for i, a := range order {
		for j, b := range order {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			assert.Equal(t, want, Compare(a, b), "%v with %v", a, b)
		}
	}
}

func TestWinner(t *testing.T) {
	soldiers := func(p Piece, n int) []Piece { return slices.Repeat([]Piece{p}, n) }
	for _, c := range []struct {
		name  string
		plays [][]Piece
		want  int
	}{
		{"nothing", nil, -1},
		{"only the leader", [][]Piece{{BlackSoldier}}, 0},
		{"higher single", [][]Piece{{RedHorse}, {RedGeneral}, {BlackGeneral}, {RedChariot}}, 1},
		{"equal single: the earlier stays", [][]Piece{{RedHorse}, {RedChariot}, {RedChariot}, {RedHorse}}, 1},
		{"equal to the leader", [][]Piece{{RedAdvisor}, {RedAdvisor}}, 0},
		{"higher pair", [][]Piece{{RedHorse, RedHorse}, {RedGeneral, BlackGeneral}, {BlackChariot, BlackChariot}}, 2},
		{"invalid sets lose to the weakest pair", [][]Piece{soldiers(BlackSoldier, 2), {RedGeneral, RedAdvisor}, {BlackGeneral, RedAdvisor}, {RedElephant, BlackElephant}}, 0},
		{"a stronger type is another type", [][]Piece{soldiers(BlackSoldier, 3), {RedGeneral, RedAdvisor, RedElephant}}, 0},
		{"a weaker type with more points", [][]Piece{{BlackChariot, BlackHorse, BlackCannon}, soldiers(RedSoldier, 3)}, 0},
		{"higher three", [][]Piece{soldiers(BlackSoldier, 3), soldiers(RedSoldier, 3)}, 1},
		{"higher straight", [][]Piece{{BlackChariot, BlackHorse, BlackCannon}, {RedChariot, RedHorse, RedCannon}, {BlackGeneral, BlackAdvisor, BlackElephant}}, 2},
		{"equal straights", [][]Piece{{RedChariot, RedHorse, RedCannon}, {RedCannon, RedChariot, RedHorse}}, 0},
		{"four against extended", [][]Piece{soldiers(BlackSoldier, 4), {RedGeneral, RedAdvisor, RedAdvisor, RedElephant}}, 0},
		{"extended count three pieces: equal", [][]Piece{{RedChariot, RedHorse, RedCannon, RedCannon}, {RedChariot, RedChariot, RedHorse, RedCannon}}, 0},
		{"extended count three pieces: black with more on the table", [][]Piece{
			{RedChariot, RedHorse, RedCannon, RedCannon}, {BlackChariot, BlackChariot, BlackHorse, BlackCannon}}, 0},
		{"higher extended", [][]Piece{{RedChariot, RedHorse, RedCannon, RedCannon}, {BlackGeneral, BlackAdvisor, BlackElephant, BlackElephant}}, 1},
		{"higher extended 5", [][]Piece{{BlackChariot, BlackChariot, BlackHorse, BlackHorse, BlackCannon}, {RedChariot, RedHorse, RedHorse, RedCannon, RedCannon}}, 1},
		{"five against extended 5", [][]Piece{{BlackChariot, BlackChariot, BlackHorse, BlackHorse, BlackCannon}, soldiers(RedSoldier, 5)}, 0},
		{"higher five", [][]Piece{soldiers(BlackSoldier, 5), soldiers(RedSoldier, 5)}, 1},
		{"higher double straight", [][]Piece{
			{BlackChariot, BlackChariot, BlackHorse, BlackHorse, BlackCannon, BlackCannon}, {RedChariot, RedChariot, RedHorse, RedHorse, RedCannon, RedCannon}}, 1},
	} {
		assert.Equal(t, c.want, Winner(c.plays), c.name)
	}
}
