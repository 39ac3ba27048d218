package game

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Next returns the next event of a table of four bots: the server's where the server is to move,
// else the bot's on the seat to move. It returns nil when the game is over. The same game and the
// same state of r result in the same event. Check allows every event it returns.
func Next(g *Game, r *rand.Rand) Event {
	if e := Server(g, r); e != nil {
		return e
	}
	if g.Phase == Waiting {
		return Joined{Seat: g.freeSeat(), Name: g.botName()}
	}
	return Bot(g, g.ToMove, r)
}

// Server returns the event with which the server moves g on, or nil when it waits for a player or
// the game is over. Only the deal takes anything from r.
func Server(g *Game, r *rand.Rand) Event {
	switch g.Phase {
	case Waiting:
		if g.freeSeat() == NoSeat {
			return Started{}
		}
	case Preparation:
		if !g.dealt() {
			return Deal(g, r)
		}
	case RoundStart:
		return RoundStarted{Starter: g.Starter}
	case TurnResults:
		return g.turnScored()
	case Scoring:
		return g.roundScored()
	}
	return nil
}

// Bot returns the move of a bot on the given seat, or nil if it is not that seat's move. It does not
// use what Seen hides from the seat.
func Bot(g *Game, seat int, r *rand.Rand) Event {
	if seat == NoSeat || seat != g.ToMove {
		return nil
	}
	b := newBot(g, seat, r)
	switch g.Phase {
	case Preparation:
		if b.wantsRedeal() {
			return RedealAsked{Seat: seat}
		}
		return RedealDeclined{Seat: seat}
	case Declaration:
		return Declared{Seat: seat, Piles: b.declare()}
	case Turn:
		if len(g.Plays) == 0 {
			return Played{Seat: seat, Pieces: slices.Clone(b.lead())}
		}
		return Played{Seat: seat, Pieces: slices.Clone(b.follow())}
	}
	return nil
}

// botName returns the first of "Bot 1", "Bot 2", ... that nobody has.
func (g *Game) botName() string {
	for n := 1; ; n++ {
		name := fmt.Sprintf("Bot %d", n)
		if !slices.ContainsFunc(g.Players[:], func(p Player) bool { return p.Name == name }) {
			return name
		}
	}
}

// bot holds what one seat knows of the game while it decides. It computes in whole per mille, so that
// it decides the same on every computer.
type bot struct {
	g      *Game
	r      *rand.Rand
	seat   int
	hand   []Piece // strongest first
	unseen counts  // the pieces in the others' hands
	rivals []Set   // what can be made of them; filled on first use
}

func newBot(g *Game, seat int, r *rand.Rand) *bot {
	b := &bot{g: g, r: r, seat: seat, hand: g.Players[seat].Hand}
	for p := BlackSoldier; p <= RedGeneral; p++ {
		b.unseen[p] = p.Copies()
	}
	see := func(pieces []Piece) {
		for _, p := range pieces {
			b.unseen[p]--
		}
	}
	see(b.hand)
	for _, play := range g.Plays {
		see(play.Pieces)
	}
	for i := range g.Players {
		see(g.Players[i].Taken)
	}
	return b
}

// need is the number of piles still missing; negative if there are too many.
func (b *bot) need() int { return b.g.Players[b.seat].Declared - b.g.Players[b.seat].Piles }

// wantsRedeal asks twice out of three times, but keeps a hand with strong sets.
func (b *bot) wantsRedeal() bool { return b.estimate() < 3000 && b.r.IntN(3) > 0 }

// declare rounds the estimate, a little off at random, to a number the rules allow.
func (b *bot) declare() int {
	want := (b.estimate() + b.r.IntN(600) + 200) / 1000
	allowed := b.g.Allowed(b.seat)
	best := allowed[0]
	for _, n := range allowed {
		if abs(n-want) < abs(best-want) {
			best = n
		}
	}
	return best
}

// estimate returns how many piles the hand is likely to take, in thousandths: the best set by chance and size,
// then the best of what is left, and so on. Larger sets count in full only for one who leads.
func (b *bot) estimate() int {
	lead := 350
	switch {
	case b.g.Starter == b.seat:
		lead = 1000
	case b.hand[0] >= RedAdvisor:
		lead = 750
	}
	sum := 0
	for hand := b.hand; len(hand) > 0; {
		var best []Piece
		worth := 0
		for _, set := range Sets(hand) {
			w := b.chance(set) * len(set)
			if len(set) > 1 {
				w = w * lead / 1000
			}
			if w > worth {
				best, worth = set, w
			}
		}
		if worth < 300 {
			break
		}
		sum += worth
		hand = without(hand, best)
	}
	return min(sum, HandSize*1000)
}

// holdPercent is the chance that a led set wins although one unseen set beats it, by size: the
// larger the set, the less likely that one hand has it.
var holdPercent = [MaxSet + 1]int{0, 78, 82, 88, 92, 95, 97}

// chance returns how likely set wins when led, in per mille.
func (b *bot) chance(set []Piece) int {
	mine := Recognise(set)
	rivals := 0
	if mine.Type == Single {
		for p := set[0] + 1; p <= RedGeneral; p++ {
			rivals += b.unseen[p]
		}
	} else {
		if b.rivals == nil {
			for _, other := range b.unseen.sets() {
				b.rivals = append(b.rivals, Recognise(other))
			}
		}
		for _, s := range b.rivals {
			if s.Type == mine.Type && s.Points > mine.Points {
				rivals++
			}
		}
	}
	chance := 1000
	for range rivals {
		chance = chance * holdPercent[len(set)] / 100
	}
	return chance
}

// lead plays the set that promises the most of the piles still needed, else the weakest piece.
func (b *bot) lead() []Piece {
	need := b.need()
	weakest := b.hand[len(b.hand)-1:]
	if b.blunder() {
		sets := Sets(b.hand)
		return sets[b.r.IntN(len(sets))]
	}
	if need <= 0 {
		return weakest
	}
	best, worth := weakest, 0
	for _, set := range Sets(b.hand) {
		c := b.chance(set)
		if len(set) > need || c < 400 {
			continue
		}
		if w := c * len(set); w > worth {
			best, worth = set, w
		}
	}
	return best
}

// follow wins the turn if its piles are wanted and the hand can; else it gets rid of pieces: of weak
// ones while piles are wanted, of strong ones once they are not.
func (b *bot) follow() []Piece {
	var plays [][]Piece
	for _, p := range b.g.Plays {
		plays = append(plays, p.Pieces)
	}
	n := len(plays[0])
	wins := func(pieces []Piece) bool { return Winner(append(plays[:len(plays):len(plays)], pieces)) == len(plays) }
	if b.blunder() {
		return b.pick(n)
	}
	if b.need() >= n {
		if set := b.beat(n, wins); set != nil {
			return set
		}
		return b.hand[len(b.hand)-n:]
	}
	if b.need() > 0 {
		return b.lose(b.reversed(), n, wins)
	}
	return b.lose(b.hand, n, wins)
}

// beat returns a set of n pieces that takes the turn: the weakest such for the last to play, the
// strongest for the others; nil if the hand has no such set.
func (b *bot) beat(n int, wins func([]Piece) bool) []Piece {
	var found []Piece
	for _, set := range Sets(b.hand) {
		if len(set) == n && wins(set) {
			found = set
			if len(b.g.Plays) == Seats-1 {
				break
			}
		}
	}
	return found
}

// lose returns n pieces that do not take the turn, as early in order as it finds them; if every
// choice it tries wins, the last one.
func (b *bot) lose(order []Piece, n int, wins func([]Piece) bool) []Piece {
	var choice []Piece
	for i := 0; i+n <= len(order); i++ {
		if choice = order[i : i+n]; !wins(choice) {
			return choice
		}
	}
	for i := n; i < len(order); i++ {
		if choice = append(slices.Clone(order[:n-1]), order[i]); !wins(choice) {
			return choice
		}
	}
	return choice
}

// pick returns any n pieces of the hand.
func (b *bot) pick(n int) []Piece {
	hand := slices.Clone(b.hand)
	b.r.Shuffle(len(hand), func(i, j int) { hand[i], hand[j] = hand[j], hand[i] })
	return hand[:n]
}

// blunder returns true at random, once in 25 calls on average, so that tables play differently.
func (b *bot) blunder() bool { return b.r.IntN(25) == 0 }

func (b *bot) reversed() []Piece {
	hand := slices.Clone(b.hand)
	slices.Reverse(hand)
	return hand
}

func abs(n int) int { return max(n, -n) }
