package game

import (
	"fmt"
	"slices"
)

// MaxZeros is the number of rounds in a row in which a player may declare 0.
const MaxZeros = 2

// RoundStarted is the server's move out of round_start: the starter is announced, and declares
// first.
type RoundStarted struct{ Starter int }

// Check allows it in round_start with the seat that starts.
func (e RoundStarted) Check(g *Game) error {
	if err := g.checkPhase("a round's start", RoundStart); err != nil {
		return err
	}
	if e.Starter != g.Starter {
		return fmt.Errorf("seat %d as starter: it is seat %d", e.Starter, g.Starter)
	}
	return nil
}

// Apply opens the declaration.
func (e RoundStarted) Apply(g *Game) error {
	if err := checkSeat(e.Starter); err != nil {
		return err
	}
	g.Phase = Declaration
	g.ToMove = e.Starter
	return nil
}

// Declared is a player's move in declaration: the number of piles the player means to take.
type Declared struct {
	Seat  int
	Piles int
}

// Check allows the seat whose turn it is to declare one of Allowed.
func (e Declared) Check(g *Game) error {
	if err := g.checkMove("a declaration", Declaration, e.Seat); err != nil {
		return err
	}
	allowed := g.Allowed(e.Seat)
	if slices.Contains(allowed, e.Piles) {
		return nil
	}
	switch total, _ := g.declared(); {
	case e.Piles < 0 || e.Piles > HandSize:
		return fmt.Errorf("seat %d declared %d: allowed are %v", e.Seat, e.Piles, allowed)
	case e.Piles == 0 && g.Players[e.Seat].Zeros >= MaxZeros:
		return fmt.Errorf("seat %d declared 0 after %d rounds of 0 in a row: allowed are %v", e.Seat, g.Players[e.Seat].Zeros, allowed)
	default:
		return fmt.Errorf("seat %d declared %d after %d: the total must not be %d; allowed are %v",
			e.Seat, e.Piles, total, HandSize, allowed)
	}
}

// Apply notes the declaration; after the fourth the starter leads the first turn.
func (e Declared) Apply(g *Game) error {
	if err := checkSeat(e.Seat); err != nil {
		return err
	}
	p := &g.Players[e.Seat]
	p.Declared = e.Piles
	if e.Piles == 0 {
		p.Zeros++
	} else {
		p.Zeros = 0
	}
	g.ToMove = next(e.Seat)
	if _, n := g.declared(); n == Seats {
		g.Phase = Turn
		g.Turn = 1
		g.Leader, g.ToMove = g.Starter, g.Starter
	}
	return nil
}

// Allowed returns, ascending, the numbers of piles the rules let the seat declare after what the
// others have declared: 0 to 8, but not 0 a third time in a row, and for the last one not what
// makes the total 8. It does not ask whose move it is; a seat that does not exist may declare
// nothing.
func (g *Game) Allowed(seat int) []int {
	if !inRange(seat) {
		return nil
	}
	total, n := g.declared()
	var allowed []int
	for piles := range HandSize + 1 {
		if piles == 0 && g.Players[seat].Zeros >= MaxZeros || n == Seats-1 && total+piles == HandSize {
			continue
		}
		allowed = append(allowed, piles)
	}
	return allowed
}

// declared returns the sum and the number of the declarations so far.
func (g *Game) declared() (total, n int) {
	for i := range g.Players {
		if d := g.Players[i].Declared; d != Undeclared {
			total += d
			n++
		}
	}
	return total, n
}
