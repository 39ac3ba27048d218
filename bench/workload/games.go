package workload

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// The events of the example game in the form that savepoint requires: one type for
// each event of the game, as an application has them.
type (
	joined         game.Joined
	started        game.Started
	dealt          game.Dealt
	redealAsked    game.RedealAsked
	redealDeclined game.RedealDeclined
	roundStarted   game.RoundStarted
	declared       game.Declared
	played         game.Played
	turnScored     game.TurnScored
	roundScored    game.RoundScored
)

type meta = savepoint.Meta

func (e joined) Check(g *game.Game, _ meta) error         { return game.Joined(e).Check(g) }
func (e started) Check(g *game.Game, _ meta) error        { return game.Started(e).Check(g) }
func (e dealt) Check(g *game.Game, _ meta) error          { return game.Dealt(e).Check(g) }
func (e redealAsked) Check(g *game.Game, _ meta) error    { return game.RedealAsked(e).Check(g) }
func (e redealDeclined) Check(g *game.Game, _ meta) error { return game.RedealDeclined(e).Check(g) }
func (e roundStarted) Check(g *game.Game, _ meta) error   { return game.RoundStarted(e).Check(g) }
func (e declared) Check(g *game.Game, _ meta) error       { return game.Declared(e).Check(g) }
func (e played) Check(g *game.Game, _ meta) error         { return game.Played(e).Check(g) }
func (e turnScored) Check(g *game.Game, _ meta) error     { return game.TurnScored(e).Check(g) }
func (e roundScored) Check(g *game.Game, _ meta) error    { return game.RoundScored(e).Check(g) }

func (e joined) Apply(g *game.Game, _ meta) error         { return game.Joined(e).Apply(g) }
func (e started) Apply(g *game.Game, _ meta) error        { return game.Started(e).Apply(g) }
func (e dealt) Apply(g *game.Game, _ meta) error          { return game.Dealt(e).Apply(g) }
func (e redealAsked) Apply(g *game.Game, _ meta) error    { return game.RedealAsked(e).Apply(g) }
func (e redealDeclined) Apply(g *game.Game, _ meta) error { return game.RedealDeclined(e).Apply(g) }
func (e roundStarted) Apply(g *game.Game, _ meta) error   { return game.RoundStarted(e).Apply(g) }
func (e declared) Apply(g *game.Game, _ meta) error       { return game.Declared(e).Apply(g) }
func (e played) Apply(g *game.Game, _ meta) error         { return game.Played(e).Apply(g) }
func (e turnScored) Apply(g *game.Game, _ meta) error     { return game.TurnScored(e).Apply(g) }
func (e roundScored) Apply(g *game.Game, _ meta) error    { return game.RoundScored(e).Apply(g) }

// GameKind returns the kind of the generated games. It has no Validate: the cost of
// the game's own rules is not the store's.
func GameKind() savepoint.Kind[game.Game] {
	return savepoint.Kind[game.Game]{
		Name: "game",
		Events: savepoint.Events[game.Game]{
			"joined": joined{}, "started": started{}, "dealt": dealt{}, "redeal_asked": redealAsked{},
			"redeal_declined": redealDeclined{}, "round_started": roundStarted{}, "declared": declared{},
			"played": played{}, "turn_scored": turnScored{}, "round_scored": roundScored{},
		},
		New:   game.New,
		Phase: func(g *game.Game) string { return g.Phase },
		Legal: game.Legal,
	}
}

// Play plays a game to its end, or for the given number of events. Equal seeds
// result in equal games.
func Play(seed uint64, events int) ([]savepoint.Event[game.Game], error) {
	g := game.New()
	r := rand.New(rand.NewPCG(seed, 1))
	var list []savepoint.Event[game.Game]
	for len(list) < events {
		e := game.Next(&g, r)
		if e == nil {
			break
		}
		if err := e.Apply(&g); err != nil {
			return nil, fmt.Errorf("game %d, event %d: %w", seed, len(list)+1, err)
		}
		list = append(list, stored(e))
	}
	return list, nil
}

// games plays distinct games, each for the given number of events or to its end.
func games(machines, events int) (*Load, error) {
	lists := make([][]savepoint.Event[game.Game], machines)
	var next atomic.Int64
	var mu sync.Mutex
	var first error
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := int(next.Add(1) - 1); i < machines; i = int(next.Add(1) - 1) {
				list, err := Play(uint64(i), events)
				if err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
					return
				}
				lists[i] = list
			}
		})
	}
	all.Wait()
	if first != nil {
		return nil, first
	}
	return captured("games", GameKind(), lists)
}

// stored returns an event of the game in the form that savepoint stores.
func stored(e game.Event) savepoint.Event[game.Game] {
	switch e := e.(type) {
	case game.Joined:
		return joined(e)
	case game.Started:
		return started(e)
	case game.Dealt:
		return dealt(e)
	case game.RedealAsked:
		return redealAsked(e)
	case game.RedealDeclined:
		return redealDeclined(e)
	case game.RoundStarted:
		return roundStarted(e)
	case game.Declared:
		return declared(e)
	case game.Played:
		return played(e)
	case game.TurnScored:
		return turnScored(e)
	case game.RoundScored:
		return roundScored(e)
	}
	panic(fmt.Sprintf("workload: no stored form for %T", e))
}
