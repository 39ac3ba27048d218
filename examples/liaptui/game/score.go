package game

import (
	"fmt"
	"slices"
)

// Points returns the points of a round, before the multiplier, for a player who declared and took
// these numbers of piles. Declared 0: 3 if none were taken, otherwise minus the number taken. Declared
// more: 5 plus that number if exactly it was taken, otherwise minus the difference.
func Points(declared, took int) int {
	switch {
	case declared == took && declared == 0:
		return 3
	case declared == took:
		return declared + 5
	case declared > took:
		return took - declared
	}
	return declared - took
}

// RoundScored is the server's move out of scoring: the points of the round, and the winners if it was
// the last.
type RoundScored struct {
	Points  [Seats]int // by seat, multiplied
	Winners []int      // the winning seats, ascending; empty while the game goes on
}

// Check allows it in scoring with the points and winners that follow from the rules.
func (e RoundScored) Check(g *Game) error {
	if err := g.checkPhase("a round's result", Scoring); err != nil {
		return err
	}
	want := g.roundScored()
	if e.Points != want.Points {
		return fmt.Errorf("the round has points %v: it is %v", e.Points, want.Points)
	}
	if !slices.Equal(e.Winners, want.Winners) {
		return fmt.Errorf("seats %v win: it is seats %v", e.Winners, want.Winners)
	}
	return nil
}

// Apply adds the points, and ends the game or clears the table for the next round.
func (e RoundScored) Apply(g *Game) error {
	for i := range g.Players {
		p := &g.Players[i]
		p.Points = append(p.Points, e.Points[i])
		p.Score += e.Points[i]
	}
	if len(e.Winners) > 0 {
		g.Phase = GameOver
		g.Winners = slices.Clone(e.Winners)
		return nil
	}
	for i := range g.Players {
		p := &g.Players[i]
		p.Hand, p.Taken, p.Piles, p.Declared = nil, nil, 0, Undeclared
	}
	g.Phase = Preparation
	g.Round++
	g.Multiplier = 1
	g.Starter, g.Redealer = g.Leader, NoSeat
	g.Turn, g.Leader = 0, NoSeat
	return nil
}

// roundScored returns the event that ends the round being scored.
func (g *Game) roundScored() RoundScored {
	var e RoundScored
	var scores [Seats]int
	for i := range g.Players {
		p := &g.Players[i]
		e.Points[i] = Points(p.Declared, p.Piles) * g.Multiplier
		scores[i] = p.Score + e.Points[i]
	}
	e.Winners = winners(scores, g.Round)
	return e
}

// winners returns the seats that win with these scores after this round; none if the game goes on.
func winners(scores [Seats]int, round int) []int {
	best := slices.Max(scores[:])
	if best < GoalScore && round < MaxRounds {
		return nil
	}
	var seats []int
	for seat, score := range scores {
		if score == best {
			seats = append(seats, seat)
		}
	}
	return seats
}
