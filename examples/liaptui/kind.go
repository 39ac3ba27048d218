package main

import (
	"fmt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// tableKind returns the kind of a game of Liap Tui. The names of the kind and of its
// events are stored on disk.
func tableKind() savepoint.Kind[game.Game] {
	return savepoint.Kind[game.Game]{
		Name:    "liaptui",
		Version: savepoint.V(1, 0, 0),
		Events: savepoint.Events[game.Game]{
			"joined":          joined{},
			"started":         started{},
			"dealt":           dealt{},
			"redeal_asked":    redealAsked{},
			"redeal_declined": redealDeclined{},
			"round_started":   roundStarted{},
			"declared":        declared{},
			"played":          played{},
			"turn_scored":     turnScored{},
			"round_scored":    roundScored{},
		},
		New:      game.New,
		Phase:    func(g *game.Game) string { return g.Phase },
		Legal:    game.Legal,
		Validate: (*game.Game).Validate,
	}
}

// The events of the game in the form that savepoint requires: they have the same
// fields, and the two methods with one more argument. A game written for savepoint
// has that argument itself; this one does not import savepoint.
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
	panic(fmt.Sprintf("liaptui: no stored form for %T", e))
}
