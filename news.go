package savepoint

import (
	"sync"
	"sync/atomic"

	"github.com/liap-tui/savepoint/engine"
)

// news wakes those who wait for records. Who waits takes a bell first, looks at
// the engine then, and waits for the bell if there was nothing: so no record is
// missed. The committer never waits for any of them.
type news struct {
	waiting atomic.Bool // somebody has a bell

	mu    sync.Mutex
	bells map[string]*bell // by machine key; "" is for any machine
}

type bell struct {
	rung  chan struct{} // closed by the next group with the machine in it
	heard int           // how many wait
}

// await gives the bell of a machine; leave gives it back, rung or not.
func (n *news) await(machine string) *bell {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.bells[machine]
	if b == nil {
		b = &bell{rung: make(chan struct{})}
		if n.bells == nil {
			n.bells = map[string]*bell{}
		}
		n.bells[machine] = b
		n.waiting.Store(true)
	}
	b.heard++
	return b
}

func (n *news) leave(machine string, b *bell) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b.heard--; b.heard == 0 && n.bells[machine] == b {
		n.drop(machine)
	}
}

func (n *news) drop(machine string) {
	delete(n.bells, machine)
	n.waiting.Store(len(n.bells) > 0)
}

// tell rings for what a group wrote, or, where writing has stopped, for all.
func (n *news) tell(steps []engine.Step, stopped bool) {
	if !n.waiting.Load() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if stopped {
		for machine := range n.bells {
			n.ring(machine)
		}
		return
	}
	n.ring("")
	for i := range steps {
		for j := range steps[i].Writes {
			n.ring(steps[i].Writes[j].Machine)
		}
	}
}

func (n *news) ring(machine string) {
	if b := n.bells[machine]; b != nil {
		close(b.rung)
		n.drop(machine)
	}
}
