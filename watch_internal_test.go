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
	notified := func(b *subscription) bool {
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
	subs := map[string]*subscription{}
	for _, m := range []string{"", "a", "b", "c", "d", "e"} {
		subs[m] = n.subscribe(m)
	}
	require.Same(t, subs["e"], n.subscribe("e"))
	n.unsubscribe("e", subs["e"])
	n.notify([]engine.Step{group("a", "b"), group("c", "d")}, false)
	for m, b := range subs {
		require.Equal(t, m != "e", notified(b), "machine %q", m)
		if m != "e" {
			n.unsubscribe(m, b)
		}
	}
	n.notify([]engine.Step{group("a")}, false)
	require.False(t, notified(subs["e"]))
	again := n.subscribe("a")
	require.False(t, notified(again), "a new subscription is not notified of the past")
	n.notify([]engine.Step{group("e")}, false)
	require.True(t, notified(subs["e"]), "the machine has another subscription")
	n.notify(nil, true)
	require.True(t, notified(again))
	n.unsubscribe("a", again)
	require.Empty(t, n.subscriptions)
	require.False(t, n.waiting.Load())
}
