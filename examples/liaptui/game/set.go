package game

import (
	"cmp"
	"slices"
)

// SetType names a kind of set. The empty SetType is Invalid.
type SetType string

// The nine types of sets, weakest first, and Invalid for pieces that are not a set.
const (
	Invalid           SetType = ""
	Single            SetType = "SINGLE"              // any one piece
	Pair              SetType = "PAIR"                // two of one name and colour
	ThreeOfAKind      SetType = "THREE_OF_A_KIND"     // three soldiers of one colour
	Straight          SetType = "STRAIGHT"            // one of each of a group, one colour
	FourOfAKind       SetType = "FOUR_OF_A_KIND"      // four soldiers of one colour
	ExtendedStraight  SetType = "EXTENDED_STRAIGHT"   // a straight with one piece doubled
	ExtendedStraight5 SetType = "EXTENDED_STRAIGHT_5" // a straight with two pieces doubled
	FiveOfAKind       SetType = "FIVE_OF_A_KIND"      // five soldiers of one colour
	DoubleStraight    SetType = "DOUBLE_STRAIGHT"     // two each of CHARIOT, HORSE and CANNON of one colour
)

// MaxSet is the number of pieces in the largest set.
const MaxSet = 6

var setOrder = []SetType{Invalid, Single, Pair, ThreeOfAKind, Straight, FourOfAKind, ExtendedStraight,
	ExtendedStraight5, FiveOfAKind, DoubleStraight}

// Strength returns the rank of t among the types: 1 for Single to 9 for DoubleStraight, 0 for
// Invalid.
func (t SetType) Strength() int { return max(0, slices.Index(setOrder, t)) }

// Size returns the number of pieces in a set of type t; 0 for Invalid.
func (t SetType) Size() int {
	switch t {
	case Single:
		return 1
	case Pair:
		return 2
	case ThreeOfAKind, Straight:
		return 3
	case FourOfAKind, ExtendedStraight:
		return 4
	case ExtendedStraight5, FiveOfAKind:
		return 5
	case DoubleStraight:
		return 6
	}
	return 0
}

// Set is the type and the points of pieces that are played together.
type Set struct {
	Type   SetType
	Points int // the sum of the pieces; extended straights count their three different pieces; 0 if Invalid
}

// Recognise returns the set that pieces make, in whatever order they come. It does not change them.
func Recognise(pieces []Piece) Set {
	var c counts
	if len(pieces) == 0 || len(pieces) > MaxSet || !c.add(pieces...) {
		return Set{}
	}
	first := pieces[0]
	if c[first] > first.Copies() {
		return Set{}
	}
	if c[first] == len(pieces) {
		return Set{Type: sameType(first, len(pieces)), Points: samePoints(first, len(pieces))}
	}
	top := groupTop(first)
	if top == 0 {
		return Set{}
	}
	n, once := 0, 0
	for p := top; p > top-6; p -= 2 {
		if c[p] == 0 || c[p] > p.Copies() {
			return Set{}
		}
		n += c[p]
		once += p.Points()
	}
	if n != len(pieces) {
		return Set{}
	}
	switch n {
	case 3:
		return Set{Type: Straight, Points: once}
	case 4:
		return Set{Type: ExtendedStraight, Points: once}
	case 5:
		return Set{Type: ExtendedStraight5, Points: once}
	}
	return Set{Type: DoubleStraight, Points: 2 * once}
}

// sameType returns the type of n pieces that are all p.
func sameType(p Piece, n int) SetType {
	switch {
	case n == 1:
		return Single
	case n == 2:
		return Pair
	case !p.Soldier():
		return Invalid
	}
	return [...]SetType{3: ThreeOfAKind, 4: FourOfAKind, 5: FiveOfAKind}[n]
}

func samePoints(p Piece, n int) int {
	if sameType(p, n) == Invalid {
		return 0
	}
	return n * p.Points()
}

// groupTop returns the strongest piece of the group and colour of p: a GENERAL, a CHARIOT, or 0 for
// a soldier, which has no group. The group is that piece and the two below it of the same colour.
func groupTop(p Piece) Piece {
	switch {
	case p.Soldier():
		return 0
	case p >= BlackElephant && p.Red():
		return RedGeneral
	case p >= BlackElephant:
		return BlackGeneral
	case p.Red():
		return RedChariot
	}
	return BlackChariot
}

// Compare orders sets by strength: by type, and within one type by points. It returns -1, 0 or +1
// as a is weaker than, as strong as, or stronger than b. Who takes a turn is a question for Winner:
// there only the starter's type counts.
func Compare(a, b Set) int {
	return cmp.Or(cmp.Compare(a.Type.Strength(), b.Type.Strength()), cmp.Compare(a.Points, b.Points))
}

// Winner returns the index of the play that takes a turn: plays are in the order of play, the first
// is the starter's, and a later one takes over only with a set of the starter's type and more
// points. It returns -1 for no plays.
func Winner(plays [][]Piece) int {
	best, set := -1, Set{}
	for i, pieces := range plays {
		s := Recognise(pieces)
		if i == 0 || s.Type != Invalid && s.Type == set.Type && s.Points > set.Points {
			best, set = i, s
		}
	}
	return best
}

// Sets returns every set that can be made of pieces, each once, weakest first; within one set the
// strongest piece comes first. The caller owns the slices.
func Sets(pieces []Piece) [][]Piece {
	var c counts
	c.add(pieces...)
	return c.sets()
}

func (c *counts) sets() [][]Piece {
	var all [][]Piece
	for p := BlackSoldier; p <= RedGeneral; p++ {
		most := c[p]
		if !p.Soldier() {
			most = min(most, 2)
		}
		for n := 1; n <= most; n++ {
			all = append(all, slices.Repeat([]Piece{p}, n))
		}
	}
	for _, top := range [...]Piece{RedGeneral, BlackGeneral, RedChariot, BlackChariot} {
		all = append(all, c.straights(top)...)
	}
	slices.SortStableFunc(all, func(a, b []Piece) int { return Compare(Recognise(a), Recognise(b)) })
	return all
}

// straights returns the sets of one group with all three of its pieces: each of them once or twice.
func (c *counts) straights(top Piece) [][]Piece {
	var all [][]Piece
	for a := 1; a <= min(2, c[top]); a++ {
		for b := 1; b <= min(2, c[top-2]); b++ {
			for d := 1; d <= min(2, c[top-4]); d++ {
				set := slices.Repeat([]Piece{top}, a)
				set = append(set, slices.Repeat([]Piece{top - 2}, b)...)
				all = append(all, append(set, slices.Repeat([]Piece{top - 4}, d)...))
			}
		}
	}
	return all
}
