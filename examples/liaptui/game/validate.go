package game

import (
	"errors"
	"fmt"
	"slices"
)

// Validate returns an error that says what is impossible about g, or nil. It returns nil for New and
// after every event that Check allowed:
//
//  1. The phase is known; Round, Turn and Multiplier are in their bounds; seats are 0 to 3 or NoSeat.
//  2. Between deal and scoring the hands, the table and the taken pieces are the 32 pieces.
//  3. Between turns all hands have the same size; during a turn those that have played lack the
//     leader's number of pieces.
//  4. The piles taken are a quarter of the pieces taken, and with those still to come make 8.
//  5. Declarations come in play order from the starter, and four of them do not make 8.
//  6. A score is the sum of its player's points, one entry for each scored round.
//  7. ToMove follows from the rest; so does who wins, and nobody has GoalScore before the end.
func (g *Game) Validate() error {
	for _, check := range []func() error{g.validNumbers, g.validNames, g.validPieces, g.validDeclarations, g.validScores} {
		if err := check(); err != nil {
			return fmt.Errorf("%s, round %d, turn %d: %w", g.Phase, g.Round, g.Turn, err)
		}
	}
	if err := g.validMove(); err != nil {
		return fmt.Errorf("%s, round %d, turn %d: %w", g.Phase, g.Round, g.Turn, err)
	}
	return nil
}

func (g *Game) validNumbers() error {
	if _, ok := Legal[g.Phase]; !ok {
		return fmt.Errorf("the phase %q does not exist", g.Phase)
	}
	for _, seat := range []int{g.Starter, g.Redealer, g.ToMove, g.Leader} {
		if seat != NoSeat && !inRange(seat) {
			return checkSeat(seat)
		}
	}
	if g.Round < 0 || g.Round > MaxRounds || (g.Round == 0) != (g.Phase == Waiting) {
		return fmt.Errorf("round %d: 1 to %d after the start", g.Round, MaxRounds)
	}
	if g.Multiplier < 1 || g.Multiplier > 1+MaxRedeals || (g.Multiplier > 1) != (g.Redealer != NoSeat) {
		return fmt.Errorf("multiplier %d with redealer %d", g.Multiplier, g.Redealer)
	}
	if g.Redealer != NoSeat && g.Starter != g.Redealer {
		return fmt.Errorf("seat %d starts after a redeal for seat %d", g.Starter, g.Redealer)
	}
	if open := g.Phase == Waiting || g.Phase == Preparation && g.Round == 1 && !g.dealt() && g.Redealer == NoSeat; (g.Starter == NoSeat) != open {
		return fmt.Errorf("seat %d as starter", g.Starter)
	}
	if led := g.leading(); (g.Turn > 0) != led || (g.Leader != NoSeat) != led || g.Turn > HandSize {
		return fmt.Errorf("turn %d with leader %d", g.Turn, g.Leader)
	}
	return nil
}

// leading reports whether the turns of the round have started.
func (g *Game) leading() bool {
	return slices.Contains([]string{Turn, TurnResults, Scoring, GameOver}, g.Phase)
}

func (g *Game) validNames() error {
	for i := range g.Players {
		name := g.Players[i].Name
		if name == "" && g.Phase != Waiting {
			return fmt.Errorf("seat %d is free", i)
		}
		for j := range i {
			if name != "" && g.Players[j].Name == name {
				return fmt.Errorf("seats %d and %d are both %q", j, i, name)
			}
		}
	}
	return nil
}

func (g *Game) validPieces() error {
	var c counts
	held, taken, piles, table := 0, 0, 0, 0
	for i := range g.Players {
		p := &g.Players[i]
		if !c.add(p.Hand...) || !c.add(p.Taken...) {
			return fmt.Errorf("seat %d has something that is not a piece", i)
		}
		if p.Piles < 0 || len(p.Taken) != p.Piles*Seats {
			return fmt.Errorf("seat %d has %d piles of %d pieces", i, p.Piles, len(p.Taken))
		}
		held += len(p.Hand)
		taken += len(p.Taken)
		piles += p.Piles
	}
	for _, play := range g.Plays {
		if !c.add(play.Pieces...) {
			return fmt.Errorf("seat %d played something that is not a piece", play.Seat)
		}
		table += len(play.Pieces)
	}
	if piles > HandSize {
		return fmt.Errorf("%d piles taken: a round has %d", piles, HandSize)
	}
	if g.Phase == Waiting || g.Phase == Preparation && held == 0 {
		if held+taken+table != 0 {
			return errors.New("pieces are out before the deal")
		}
		return nil
	}
	for p := BlackSoldier; p <= RedGeneral; p++ {
		if c[p] != p.Copies() {
			return fmt.Errorf("%d of %v: the game has %d", c[p], p, p.Copies())
		}
	}
	if !g.leading() && held != Seats*HandSize {
		return fmt.Errorf("%d pieces in the hands before the first turn", held)
	}
	if (g.Phase == Scoring || g.Phase == GameOver) && piles != HandSize {
		return fmt.Errorf("%d piles taken at the end of the round", piles)
	}
	return g.validTable(piles)
}

// validTable checks the plays against the hands, given the piles taken before this turn.
func (g *Game) validTable(piles int) error {
	switch n := len(g.Plays); {
	case g.Phase == TurnResults && n != Seats, g.Phase == Turn && n >= Seats, g.Phase != Turn && g.Phase != TurnResults && n != 0:
		return fmt.Errorf("%d plays on the table", n)
	}
	size := [Seats]int{}
	for i := range size {
		size[i] = HandSize - piles
	}
	seat := g.Leader
	for i, play := range g.Plays {
		if play.Seat != seat {
			return fmt.Errorf("play %d is by seat %d, not %d", i+1, play.Seat, seat)
		}
		if i == 0 && Recognise(play.Pieces).Type == Invalid {
			return fmt.Errorf("seat %d led with no set", seat)
		}
		if len(play.Pieces) != len(g.Plays[0].Pieces) {
			return fmt.Errorf("seat %d played %d pieces, the leader %d", seat, len(play.Pieces), len(g.Plays[0].Pieces))
		}
		size[seat] -= len(play.Pieces)
		seat = next(seat)
	}
	for i := range g.Players {
		if len(g.Players[i].Hand) != size[i] {
			return fmt.Errorf("seat %d holds %d pieces, not %d", i, len(g.Players[i].Hand), size[i])
		}
	}
	return nil
}

func (g *Game) validDeclarations() error {
	total, n := g.declared()
	switch {
	case g.Phase == Declaration && n >= Seats, g.leading() && n != Seats,
		!g.leading() && g.Phase != Declaration && n != 0:
		return fmt.Errorf("%d declarations", n)
	case n == Seats && total == HandSize:
		return fmt.Errorf("the declarations make %d", total)
	}
	for i := range g.Players {
		p := &g.Players[i]
		if p.Declared < Undeclared || p.Declared > HandSize {
			return fmt.Errorf("seat %d declared %d", i, p.Declared)
		}
		if p.Zeros < 0 || p.Zeros > MaxZeros || p.Zeros > g.Round || p.Declared == 0 && p.Zeros == 0 || p.Declared > 0 && p.Zeros > 0 {
			return fmt.Errorf("seat %d declared %d with %d zeros in a row", i, p.Declared, p.Zeros)
		}
	}
	for i := range n {
		if seat := (g.Starter + i) % Seats; g.Players[seat].Declared == Undeclared {
			return fmt.Errorf("seat %d was passed over in the declaration", seat)
		}
	}
	return nil
}

func (g *Game) validScores() error {
	rounds := max(0, g.Round-1)
	if g.Phase == GameOver {
		rounds = g.Round
	}
	var scores [Seats]int
	for i := range g.Players {
		p := &g.Players[i]
		sum := 0
		for _, points := range p.Points {
			sum += points
		}
		if len(p.Points) != rounds || sum != p.Score {
			return fmt.Errorf("seat %d has score %d from points %v of %d rounds", i, p.Score, p.Points, rounds)
		}
		if want := Points(p.Declared, p.Piles) * g.Multiplier; g.Phase == GameOver && p.Points[rounds-1] != want {
			return fmt.Errorf("seat %d got %d points in the last round, not %d", i, p.Points[rounds-1], want)
		}
		scores[i] = p.Score
	}
	var want []int
	if g.Phase == GameOver {
		want = winners(scores, g.Round)
	} else if slices.Max(scores[:]) >= GoalScore {
		return fmt.Errorf("the game goes on with scores %v", scores)
	}
	if !slices.Equal(g.Winners, want) || g.Phase == GameOver && len(want) == 0 {
		return fmt.Errorf("seats %v win with scores %v", g.Winners, scores)
	}
	return nil
}

func (g *Game) validMove() error {
	want := NoSeat
	switch g.Phase {
	case Preparation:
		if g.dealt() {
			if len(g.Asking) == 0 {
				return errors.New("hands are dealt, and nobody is asked")
			}
			want = g.Asking[0]
		} else if len(g.Asking) > 0 {
			return errors.New("weak hands are asked before the deal")
		}
	case Declaration:
		_, n := g.declared()
		want = (g.Starter + n) % Seats
	case Turn:
		want = (g.Leader + len(g.Plays)) % Seats
	}
	if g.Phase != Preparation && len(g.Asking) > 0 {
		return fmt.Errorf("seats %v are asked for a redeal", g.Asking)
	}
	for i, seat := range g.Asking {
		if !inRange(seat) || slices.Contains(g.Asking[:i], seat) || !Weak(g.Players[seat].Hand) {
			return fmt.Errorf("seats %v are asked for a redeal", g.Asking)
		}
	}
	if g.ToMove != want {
		return fmt.Errorf("seat %d is to move, not %d", g.ToMove, want)
	}
	return nil
}
