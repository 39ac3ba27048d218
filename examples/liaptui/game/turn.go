package game

import (
	"errors"
	"fmt"
	"slices"
)

// Played is a player's move in turn: pieces of the hand are laid on the table.
type Played struct {
	Seat   int
	Pieces []Piece
}

// Check allows the seat to move pieces of its hand: the leader a valid set, the others any pieces,
// as many as the leader.
func (e Played) Check(g *Game) error {
	if err := g.checkMove("a play", Turn, e.Seat); err != nil {
		return err
	}
	if err := checkHolds(g.Players[e.Seat].Hand, e.Pieces); err != nil {
		return fmt.Errorf("seat %d: %w", e.Seat, err)
	}
	if len(g.Plays) == 0 {
		if Recognise(e.Pieces).Type == Invalid {
			return fmt.Errorf("seat %d leads with %v, which is not a set: a set of 1 to %d pieces is allowed",
				e.Seat, e.Pieces, MaxSet)
		}
		return nil
	}
	if n := len(g.Plays[0].Pieces); len(e.Pieces) != n {
		return fmt.Errorf("seat %d played %d pieces: the leader played %d, and so must all", e.Seat, len(e.Pieces), n)
	}
	return nil
}

// Apply moves the pieces from the hand to the table; the fourth play ends the turn.
func (e Played) Apply(g *Game) error {
	if err := checkSeat(e.Seat); err != nil {
		return err
	}
	p := &g.Players[e.Seat]
	if err := checkHolds(p.Hand, e.Pieces); err != nil {
		return fmt.Errorf("seat %d: %w", e.Seat, err)
	}
	p.Hand = without(p.Hand, e.Pieces)
	g.Plays = append(g.Plays, Play{Seat: e.Seat, Pieces: slices.Clone(e.Pieces)})
	g.ToMove = next(e.Seat)
	if len(g.Plays) == Seats {
		g.Phase = TurnResults
		g.ToMove = NoSeat
	}
	return nil
}

// TurnScored is the server's move out of turn_results: the winner of the turn takes the table.
type TurnScored struct {
	Winner int // seat
	Piles  int // the number of pieces each player played
}

// Check allows it in turn_results with the winner and piles that follow from the plays.
func (e TurnScored) Check(g *Game) error {
	if err := g.checkPhase("a turn's result", TurnResults); err != nil {
		return err
	}
	if want := g.turnScored(); e != want {
		return fmt.Errorf("seat %d takes %d piles: it is seat %d that takes %d", e.Winner, e.Piles, want.Winner, want.Piles)
	}
	return nil
}

// Apply moves the pieces on the table to the winner, who leads the next turn, or ends the round when
// the hands are empty.
func (e TurnScored) Apply(g *Game) error {
	if err := checkSeat(e.Winner); err != nil {
		return err
	}
	p := &g.Players[e.Winner]
	p.Piles += e.Piles
	for _, play := range g.Plays {
		p.Taken = append(p.Taken, play.Pieces...)
	}
	g.Plays = nil
	g.Leader = e.Winner
	if !g.dealt() {
		g.Phase = Scoring
		return nil
	}
	g.Phase = Turn
	g.Turn++
	g.ToMove = e.Winner
	return nil
}

// TurnWinner returns the seat whose play is the strongest on the table so far, or an error if the
// table is empty.
func (g *Game) TurnWinner() (int, error) {
	plays := make([][]Piece, len(g.Plays))
	for i, p := range g.Plays {
		plays[i] = p.Pieces
	}
	i := Winner(plays)
	if i < 0 {
		return NoSeat, errors.New("nothing is on the table")
	}
	return g.Plays[i].Seat, nil
}

// turnScored returns the event that ends the turn on the table.
func (g *Game) turnScored() TurnScored {
	seat, err := g.TurnWinner()
	if err != nil {
		return TurnScored{Winner: NoSeat}
	}
	return TurnScored{Winner: seat, Piles: len(g.Plays[0].Pieces)}
}
