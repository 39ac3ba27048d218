package game

import (
	"fmt"
	"slices"
)

const (
	// Seats is the number of players.
	Seats = 4
	// HandSize is the number of pieces dealt to a hand, and so the number of piles in a round.
	HandSize = 8
	// GoalScore ends the game after the round in which any player reaches it.
	GoalScore = 50
	// MaxRounds ends the game after that round whatever the scores are (house rule).
	MaxRounds = 20
	// MaxRedeals is the most redeals one round may have (house rule).
	MaxRedeals = 5
	// NoSeat means "nobody" wherever a seat is expected.
	NoSeat = -1
	// Undeclared is a player's Declared before the declaration.
	Undeclared = -1
)

// Game is the whole state of one game. The fields are exported to be stored and shown; only the
// Apply methods of the events change them. It is not safe for concurrent use.
type Game struct {
	Phase      string        // one of the eight phases
	Round      int           // 1 in the first round, 0 before it
	Multiplier int           // of this round's points: 1, and 1 more for each redeal
	Players    [Seats]Player // by seat
	Starter    int           // the seat that starts the round; NoSeat before the first deal
	Redealer   int           // the seat that asked for this round's last redeal, or NoSeat
	Asking     []int         // the weak hands that have not answered yet, in the order of their answers
	ToMove     int           // the seat whose move it is; NoSeat when the server is to move, or nobody
	Turn       int           // the number of the turn in the round, from 1; 0 before the first
	Leader     int           // the seat that leads the turn; after the last one, its winner; NoSeat before the first
	Plays      []Play        // what lies on the table, in the order of play
	Winners    []int         // in game_over: the seats with the highest score, ascending
}

// Player is one seat of a Game.
type Player struct {
	Name     string  // empty while the seat is free
	Hand     []Piece // the pieces held, strongest first
	Declared int     // the piles declared this round, or Undeclared
	Piles    int     // the piles taken this round
	Taken    []Piece // the pieces of those piles, four to a pile
	Zeros    int     // the rounds in a row, up to now, with a declaration of 0
	Points   []int   // of each scored round, multiplied
	Score    int     // the sum of Points
}

// Play is what one seat laid on the table in this turn.
type Play struct {
	Seat   int
	Pieces []Piece
}

// New returns a game in the phase waiting with four free seats.
func New() Game {
	g := Game{Phase: Waiting, Multiplier: 1, Starter: NoSeat, Redealer: NoSeat, ToMove: NoSeat, Leader: NoSeat}
	for i := range g.Players {
		g.Players[i].Declared = Undeclared
	}
	return g
}

// Clone returns a copy that shares nothing with g.
func (g *Game) Clone() Game {
	c := *g
	for i := range c.Players {
		p := &c.Players[i]
		p.Hand = slices.Clone(p.Hand)
		p.Taken = slices.Clone(p.Taken)
		p.Points = slices.Clone(p.Points)
	}
	c.Asking = slices.Clone(g.Asking)
	c.Plays = slices.Clone(g.Plays)
	for i := range c.Plays {
		c.Plays[i].Pieces = slices.Clone(c.Plays[i].Pieces)
	}
	c.Winners = slices.Clone(g.Winners)
	return c
}

// Seen returns a copy of g as the given seat may see it: the pieces in the other hands are Hidden,
// their number is not. NoSeat sees no hand. The copy is for showing; it does not pass Validate.
func (g *Game) Seen(seat int) Game {
	c := g.Clone()
	for i := range c.Players {
		if i != seat {
			for j := range c.Players[i].Hand {
				c.Players[i].Hand[j] = Hidden
			}
		}
	}
	return c
}

// next returns the seat that plays after seat.
func next(seat int) int { return (seat + 1) % Seats }

// inRange reports whether seat is one of the four.
func inRange(seat int) bool { return seat >= 0 && seat < Seats }

// checkSeat refuses a seat that does not exist; Apply uses it where it would panic otherwise.
func checkSeat(seat int) error {
	if !inRange(seat) {
		return fmt.Errorf("seat %d does not exist: seats are 0 to %d", seat, Seats-1)
	}
	return nil
}

// checkPhase refuses an event that is not for the phase the game is in.
func (g *Game) checkPhase(what, phase string) error {
	if g.Phase != phase {
		return fmt.Errorf("%s belongs into phase %s: the game is in %s", what, phase, g.Phase)
	}
	return nil
}

// checkMove refuses a player's move in another phase or out of order.
func (g *Game) checkMove(what, phase string, seat int) error {
	if err := checkSeat(seat); err != nil {
		return err
	}
	if err := g.checkPhase(what, phase); err != nil {
		return err
	}
	if g.ToMove == NoSeat {
		return fmt.Errorf("%s by seat %d: it is not a player's move now", what, seat)
	}
	if g.ToMove != seat {
		return fmt.Errorf("%s by seat %d: it is the move of seat %d", what, seat, g.ToMove)
	}
	return nil
}
