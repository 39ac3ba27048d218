package savepoint

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/enginetest"
	"github.com/liap-tui/savepoint/internal/journal"
)

// ringOptions are the rings that tests run with.
var ringOptions = map[string]boltOptions{
	"TwoTiny": {ringBytes: 8 << 10, ringSegment: 4 << 10}, // wraps, is full and too small all the time
	"Tiny":    {ringBytes: 16 << 10, ringSegment: 8 << 10, lookBytes: 4 << 10},
	"Small":   {ringBytes: 256 << 10},
	"Usual":   {ringBytes: 16 << 20},
	"Growing": {ringBytes: 8 << 10, ringMost: 128 << 10},
}

// killBolt ends an engine as kill -9 does: nothing is folded, nothing marked. The
// lock goes with the descriptor; bbolt's handle is left behind.
func killBolt(e *boltEngine) {
	e.writing.Lock()
	defer e.writing.Unlock()
	if e.ring != nil {
		e.ring.close()
	}
	e.open.Lock()
	defer e.open.Unlock()
	e.closed = true
	unlockFile(e.file)
	e.file.Close()
}

func TestBoltRing_Conformance(t *testing.T) {
	for name, o := range ringOptions {
		for _, kill := range []bool{false, true} {
			t.Run(name+map[bool]string{true: "_Kill"}[kill], func(t *testing.T) {
				if testing.Short() && !(name == "TwoTiny" && !kill || name == "Growing" && kill) {
					t.Skip()
				}
				var mu sync.Mutex
				paths := map[engine.Engine]string{}
				open := func(t *testing.T, path string) engine.Engine {
					e, err := openBolt(path, o)
					require.NoError(t, err)
					t.Cleanup(func() {
						if e.closed {
							return
						}
						require.NoError(t, e.Close())
						checkBolt(t, path)
					})
					mu.Lock()
					defer mu.Unlock()
					paths[e] = path
					return e
				}
				enginetest.Run(t, enginetest.Config{
					Event: enveloped,
					Open:  func(t *testing.T) engine.Engine { return open(t, filepath.Join(t.TempDir(), "test.db")) },
					Reopen: func(t *testing.T, e engine.Engine) engine.Engine {
						if !kill {
							require.NoError(t, e.Close())
							checkBolt(t, paths[e])
							return open(t, paths[e])
						}
						killBolt(e.(*boltEngine))
						// A copy, as after a restart of the machine: bbolt's map of the old one is still there.
						b, err := os.ReadFile(paths[e])
						require.NoError(t, err)
						path := filepath.Join(t.TempDir(), "copy.db")
						require.NoError(t, os.WriteFile(path, b, 0o600))
						return open(t, path)
					},
				})
			})
		}
	}
}

// TestBoltRing_PackedGroups: groups of all sizes up to more than a segment come
// back from the ring, those that shrink by compression and those that do not.
func TestBoltRing_PackedGroups(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 7))
	e, err := openBolt(filepath.Join(t.TempDir(), "test.db"), ringOptions["Tiny"])
	require.NoError(t, err)
	for i, n := range []int{10, 50, 60, 70, 80, 90, 100, 110, 120, 140, 160, 200} {
		for _, shrinks := range []bool{true, false} {
			var writes []engine.Write
			for j := range n {
				w := boltWrite(fmt.Sprint("m", i, j, shrinks), 0, 1)
				if !shrinks {
					for k := range w.Events[0].Bytes {
						w.Events[0].Bytes[k] = byte(rng.Uint32())
					}
					rng.Shuffle(len(w.Head), func(a, b int) { w.Head[a], w.Head[b] = w.Head[b], byte(rng.Uint32()) })
				}
				writes = append(writes, w)
			}
			commitBolt(t, e, writes...)
			want := holds(t, e)
			path := copyBolt(t, e)
			killBolt(e)
			e, err = openBolt(path, ringOptions["Tiny"])
			require.NoError(t, err)
			require.Equal(t, want, holds(t, e))
		}
	}
	require.NoError(t, e.Close())
}

// TestBoltRing_Packed: a group is compressed in the ring where that takes fewer
// blocks of it, not where it does not, or where nobody wants it.
func TestBoltRing_Packed(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 7))
	random, words := make([]byte, 20_000), bytes.Repeat([]byte("word"), 5000)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for name, c := range map[string]struct {
		plain, packed bool
		event         []byte
	}{"shrinks": {false, true, words}, "does not shrink": {false, false, random}, "not wanted": {true, false, words}} {
		t.Run(name, func(t *testing.T) {
			o := boltOptions{ringBytes: 1 << 20, noCompression: c.plain}
			e, err := openBolt(filepath.Join(t.TempDir(), "test.db"), o)
			require.NoError(t, err)
			w := boltWrite("m", 0, 1)
			w.Events[0].Bytes = c.event
			commitBolt(t, e, w)
			require.Equal(t, c.packed, e.ring.group.Len() < len(c.event))
			want := holds(t, e)
			path := copyBolt(t, e)
			killBolt(e)
			require.Equal(t, want, holds(t, boltAt(t, path, o)))
		})
	}
}

// TestBoltRing_PackedDamage: a record that is whole and does not unpack is damage,
// not the end of the ring.
func TestBoltRing_PackedDamage(t *testing.T) {
	e, err := openBolt(filepath.Join(t.TempDir(), "test.db"), ringOptions["Small"])
	require.NoError(t, err)
	commitBolt(t, e, boltWrite("m", 0, 1))
	var g journal.Group
	g.Reset()
	_, err = g.Write([]byte{2, 0xff})
	require.NoError(t, err)
	_, err = e.ring.journal.Load().Append(&g)
	require.NoError(t, err)
	path := copyBolt(t, e)
	killBolt(e)
	_, err = openBolt(path, ringOptions["Small"])
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "record 2 of the journal")
}
