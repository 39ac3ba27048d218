package workload

import (
	"math/rand/v2"

	"github.com/liap-tui/savepoint"
)

// randomBytes is the length of an incompressible event's content.
const randomBytes = 256

// blob is an event of random bytes.
type blob struct{ Data []byte }

// tally is the state of a machine whose events have no meaning: their number.
type tally struct {
	Events int
	Last   string
}

func (b blob) Apply(t *tally, _ meta) error {
	t.Events++
	return nil
}

func random(machines, events int) (*Load, error) {
	lists := make([][]savepoint.Event[tally], machines)
	for i := range lists {
		var seed [32]byte
		seed[0], seed[1], seed[2] = byte(i), byte(i>>8), byte(i>>16)
		source := rand.NewChaCha8(seed)
		for range events {
			b := blob{make([]byte, randomBytes)}
			_, _ = source.Read(b.Data)
			lists[i] = append(lists[i], b)
		}
	}
	kind := savepoint.Kind[tally]{Name: "game", Events: savepoint.Events[tally]{"blob": blob{}}}
	return captured("random", kind, lists)
}
