package workload

import (
	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
	"github.com/liap-tui/savepoint/internal/codec"
)

// GameState returns the encoded state of a game after the given number of events,
// which is what a snapshot holds.
func GameState(events int) ([]byte, error) {
	list, err := Play(1, events)
	if err != nil {
		return nil, err
	}
	g := game.New()
	for _, ev := range list {
		if err := ev.Apply(&g, savepoint.Meta{}); err != nil {
			return nil, err
		}
	}
	return codec.Marshal(&g)
}
