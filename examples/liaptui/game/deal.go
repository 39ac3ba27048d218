package game

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Dealt is the server's move in preparation: four new hands, the starter and who may ask for a redeal.
type Dealt struct {
	Hands   [Seats][]Piece // by seat, strongest piece first
	Starter int            // the seat that starts the round, if nobody asks for a redeal
	Asking  []int          // the seats with weak hands that may ask, in play order from the starter
}

// Deal shuffles the 32 pieces and returns the event that deals them in g, which must wait for a
// deal.
func Deal(g *Game, r *rand.Rand) Dealt {
	pieces := Pieces()
	r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	var e Dealt
	for i := range e.Hands {
		e.Hands[i] = sorted(pieces[i*HandSize : (i+1)*HandSize])
	}
	e.Starter = g.starter(e.Hands)
	e.Asking = g.asking(e.Hands, e.Starter)
	return e
}

// Check allows a deal of all 32 pieces, eight a hand, when no hands are dealt; Starter and Asking
// must be what the rules make of them.
func (e Dealt) Check(g *Game) error {
	if err := g.checkPhase("a deal", Preparation); err != nil {
		return err
	}
	if g.dealt() {
		return errors.New("the hands are dealt already: a new deal needs a redeal")
	}
	var c counts
	for i, hand := range e.Hands {
		if len(hand) != HandSize {
			return fmt.Errorf("%d pieces dealt to seat %d: a hand has %d", len(hand), i, HandSize)
		}
		if !slices.IsSortedFunc(hand, func(a, b Piece) int { return int(b - a) }) {
			return fmt.Errorf("the hand of seat %d is not in order: strongest piece first", i)
		}
		if !c.add(hand...) {
			return fmt.Errorf("seat %d was dealt something that is not a piece", i)
		}
	}
	for p := BlackSoldier; p <= RedGeneral; p++ {
		if c[p] != p.Copies() {
			return fmt.Errorf("%d of %v dealt: the game has %d", c[p], p, p.Copies())
		}
	}
	if want := g.starter(e.Hands); e.Starter != want {
		return fmt.Errorf("seat %d as starter: it is seat %d", e.Starter, want)
	}
	if want := g.asking(e.Hands, e.Starter); !slices.Equal(e.Asking, want) {
		return fmt.Errorf("seats %v may ask for a redeal: it is seats %v", e.Asking, want)
	}
	return nil
}

// Apply deals the hands and asks the owners of weak ones; without weak hands it opens the round.
func (e Dealt) Apply(g *Game) error {
	for i := range g.Players {
		g.Players[i].Hand = slices.Clone(e.Hands[i])
	}
	g.Starter = e.Starter
	g.Asking = slices.Clone(e.Asking)
	g.askNext()
	return nil
}

// RedealAsked is a player's move in preparation: the owner of a weak hand asks for a new deal. All
// hands go back, the asker starts the round, and its multiplier goes up by one.
type RedealAsked struct{ Seat int }

// Check allows it to the seat whose answer is due.
func (e RedealAsked) Check(g *Game) error {
	return g.checkMove("asking for a redeal", Preparation, e.Seat)
}

// Apply takes the hands back; the next event is a deal.
func (e RedealAsked) Apply(g *Game) error {
	if err := checkSeat(e.Seat); err != nil {
		return err
	}
	for i := range g.Players {
		g.Players[i].Hand = nil
	}
	g.Starter, g.Redealer = e.Seat, e.Seat
	g.Multiplier++
	g.Asking, g.ToMove = nil, NoSeat
	return nil
}

// RedealDeclined is a player's move in preparation: the owner of a weak hand keeps it.
type RedealDeclined struct{ Seat int }

// Check allows it to the seat whose answer is due.
func (e RedealDeclined) Check(g *Game) error {
	return g.checkMove("declining a redeal", Preparation, e.Seat)
}

// Apply asks the next weak hand, or opens the round after the last.
func (e RedealDeclined) Apply(g *Game) error {
	if len(g.Asking) == 0 {
		return errors.New("no weak hand is asked")
	}
	g.Asking = g.Asking[1:]
	g.askNext()
	return nil
}

// Weak says whether hand is weak: no piece above WeakLimit points.
func Weak(hand []Piece) bool {
	return !slices.ContainsFunc(hand, func(p Piece) bool { return p.Points() > WeakLimit })
}

// askNext makes the first weak hand's owner the one to move, or ends the preparation.
func (g *Game) askNext() {
	if len(g.Asking) > 0 {
		g.ToMove = g.Asking[0]
		return
	}
	g.Asking, g.ToMove = nil, NoSeat
	g.Phase = RoundStart
}

// dealt reports whether any player holds pieces.
func (g *Game) dealt() bool {
	return slices.ContainsFunc(g.Players[:], func(p Player) bool { return len(p.Hand) > 0 })
}

// starter returns who starts the round with these hands: the redealer or the last round's last
// winner, both of which are in g.Starter, else the holder of the red GENERAL.
func (g *Game) starter(hands [Seats][]Piece) int {
	if g.Starter != NoSeat {
		return g.Starter
	}
	for i, hand := range hands {
		if slices.Contains(hand, RedGeneral) {
			return i
		}
	}
	return NoSeat
}

// asking returns the weak hands in play order from starter; none once the round had MaxRedeals.
func (g *Game) asking(hands [Seats][]Piece, starter int) []int {
	var seats []int
	if g.Multiplier-1 >= MaxRedeals || !inRange(starter) {
		return nil
	}
	for i := range Seats {
		if seat := (starter + i) % Seats; Weak(hands[seat]) {
			seats = append(seats, seat)
		}
	}
	return seats
}
