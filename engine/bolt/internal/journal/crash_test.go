package journal

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/internal/long"
)

// step does one random operation, and checkpoints if the ring is full.
func (w *world) step() error {
	s := w.payload()
	if !w.free(len(s)) {
		if w.rng.IntN(3) == 0 {
			w.bypass(s)
			return nil
		}
		w.checkpoint(w.j.State().Sealed)
	} else if w.rng.IntN(8) == 0 {
		w.checkpoint(w.checkpointed + uint64(w.rng.IntN(int(w.acked-w.checkpointed)+1)))
	}
	return w.append(s)
}

// tears calls fn with pictures of a power cut inside the write c: up to each
// sector, from each sector on, the sector or block between turned to garbage, and
// random sets.
func (w *world) tears(c change, fn func(img []byte)) {
	img := slices.Clone(w.disk.plate)
	old := slices.Clone(img[c.off : c.off+int64(len(c.b))])
	at := img[c.off : c.off+int64(len(c.b))]
	garbage := func(b []byte) {
		for i := range b {
			b[i] = byte(w.rng.Uint32())
		}
	}
	for i := 0; i <= len(c.b); i += sector {
		copy(at, old)
		copy(at[:i], c.b)
		fn(img)
		if i < len(c.b) {
			garbage(at[i : i+sector])
			fn(img)
			block := i / Align * Align
			garbage(at[block : block+Align])
			fn(img)
			copy(at, old)
			copy(at[i:], c.b[i:])
			fn(img)
			copy(at, old)
			for k := 0; k < len(c.b); k += sector {
				if w.rng.IntN(3) > 0 {
					copy(at[k:k+sector], c.b[k:])
				}
			}
			fn(img)
		}
	}
}

// TestCrash_Pictures: in every picture of a power cut inside a write
//  1. everything acknowledged is there, in order, byte for byte;
//  2. of the group in flight everything is there or nothing;
//  3. no picture counts as damaged.
//
// Some pictures are recovered and written on, up to the next power cut.
func TestCrash_Pictures(t *testing.T) {
	pictures, whole, torn, second := 0, 0, 0, 0
	seeds(t, uint64(long.N(t, 12, 20)), func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, seed%2 == 0)
		var next []byte
		during := func(c change) {
			acked, skip := w.acked, w.rng.IntN(200)
			w.tears(c, func(img []byte) {
				s, _, err := w.check(bytes.NewReader(img), acked)
				require.NoError(t, err, "write of record %d at %d", acked+1, c.off)
				pictures++
				if s.Last() > acked {
					whole++
				}
				if s.Torn != nil {
					require.Equal(t, acked+1, s.Torn.LSN)
					torn++
				}
				if skip--; skip == 0 {
					next = slices.Clone(img)
				}
			})
		}
		w.disk.during = during
		for range 40 {
			before := w.acked
			require.NoError(t, w.step())
			if next != nil && w.acked == before+1 {
				// The process died inside that write: it was not acknowledged.
				if w.checkpointed > before {
					next = nil
					continue
				}
				w.acked = before
				d := w.disk.after(next)
				next = nil
				w.recover(d)
				w.disk.during = during
				second++
			}
			next = nil
		}
		w.disk.during = nil
		w.finish()
	})
	t.Logf("%d pictures, %d with the group in flight whole, %d with its header only, %d recovered and gone on", pictures, whole, torn, second)
	if *seedFlag == 0 {
		assert.GreaterOrEqual(t, pictures, 20000)
		assert.Greater(t, whole, 500)
		assert.Greater(t, torn, 5000)
		assert.Greater(t, second, 100)
	}
}

// TestCrash_KillThenPowerCut: a process dies between write and sync, the next one
// continues with what the page cache has, and then the power fails: what the dead
// process wrote may be gone from the ring, and nothing acknowledged is lost.
func TestCrash_KillThenPowerCut(t *testing.T) {
	pictures := 0
	seeds(t, 300, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, false)
		for range 6 {
			for range 1 + w.rng.IntN(6) {
				require.NoError(t, w.step())
			}
			// Killed between write and sync, or by a sync that failed.
			w.disk.fault = func(_ int, name string) bool { return name == "sync" }
			s := w.payload()
			if !w.free(len(s)) {
				w.checkpoint(w.acked)
			}
			require.ErrorIs(t, w.append(s), ErrStopped)
			w.disk.fault = nil
			w.recover(w.disk) // the page cache survives
			for range w.rng.IntN(4) {
				require.NoError(t, w.step())
			}
			for range 8 {
				img := w.disk.picture(w.rng)
				_, _, err := w.check(bytes.NewReader(img), w.acked)
				require.NoError(t, err)
				pictures++
			}
			if w.rng.IntN(2) == 0 {
				w.recover(w.disk.after(w.disk.picture(w.rng)))
			}
		}
		w.finish()
	})
	t.Logf("%d pictures", pictures)
}

// TestCrash_DuringRecovery: a recovery that dies before its transaction leaves
// the ring as it was, and one that dies after it leaves nothing to replay.
func TestCrash_DuringRecovery(t *testing.T) {
	seeds(t, 200, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, true)
		for range 10 {
			require.NoError(t, w.step())
		}
		img := w.disk.picture(w.rng)
		first, one, err := w.check(bytes.NewReader(img), w.acked)
		require.NoError(t, err)
		again, two, err := w.check(bytes.NewReader(img), w.acked)
		require.NoError(t, err)
		require.Equal(t, one, two)
		require.Equal(t, first.Last(), again.Last())

		w.recover(w.disk.after(img))
		s, err := Scan(w.disk, w.r, w.id, w.salt, w.checkpointed)
		require.NoError(t, err)
		require.Zero(t, s.Len(), "checkpointed and under a new salt")
		w.finish()
	})
}
