package game

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/internal/long"
)

// games is the number of seeds the property tests play.
func games(t *testing.T) int {
	return long.N(t, 200, allGames)
}

// allGames is the number of games that show what is rare.
const allGames = 2000

// maxEvents bounds a game: the start, and per round the deals with their answers, the start, the
// declarations, eight turns and the result.
const maxEvents = Seats + 1 + MaxRounds*((1+MaxRedeals)*(1+Seats)+1+Seats+HandSize*(Seats+1)+1)

// play plays a game of bots to its end, calling each with every event before it is applied.
func play(t *testing.T, r *rand.Rand, each func(g *Game, e Event)) (Game, []Event) {
	t.Helper()
	g := New()
	var events []Event
	for e := Next(&g, r); e != nil; e = Next(&g, r) {
		require.Less(t, len(events), maxEvents, "the game does not end")
		if each != nil {
			each(&g, e)
		}
		from := g.Phase
		if err := g.Do(e); err != nil {
			require.NoError(t, err, "event %d %s%+v", len(events)+1, Name(e), e)
		}
		if err := g.Validate(); err != nil {
			require.NoError(t, err, "after event %d %s%+v", len(events)+1, Name(e), e)
		}
		if !slices.Contains(Legal[from], g.Phase) {
			require.Fail(t, "illegal phase change", "%s to %s by %s", from, g.Phase, Name(e))
		}
		events = append(events, e)
	}
	require.Equal(t, GameOver, g.Phase)
	require.NotEmpty(t, g.Winners)
	return g, events
}

// Thousands of games: every event allowed, every state valid, every phase change legal, every game
// ends, and over all of them every event, phase change and set type occurs. Replay of the events on
// a new game results in the same state, and so does replay of their encoded form.
// row L6.
func TestGame_BotsPlayToTheEnd(t *testing.T) {
	t.Parallel()
	n := games(t)
	var lengths []int
	rounds, draws, last, hits, bytes := 0, 0, 0, 0, 0
	kinds, led, changes := map[string]int{}, map[SetType]int{}, map[string]map[string]bool{}
	for s := range n {
		g, events := play(t, seed(uint64(s)), func(g *Game, e Event) {
			kinds[Name(e)]++
			if p, ok := e.(Played); ok && len(g.Plays) == 0 {
				led[Recognise(p.Pieces).Type]++
			}
		})
		again := New()
		for i, e := range events {
			from := again.Phase
			if err := decoded(t, e, &bytes).Apply(&again); err != nil {
				require.NoError(t, err, "seed %d event %d", s, i+1)
			}
			if changes[from] == nil {
				changes[from] = map[string]bool{}
			}
			changes[from][again.Phase] = true
		}
		if !reflect.DeepEqual(g, again) {
			require.Equal(t, g, again, "seed %d: replay", s)
		}
		lengths = append(lengths, len(events))
		rounds += g.Round
		if len(g.Winners) > 1 {
			draws++
		}
		if g.Round == MaxRounds {
			last++
		}
		for _, p := range g.Players {
			for _, points := range p.Points {
				if points > 0 {
					hits++
				}
			}
		}
	}
	slices.Sort(lengths)
	sum := 0
	for _, l := range lengths {
		sum += l
	}
	t.Logf("%d games, %d events of %d bytes of JSON on average", n, sum, bytes/sum)
	t.Logf("events a game: %.1f on average, %d to %d, median %d", float64(sum)/float64(n), lengths[0], lengths[n-1], lengths[n/2])
	t.Logf("rounds a game: %.1f on average, %d games ended by round %d; %d draws; %d%% of declarations hit",
		float64(rounds)/float64(n), last, MaxRounds, draws, 100*hits/(rounds*Seats))
	t.Logf("events: %v", kinds)
	t.Logf("led: %v", led)

	assert.Len(t, kinds, len(Events), "every type of event occurs")
	for from, tos := range Legal {
		for _, to := range tos {
			assert.True(t, changes[from][to], "%s to %s occurs", from, to)
		}
	}
	if n == allGames {
		assert.Len(t, led, len(setOrder)-1, "every type of set is led")
		assert.Less(t, last*5, n, "most games reach %d points", GoalScore)
		assert.NotZero(t, draws)
	}
}

// decoded returns e after encoding and decoding it, as a store does, and counts the bytes.
func decoded(t *testing.T, e Event, bytes *int) Event {
	b, err := json.Marshal(e)
	require.NoError(t, err)
	*bytes += len(b)
	v := reflect.New(reflect.TypeOf(Events[Name(e)]))
	require.NoError(t, json.Unmarshal(b, v.Interface()))
	return v.Elem().Interface().(Event)
}

// Numbered guarantees: (1) Check changes nothing, whatever the event; (2) what it refuses it refuses
// with words; (3) what it allows keeps the game valid and its phase change legal; (4) Apply never
// panics, not even on what Check refused; (5) Check allows nothing that the phase has no event for.
func TestEvent_RandomEvents(t *testing.T) {
	t.Parallel()
	r := seed(99)
	refusals, allowed := map[string]int{}, map[string]int{}
	for s := range games(t) / 40 {
		play(t, seed(uint64(s)), func(g *Game, next Event) {
			before := g.Clone()
			for range 12 {
				e := randomEvent(g, next, r)
				err := e.Check(g)
				if !reflect.DeepEqual(before, *g) {
					require.Equal(t, before, *g, "Check of %s%+v changed the game", Name(e), e)
				}
				on := g.Clone()
				apply := e.Apply(&on)
				if err != nil {
					require.NotEmpty(t, err.Error())
					refusals[Name(e)]++
					continue
				}
				allowed[Name(e)]++
				require.NoError(t, apply, "%s%+v", Name(e), e)
				require.NoError(t, on.Validate(), "after %s%+v", Name(e), e)
				require.Contains(t, Legal[g.Phase], on.Phase)
				require.Contains(t, eventsOf[g.Phase], Name(e))
			}
			if !reflect.DeepEqual(before, *g) {
				require.Equal(t, before, *g, "an applied event shares memory with the game")
			}
		})
	}
	t.Logf("refused: %v", refusals)
	t.Logf("allowed: %v", allowed)
	assert.Len(t, refusals, len(Events))
	for _, name := range []string{"joined", "redeal_asked", "redeal_declined", "declared", "played"} {
		assert.NotZero(t, allowed[name], name)
	}
}

// eventsOf is the phase table of the package comment.
var eventsOf = map[string][]string{
	Waiting:     {"joined", "started"},
	Preparation: {"dealt", "redeal_asked", "redeal_declined"},
	RoundStart:  {"round_started"},
	Declaration: {"declared"},
	Turn:        {"played"},
	TurnResults: {"turn_scored"},
	Scoring:     {"round_scored"},
}

// randomEvent returns anything from nonsense to nearly or wholly legal.
func randomEvent(g *Game, next Event, r *rand.Rand) Event {
	seat := r.IntN(Seats+2) - 1
	if r.IntN(2) == 0 {
		seat = g.ToMove
	}
	var hand []Piece
	if inRange(seat) {
		hand = slices.Clone(g.Players[seat].Hand)
	}
	switch r.IntN(11) {
	case 0:
		return Joined{Seat: seat, Name: []string{"", "Ann", "Bot 1", "Bot 3"}[r.IntN(4)]}
	case 1:
		return Started{}
	case 2:
		e := Deal(g, r)
		i, j := r.IntN(Seats), r.IntN(Seats)
		e.Hands[i][0], e.Hands[j][7] = e.Hands[j][7], e.Hands[i][0]
		return e
	case 3:
		return RedealAsked{Seat: seat}
	case 4:
		return RedealDeclined{Seat: seat}
	case 5:
		return RoundStarted{Starter: seat}
	case 6:
		return Declared{Seat: seat, Piles: r.IntN(12) - 2}
	case 7:
		r.Shuffle(len(hand), func(i, j int) { hand[i], hand[j] = hand[j], hand[i] })
		return Played{Seat: seat, Pieces: hand[:r.IntN(len(hand)+1)]}
	case 8:
		var pieces []Piece
		for range r.IntN(8) {
			pieces = append(pieces, Piece(r.IntN(18)-2))
		}
		return Played{Seat: seat, Pieces: pieces}
	case 9:
		return TurnScored{Winner: seat, Piles: r.IntN(4)}
	}
	switch e := next.(type) {
	case RoundScored:
		e.Points[r.IntN(Seats)]++
		return e
	case TurnScored:
		e.Winner = (e.Winner + 1) % Seats
		return e
	case Played:
		e.Pieces = append(slices.Clone(e.Pieces), BlackSoldier)
		return e
	}
	return RoundScored{Points: [Seats]int{1, 2, 3, 4}}
}

// Equal seeds result in equal events.
func TestNext_SameSeedSameGame(t *testing.T) {
	for s := range uint64(20) {
		a, first := play(t, seed(s), nil)
		b, second := play(t, seed(s), nil)
		require.Equal(t, first, second)
		require.Equal(t, a, b)
	}
}

// A bot decides the same with the other hands hidden: it does not use them.
func TestBot_SeesOnlyItsHand(t *testing.T) {
	moves := 0
	for s := range uint64(50) {
		play(t, seed(s), func(g *Game, _ Event) {
			if g.ToMove == NoSeat {
				return
			}
			moves++
			hidden := g.Seen(g.ToMove)
			want := Bot(g, g.ToMove, rand.New(rand.NewPCG(s, 7)))
			got := Bot(&hidden, g.ToMove, rand.New(rand.NewPCG(s, 7)))
			require.Equal(t, want, got)
			require.Nil(t, Bot(g, (g.ToMove+1)%Seats, nil), "not its move")
			require.Nil(t, Bot(g, NoSeat, nil))
		})
	}
	require.NotZero(t, moves)
}

// Bots that play by their cards do better than chance would: a table of them hits far more than one
// declaration in nine.
func TestBot_IsSensible(t *testing.T) {
	hits, rounds := 0, 0
	for s := range uint64(100) {
		g, _ := play(t, seed(s), nil)
		for _, p := range g.Players {
			for _, points := range p.Points {
				rounds++
				if points > 0 {
					hits++
				}
			}
		}
	}
	assert.Greater(t, hits*3, rounds)
}

func TestGame_Seen(t *testing.T) {
	g := New()
	finish(t, &g, seed(5), Turn)
	whole := g.Clone()
	for seat := range Seats {
		s := g.Seen(seat)
		for i := range s.Players {
			if i == seat {
				assert.Equal(t, g.Players[i].Hand, s.Players[i].Hand)
			} else {
				assert.Equal(t, slices.Repeat([]Piece{Hidden}, HandSize), s.Players[i].Hand)
			}
		}
	}
	for _, p := range g.Seen(NoSeat).Players {
		assert.Equal(t, slices.Repeat([]Piece{Hidden}, HandSize), p.Hand)
	}
	assert.Equal(t, whole, g, "Seen changes nothing")
}

// A state is the same after its encoding: no field is lost.
func TestGame_EncodesWhole(t *testing.T) {
	for s := range uint64(5) {
		play(t, seed(s), func(g *Game, _ Event) {
			var back Game
			require.NoError(t, json.Unmarshal(encoded(t, g), &back))
			if !reflect.DeepEqual(*g, back) {
				require.Equal(t, *g, back)
			}
		})
	}
}

func TestEvents_NamesAreTheirTypes(t *testing.T) {
	for name, e := range Events {
		assert.Equal(t, name, Name(e))
	}
	assert.Panics(t, func() { Name(nil) })
}

// Old files hold games by these rules: a digest that changes means that the rules, the bots or the
// shape of a Game did.
func TestGame_Golden(t *testing.T) {
	for s, want := range []string{
		"98b7652dd68d1425",
		"77e839e06d3b0f53",
		"eb3cb4e1d8fe4c78",
	} {
		g, events := play(t, seed(uint64(s)), nil)
		sum := sha256.Sum256(encoded(t, &g))
		assert.Equal(t, want, hex.EncodeToString(sum[:8]), "seed %d, %d events", s, len(events))
	}
}
