package game

import (
	"errors"
	"fmt"
)

// MaxName is the longest name of a player, in bytes.
const MaxName = 64

// Joined is a player's move: to take a free seat under a name nobody else at the table has.
type Joined struct {
	Seat int
	Name string
}

// Check allows a free seat and a new name of 1 to MaxName bytes while the game waits.
func (e Joined) Check(g *Game) error {
	if err := checkSeat(e.Seat); err != nil {
		return err
	}
	if err := g.checkPhase("to join", Waiting); err != nil {
		return err
	}
	if e.Name == "" || len(e.Name) > MaxName {
		return fmt.Errorf("a name of %d bytes: 1 to %d are allowed", len(e.Name), MaxName)
	}
	if by := g.Players[e.Seat].Name; by != "" {
		return fmt.Errorf("seat %d is taken by %q", e.Seat, by)
	}
	for i := range g.Players {
		if g.Players[i].Name == e.Name {
			return fmt.Errorf("%q sits on seat %d already: take another name", e.Name, i)
		}
	}
	return nil
}

// Apply seats the player.
func (e Joined) Apply(g *Game) error {
	if err := checkSeat(e.Seat); err != nil {
		return err
	}
	g.Players[e.Seat].Name = e.Name
	return nil
}

// Started is the server's move out of waiting: round one is to be dealt.
type Started struct{}

// Check allows it once all seats are taken.
func (e Started) Check(g *Game) error {
	if err := g.checkPhase("to start", Waiting); err != nil {
		return err
	}
	if g.freeSeat() != NoSeat {
		return errors.New("seats are free: the game starts when all four are taken")
	}
	return nil
}

// Apply opens round one.
func (e Started) Apply(g *Game) error {
	g.Phase = Preparation
	g.Round = 1
	return nil
}

// freeSeat returns the lowest free seat, or NoSeat.
func (g *Game) freeSeat() int {
	for i := range g.Players {
		if g.Players[i].Name == "" {
			return i
		}
	}
	return NoSeat
}
