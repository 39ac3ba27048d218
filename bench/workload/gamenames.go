package workload

import (
	"reflect"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// GameNames returns a function that returns the name under which GameKind lists an event.
func GameNames() func(savepoint.Event[game.Game]) string {
	names := map[reflect.Type]string{}
	for name, proto := range GameKind().Events {
		names[reflect.TypeOf(proto)] = name
	}
	return func(ev savepoint.Event[game.Game]) string { return names[reflect.TypeOf(ev)] }
}

// NewGameEvent returns a pointer to a new event with the given name, to decode into;
// nil if the name is not known.
func NewGameEvent(name string) savepoint.Event[game.Game] {
	switch name {
	case "joined":
		return new(joined)
	case "started":
		return new(started)
	case "dealt":
		return new(dealt)
	case "redeal_asked":
		return new(redealAsked)
	case "redeal_declined":
		return new(redealDeclined)
	case "round_started":
		return new(roundStarted)
	case "declared":
		return new(declared)
	case "played":
		return new(played)
	case "turn_scored":
		return new(turnScored)
	case "round_scored":
		return new(roundScored)
	}
	return nil
}
