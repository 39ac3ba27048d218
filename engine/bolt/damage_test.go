package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
)

var everything = engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Events: true, To: engine.All}

// writeOf returns a write of n events after seq expect.
func writeOf(machine string, expect uint64, n int, snapshots ...uint64) engine.Write {
	w := engine.Write{Machine: machine, Kind: 1, Schema: 2, Expect: expect, Seq: expect + uint64(n), Head: []byte("head of " + machine)}
	for i := range n {
		w.Events = append(w.Events, engine.Event{Bytes: fmt.Appendf(nil, "event %d of %s", expect+uint64(i)+1, machine)})
	}
	for _, seq := range snapshots {
		w.Snapshots = append(w.Snapshots, engine.Snapshot{Seq: seq, Bytes: fmt.Appendf(nil, "snapshot %d of %s", seq, machine)})
	}
	return w
}

func stepOf(ws ...engine.Write) engine.Step { return engine.Step{Writes: ws} }

func commitSteps(e *Engine, steps ...engine.Step) error {
	out := make([]engine.Result, len(steps))
	if err := e.Commit(context.Background(), steps, out); err != nil {
		return err
	}
	for _, r := range out {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// readAll returns what a Load delivers as text, one item a line, the head last.
func readAll(e *Engine, machine string) (items []string, err error) {
	h, err := e.Load(context.Background(), machine, everything, func(it engine.Item) error {
		line := fmt.Sprintf("%d:%d:%d %s", it.Part, it.Seq, it.Pos, it.Bytes)
		if it.Err != nil {
			line = fmt.Sprintf("damaged %d:%d-%d", it.Part, it.Seq, it.Last)
			if !errors.Is(it.Err, engine.ErrDamaged) {
				line = "wrong error: " + it.Err.Error()
			}
		}
		items = append(items, line)
		return nil
	})
	if err == nil {
		items = append(items, fmt.Sprintf("head %d %d %d %s", h.Number, h.Seq, h.Pos, h.Bytes))
	}
	return items, err
}

// change rewrites a closed file with bbolt itself.
func change(t testing.TB, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(fn))
	require.NoError(t, db.Close())
}

// sampleFile makes a closed file with machines "a" and "b"; "a" has blocks at 1, 6
// and 8 and a long snapshot.
func sampleFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 5, 0, 5)), stepOf(writeOf("b", 0, 3, 0))))
	more := writeOf("a", 5, 2)
	more.Schema++ // so that the block before is not extended
	require.NoError(t, commitSteps(e, stepOf(more)))
	long := writeOf("a", 7, 1)
	r := rand.New(rand.NewPCG(5, 5))
	bytes := make([]byte, 6000)
	for i := range bytes {
		bytes[i] = byte(r.Uint32())
	}
	long.Snapshots = []engine.Snapshot{{Seq: 8, Bytes: bytes}}
	require.NoError(t, commitSteps(e, stepOf(long)))
	require.NoError(t, e.SetNote(context.Background(), "n", []byte("note")))
	require.NoError(t, e.Close())
	return path
}

func readEverything(t testing.TB, path string) map[string][]string {
	t.Helper()
	e, err := openWith(path, config{readOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	all := map[string][]string{}
	for _, m := range []string{"a", "b"} {
		items, err := readAll(e, m)
		if err != nil {
			items = append(items, "damaged head")
			require.ErrorIs(t, err, engine.ErrDamaged)
		}
		all[m] = items
	}
	return all
}

// TestDamage_EachByte changes each byte of each value of a machine and
// checks that
//  1. every item that is delivered is as it was written;
//  2. every other item is reported as damaged, or the head is;
//  3. the other machine is as it was.
func TestDamage_EachByte(t *testing.T) {
	t.Parallel()
	path := sampleFile(t)
	good := readEverything(t, path)
	type place struct {
		bucket, key string
		size        int
	}
	var places []place
	change(t, path, func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bucketMachines, bucketEvents, bucketSnapshots} {
			require.NoError(t, tx.Bucket(b).ForEach(func(k, v []byte) error {
				if string(k) == "a" || bytes.HasPrefix(k, []byte{0, 0, 0, 0, 0, 0, 0, 1}) {
					places = append(places, place{string(b), string(k), len(v)})
				}
				return nil
			}))
		}
		return nil
	})
	require.Len(t, places, 1+3+2+4)
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	for _, p := range places {
		step := max(1, p.size/97)
		if p.size < 300 {
			step = 1
		}
		for at := 0; at < p.size; at += step {
			var was []byte
			flip := func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(p.bucket))
				if was != nil {
					return b.Put([]byte(p.key), was)
				}
				was = bytes.Clone(b.Get([]byte(p.key)))
				bad := bytes.Clone(was)
				bad[at] ^= byte(1 + rand.IntN(255))
				return b.Put([]byte(p.key), bad)
			}
			require.NoError(t, db.Update(flip))
			e := &Engine{path: path, opt: config{}.withDefaults(), handle: &handle{db}}
			e.loaders.New = func() any { return new(loader) }
			got, err := readAll(e, "a")
			damaged := err != nil
			if err != nil {
				require.ErrorIs(t, err, engine.ErrDamaged)
				got = append(got, good["a"][len(good["a"])-1])
			}
			for _, line := range got {
				if len(line) > 7 && line[:7] == "damaged" {
					damaged = true
				} else {
					require.Contains(t, good["a"], line, "%s %x byte %d: delivered what was not written", p.bucket, p.key, at)
				}
			}
			require.True(t, damaged, "%s %x byte %d: silent", p.bucket, p.key, at)
			b, err := readAll(e, "b")
			require.NoError(t, err)
			require.Equal(t, good["b"], b)
			require.NoError(t, db.Update(flip))
		}
	}
	require.NoError(t, db.Close())
	require.Equal(t, good, readEverything(t, path))
}

// TestDamage_Moved moves, copies and removes whole values.
func TestDamage_Moved(t *testing.T) {
	key := func(number, seq uint64) []byte { return appendValueKey(nil, number, seq) }
	for name, c := range map[string]struct {
		change  func(tx *bbolt.Tx) error
		machine string
		want    string
	}{
		"block to another seq": {func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketEvents)
			return errors.Join(b.Put(key(1, 4), bytes.Clone(b.Get(key(1, 6)))), b.Delete(key(1, 6)))
		}, "a", "damaged 2:4-7"},
		"block to another machine": {func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketEvents)
			return b.Put(key(2, 1), bytes.Clone(b.Get(key(1, 1))))
		}, "b", "damaged 2:1-3"},
		"snapshot as block": {func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketEvents).Put(key(1, 8), bytes.Clone(tx.Bucket(bucketSnapshots).Get(key(1, 5))))
		}, "a", "damaged 2:8-8"},
		"snapshot to another seq": {func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketSnapshots)
			return b.Put(key(1, 5), bytes.Clone(b.Get(key(1, 0))))
		}, "a", "damaged 1:5-5"},
		"missing piece": {func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketSnapshots).Delete(appendPieceKey(nil, 1, 8, 2))
		}, "a", "damaged 1:8-8"},
		"missing first piece": {func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketSnapshots).Delete(key(1, 8))
		}, "a", "damaged 1:8-8"},
		"missing last piece": {func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketSnapshots).Delete(appendPieceKey(nil, 1, 8, 3))
		}, "a", "damaged 1:8-8"},
		"swapped pieces": {func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketSnapshots)
			one, two := bytes.Clone(b.Get(appendPieceKey(nil, 1, 8, 1))), bytes.Clone(b.Get(appendPieceKey(nil, 1, 8, 2)))
			return errors.Join(b.Put(appendPieceKey(nil, 1, 8, 1), two), b.Put(appendPieceKey(nil, 1, 8, 2), one))
		}, "a", "damaged 1:8-8"},
		"head to another machine": {func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketMachines)
			return b.Put([]byte("b"), bytes.Clone(b.Get([]byte("a"))))
		}, "b", "damaged head"},
	} {
		t.Run(name, func(t *testing.T) {
			path := sampleFile(t)
			good := readEverything(t, path)
			change(t, path, c.change)
			got := readEverything(t, path)
			assert.Contains(t, got[c.machine], c.want)
			for m, lines := range got {
				for _, line := range lines {
					if line[:7] != "damaged" {
						assert.Contains(t, good[m], line)
					}
				}
			}
			checkBolt(t, path)
		})
	}
}

func TestDamage_HeadIsRebuilt(t *testing.T) {
	path := sampleFile(t)
	change(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMachines)
		v := bytes.Clone(b.Get([]byte("a")))
		v[len(v)-1] ^= 1
		return b.Put([]byte("a"), v)
	})
	e := openAt(t, path, config{})
	items, err := readAll(e, "a")
	require.ErrorIs(t, err, engine.ErrDamaged)
	assert.Len(t, items, 3+8, "the items are found by the number")
	var heads []engine.Head
	require.NoError(t, e.Scan(context.Background(), "", "", 0, func(_ string, h engine.Head) error {
		h.Bytes = nil
		heads = append(heads, h)
		return nil
	}))
	require.ErrorIs(t, heads[0].Err, engine.ErrDamaged)
	require.NoError(t, heads[1].Err)
	// Its head counts as being at the newest item.
	var conflict *engine.Conflict
	require.ErrorAs(t, commitSteps(e, stepOf(writeOf("a", 7, 1))), &conflict)
	assert.Equal(t, uint64(8), conflict.Have)
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 8, 1))))
	items, err = readAll(e, "a")
	require.NoError(t, err)
	assert.Len(t, items, 3+9+1)
	assert.Contains(t, items[len(items)-1], "head 1 9 ")
	size, err := e.Size(context.Background())
	require.NoError(t, err)
	assert.Equal(t, int64(2), size.Machines)
}

func TestDamage_CountersAreRebuilt(t *testing.T) {
	for name, bad := range map[string]func(tx *bbolt.Tx) error{
		"missing": func(tx *bbolt.Tx) error { return tx.Bucket(bucketCounters).Delete(countersLast) },
		"flipped": func(tx *bbolt.Tx) error {
			v := bytes.Clone(tx.Bucket(bucketCounters).Get(countersLast))
			v[len(v)-1]++
			return tx.Bucket(bucketCounters).Put(countersLast, v)
		},
		"gone back": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketCounters).Put(countersLast, (&fileCounters{number: 1, pos: 1}).append(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := sampleFile(t)
			change(t, path, bad)
			for range 2 { // the second opening finds them stored
				e, err := openWith(path, config{})
				require.NoError(t, err)
				assert.Greater(t, e.counters.number, uint64(2))
				assert.Greater(t, e.counters.pos, uint64(11))
				assert.Equal(t, uint64(2), e.counters.machines)
				require.NoError(t, e.Close())
			}
		})
	}
}

func TestDamage_Note(t *testing.T) {
	path := sampleFile(t)
	key := []byte(metaNote + "n")
	change(t, path, func(tx *bbolt.Tx) error {
		v := bytes.Clone(tx.Bucket(bucketMeta).Get(key))
		return tx.Bucket(bucketMeta).Put([]byte(metaNote+"other"), v)
	})
	e := openAt(t, path, config{})
	note, err := e.Note(context.Background(), "n")
	require.NoError(t, err)
	assert.Equal(t, "note", string(note))
	_, err = e.Note(context.Background(), "other")
	require.ErrorIs(t, err, engine.ErrCorrupt)
}
