package peer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/bench/workload"
)

// Each peer appends, refuses what is out of order, and after it is opened again
// holds what it acknowledged.
func TestPeers(t *testing.T) {
	const machines, events = 7, 12
	load, err := workload.New("games", machines, events, "")
	require.NoError(t, err)
	for _, p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := p.Open(dir, load)
			require.NoError(t, err)
			var first []*Append
			for m := range machines {
				first = append(first, event(load, m, 1))
			}
			require.NoError(t, s.Batch(first))
			for _, a := range first {
				require.NoError(t, a.Err)
			}
			var pending []Pending
			for seq := uint64(2); seq <= events; seq++ {
				for m := range machines {
					w, err := s.Start(event(load, m, seq))
					require.NoError(t, err)
					pending = append(pending, w)
				}
			}
			for _, w := range pending {
				require.NoError(t, w.Wait())
			}
			if _, typed := s.(Viewer); !typed { // the typed API counts by itself
				require.Error(t, append1(s, event(load, 0, events)), "an event twice")
				require.Error(t, append1(s, event(load, 0, events+2)), "a gap")
			}
			require.NoError(t, s.Close())
			if p.Volatile {
				return
			}

			s, err = p.Open(dir, load)
			require.NoError(t, err)
			c, ok := CanCount(s)
			require.True(t, ok)
			n, err := c.Count()
			require.NoError(t, err)
			require.EqualValues(t, machines*events, n)
			if r, ok := CanRead(s); ok {
				i := 0
				seq, err := r.Read(workload.Key(3), func(b []byte) {
					i++
					require.Equal(t, load.At(3, uint64(i)).Bytes, b)
				})
				require.NoError(t, err)
				require.EqualValues(t, events, seq)
				require.Equal(t, events, i)
			}
			require.NoError(t, append1(s, event(load, 3, events+1)), "the next event")
			require.NoError(t, s.Close())
		})
	}
}

func event(load *workload.Load, machine int, seq uint64) *Append {
	return &Append{Number: machine, Machine: workload.Key(machine), Seq: seq, Event: load.At(machine, seq)}
}

func append1(s Store, a *Append) error {
	w, err := s.Start(a)
	if err != nil {
		return err
	}
	return w.Wait()
}
