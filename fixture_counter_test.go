package savepoint_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// counter is a small state with a small event, so that a benchmark measures the library and not the game.
type counter struct {
	N     int64
	Last  string
	Cards []string
}

type counted struct {
	By   int64
	Card string
	Note string
}

func (e counted) Apply(c *counter, _ savepoint.Meta) error {
	c.N += e.By
	c.Last = e.Card
	return nil
}

// counters registers the kind of counter.
func counters(tb testing.TB, db *savepoint.DB) *savepoint.Store[counter] {
	s, err := savepoint.Register(db, savepoint.Kind[counter]{Name: "counter", Events: savepoint.Events[counter]{"counted": counted{}}})
	require.NoError(tb, err)
	return s
}
