package savepoint

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// TestNotifier notifies of groups of machines and of a stop: a group wakes the subscriptions of its machines and those to any
// machine, a stop wakes all, and an unsubscribe takes no other one along.
func TestNotifier(t *testing.T) {
	var n notifier
	rung := func(b *subscription) bool {
		select {
		case <-b.signal:
			return true
		default:
			return false
		}
	}
	group := func(machines ...string) (s engine.Step) {
		for _, m := range machines {
			s.Writes = append(s.Writes, engine.Write{Machine: m})
		}
		return s
	}
	bells := map[string]*subscription{}
	for _, m := range []string{"", "a", "b", "c", "d", "e"} {
		bells[m] = n.subscribe(m)
	}
	require.Same(t, bells["e"], n.subscribe("e"))
	n.unsubscribe("e", bells["e"])
	n.notify([]engine.Step{group("a", "b"), group("c", "d")}, false)
	for m, b := range bells {
		require.Equal(t, m != "e", rung(b), "machine %q", m)
		if m != "e" {
			n.unsubscribe(m, b)
		}
	}
	n.notify([]engine.Step{group("a")}, false)
	require.False(t, rung(bells["e"]))
	again := n.subscribe("a")
	require.False(t, rung(again), "a bell rings once")
	n.notify([]engine.Step{group("e")}, false)
	require.True(t, rung(bells["e"]), "one of two who waited is left")
	n.notify(nil, true)
	require.True(t, rung(again))
	n.unsubscribe("a", again)
	require.Empty(t, n.subscriptions)
	require.False(t, n.waiting.Load())
}
