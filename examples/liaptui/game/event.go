package game

import "fmt"

// Event is one thing that happens to a game. Events are values; Check and Apply neither change the
// event nor let the game share its slices.
type Event interface {
	// Check returns an error that says why the rules forbid the event in g and what they allow, or
	// nil. It changes nothing.
	Check(g *Game) error
	// Apply changes g. It expects an event that Check allowed; for another one it may return an error
	// and leave g half changed.
	Apply(g *Game) error
}

// Events maps the stable name of every event type to its zero value. It is not to be changed.
var Events = map[string]Event{
	"joined":          Joined{},
	"started":         Started{},
	"dealt":           Dealt{},
	"redeal_asked":    RedealAsked{},
	"redeal_declined": RedealDeclined{},
	"round_started":   RoundStarted{},
	"declared":        Declared{},
	"played":          Played{},
	"turn_scored":     TurnScored{},
	"round_scored":    RoundScored{},
}

// Name returns the name under which Events lists the type of e. It panics for a type that is not of
// this package.
func Name(e Event) string {
	switch e.(type) {
	case Joined:
		return "joined"
	case Started:
		return "started"
	case Dealt:
		return "dealt"
	case RedealAsked:
		return "redeal_asked"
	case RedealDeclined:
		return "redeal_declined"
	case RoundStarted:
		return "round_started"
	case Declared:
		return "declared"
	case Played:
		return "played"
	case TurnScored:
		return "turn_scored"
	case RoundScored:
		return "round_scored"
	}
	panic(fmt.Sprintf("game: %T is not an event of Liap Tui", e))
}

// Do checks e against g and, if the rules allow it, applies it. After an error of Check g is
// unchanged.
func (g *Game) Do(e Event) error {
	if err := e.Check(g); err != nil {
		return err
	}
	return e.Apply(g)
}
