package journal

import (
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/internal/long"
)

var seedFlag = flag.Uint64("seed", 0, "run only the history of this seed")

// seeds runs fn for n seeds, or for the one of -seed.
func seeds(t *testing.T, n uint64, fn func(t *testing.T, seed uint64)) {
	first, last := uint64(1), n
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	for seed := first; seed <= last; seed++ {
		done := false
		t.Cleanup(func() {
			if !done {
				t.Logf("repeat with -run '^%s$' -seed %d", t.Name(), seed)
			}
		})
		fn(t, seed)
		done = true
	}
}

// TestModel_Histories: random appends, checkpoints, groups that bypass the ring,
// reads and reopenings have the results of a map; ErrFull is returned if and only
// if the next segment holds a record that is not checkpointed.
func TestModel_Histories(t *testing.T) {
	full, wraps := 0, 0
	seeds(t, uint64(long.N(t, 300, 2000)), func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, seed%2 == 0)
		for range 60 {
			switch w.rng.IntN(10) {
			default:
				s := w.payload()
				free := w.free(len(s))
				err := w.append(s)
				if free {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, ErrFull)
					require.Equal(t, w.acked+1, w.j.Next())
					full++
					if w.rng.IntN(2) == 0 {
						w.bypass(s)
					} else {
						w.checkpoint(w.j.State().Sealed)
						require.NoError(t, w.append(s), "a checkpoint up to Sealed frees the next segment")
					}
				}
				if k := len(w.live); k > 1 && w.live[k-1].Offset < w.live[k-2].Offset {
					wraps++
				}
			case 5:
				w.checkpoint(w.checkpointed + uint64(w.rng.IntN(int(w.acked-w.checkpointed)+1)))
			case 6:
				w.checkpoint(w.j.State().Sealed)
			case 7:
				lsn := uint64(w.rng.IntN(int(w.acked) + 2))
				b, err := w.j.Read(lsn, nil)
				switch {
				case lsn == 0 || lsn > w.acked:
					require.ErrorIs(t, err, ErrNoRecord)
				case lsn > w.checkpointed || err == nil:
					require.NoError(t, err)
					require.Equal(t, w.groups[lsn], string(b))
				default:
					require.ErrorIs(t, err, ErrCheckpointed)
				}
			case 8:
				if w.rng.IntN(4) == 0 {
					s := strings.Repeat("x", testSegment)
					require.ErrorIs(t, w.append(s), ErrTooLarge)
					w.bypass(s)
				}
			case 9:
				if w.rng.IntN(3) == 0 {
					w.j.Close()
					w.recover(w.disk)
				}
			}
			st := w.j.State()
			require.Equal(t, [3]uint64{w.checkpointed, w.acked, uint64(testSegments)}, [3]uint64{st.Checkpointed, st.Last, uint64(st.Segments)})
		}
		w.finish()
	})
	if *seedFlag == 0 {
		assert.Greater(t, full, 50, "the histories fill the ring")
		assert.Greater(t, wraps, 500, "the histories go round")
	}
}

// TestModel_AfterCheckpointOfAll: a group that fits a segment always fits the ring
// once everything is checkpointed.
func TestModel_AfterCheckpointOfAll(t *testing.T) {
	seeds(t, 200, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, true)
		for range 40 {
			require.NoError(t, w.append(w.payload()))
			w.checkpoint(w.acked)
		}
		w.finish()
	})
}
