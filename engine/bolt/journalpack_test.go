package bolt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
)

// longStep returns a write of n events of 1 KiB each that compress well.
func longStep(expect uint64, n int) engine.Step {
	w := writeOf("a", expect, n)
	for i := range w.Events {
		w.Events[i].Bytes = bytes.Repeat(fmt.Appendf(nil, "record %08d ", expect+uint64(i)), 64)
	}
	return stepOf(w)
}

// TestJournal_Packs: a group takes fewer blocks of the journal if compression helps,
// and reads the same: from the memtable, after a kill, and after a checkpoint. A
// group that is shorter than a block is not compressed.
func TestJournal_Packs(t *testing.T) {
	blocks := map[bool]int64{}
	for _, raw := range []bool{false, true} {
		o := journalConfigs["Small"]
		o.noCompression = raw
		e := openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
		for i := range uint64(5) {
			require.NoError(t, commitSteps(e, longStep(21*i, 20)))
			require.NoError(t, commitSteps(e, stepOf(writeOf("a", 21*i+20, 1))))
		}
		want := holds(t, e)
		killed := copyFile(t, e)
		found := journalIn(t, killed)
		b, err := os.ReadFile(killed)
		require.NoError(t, err)
		s, err := journal.Scan(bytes.NewReader(b), found.place, found.id, found.salt, found.checkpointed)
		require.NoError(t, err)
		require.Len(t, s.Records(), 10)
		for i, r := range s.Records() {
			blocks[raw] += journal.Span(r.Length) / journal.Align
			require.Equal(t, i%2 == 0 && !raw, r.Payload[0] == 2, "record %d", i)
		}
		for _, o := range []config{{readOnly: true}, {noCompression: !raw, journalBytes: 1 << 20}, {}} {
			again := openAt(t, killed, o)
			require.Equal(t, want, holds(t, again))
			require.NoError(t, again.Close())
		}
	}
	require.EqualValues(t, 5*6+5, blocks[true])
	require.EqualValues(t, 5*1+5, blocks[false])
}

// TestJournal_PackedGroups: groups of all sizes up to more than a segment are read
// back from the journal, whether compression makes them shorter or not.
func TestJournal_PackedGroups(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(2, 7))
	e, err := openWith(filepath.Join(t.TempDir(), "test.db"), journalConfigs["Tiny"])
	require.NoError(t, err)
	for i, n := range []int{10, 50, 60, 70, 80, 90, 100, 110, 120, 140, 160, 200} {
		for _, shrinks := range []bool{true, false} {
			var writes []engine.Write
			for j := range n {
				w := writeOf(fmt.Sprint("m", i, j, shrinks), 0, 1)
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
			path := copyFile(t, e)
			killBolt(e)
			e, err = openWith(path, journalConfigs["Tiny"])
			require.NoError(t, err)
			require.Equal(t, want, holds(t, e))
		}
	}
	require.NoError(t, e.Close())
}

// TestJournal_PackedDamage: a record that is whole but cannot be unpacked is damage,
// and not the end of the journal.
func TestJournal_PackedDamage(t *testing.T) {
	e, err := openWith(filepath.Join(t.TempDir(), "test.db"), journalConfigs["Small"])
	require.NoError(t, err)
	commitBolt(t, e, writeOf("m", 0, 1))
	var g journal.Group
	g.Reset()
	_, err = g.Write([]byte{2, 0xff})
	require.NoError(t, err)
	_, err = e.journal.journal.Load().Append(&g)
	require.NoError(t, err)
	path := copyFile(t, e)
	killBolt(e)
	_, err = openWith(path, journalConfigs["Small"])
	require.ErrorIs(t, err, engine.ErrCorrupt)
	require.ErrorContains(t, err, "record 2 of the journal")
}

// TestJournal_CheckpointsByMemory: groups that compress well are checkpointed before they
// fill the journal, and a group waits while twice as much is in memory.
func TestJournal_CheckpointsByMemory(t *testing.T) {
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), journalConfigs["Small"])
	seq, done := uint64(0), make(chan error)
	held := func(fn func()) { // no checkpoint meanwhile
		e.journal.checkpointing.Lock()
		defer e.journal.checkpointing.Unlock()
		fn()
	}
	until := func(enough func() bool, most uint64) {
		for most += seq; !enough(); seq += 20 {
			require.Less(t, seq, most)
			require.NoError(t, commitSteps(e, longStep(seq, 20)))
		}
	}
	held(func() {
		until(e.journal.checkpointDue, 500)
		require.Greater(t, seq<<10, uint64(journalConfigs["Small"].journalBytes))
		s := e.journal.journal.Load().State()
		require.Greater(t, s.Free, s.Segments/2)
	})
	require.Eventually(t, func() bool { return e.journal.journal.Load().State().Checkpointed > 0 }, time.Minute, time.Millisecond)
	held(func() {
		until(e.journal.overBudget, 1000)
		require.Positive(t, e.journal.journal.Load().State().Free)
		go func() { done <- commitSteps(e, longStep(seq, 20)) }()
		select {
		case <-done:
			t.Error("it does not wait for the checkpoint")
			close(done)
		case <-time.After(50 * time.Millisecond):
		}
	})
	require.NoError(t, <-done)
}
