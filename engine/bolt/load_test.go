package bolt

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// TestLoad_LongOnesAreOfOneMoment reads a machine in many transactions while
// it changes. It checks that
//  1. what is appended meanwhile is left out, and the load is complete;
//  2. a load ends with an error if something is removed before it is read;
//  3. removing what the load does not need any more changes nothing.
func TestLoad_LongOnesAreOfOneMoment(t *testing.T) {
	const events = 300
	trim := writeOf("a", events, 0)
	trim.TrimTo = 250
	drop := writeOf("a", events, 0)
	drop.Drop = []uint64{events}
	replace := writeOf("a", events, 0, 7)
	purge := writeOf("a", events, 0)
	purge.Purge = true
	for name, c := range map[string]struct {
		change []engine.Step
		at     engine.Part // the change comes with the first item of this part
		fails  bool
	}{
		"append while events are read":              {[]engine.Step{stepOf(writeOf("a", events, 50))}, engine.PartEvent, false},
		"append and snapshot, snapshots are read":   {[]engine.Step{stepOf(writeOf("a", events, 50, events+50))}, engine.PartSnapshot, false},
		"trim while events are read":                {[]engine.Step{stepOf(trim)}, engine.PartEvent, true},
		"trim while snapshots are read":             {[]engine.Step{stepOf(trim)}, engine.PartSnapshot, true},
		"drop while events are read":                {[]engine.Step{stepOf(drop)}, engine.PartEvent, false},
		"drop while snapshots are read":             {[]engine.Step{stepOf(drop)}, engine.PartSnapshot, true},
		"old snapshot stored, snapshots are read":   {[]engine.Step{stepOf(replace)}, engine.PartSnapshot, true},
		"old snapshot stored while events are read": {[]engine.Step{stepOf(replace)}, engine.PartEvent, false},
		"purge":               {[]engine.Step{stepOf(purge)}, engine.PartEvent, true},
		"purge and a new one": {[]engine.Step{stepOf(purge), stepOf(writeOf("a", 0, events))}, engine.PartEvent, true},
		"change of another":   {[]engine.Step{stepOf(writeOf("b", 0, 10))}, engine.PartEvent, false},
	} {
		for _, newest := range []bool{false, true} {
			t.Run(fmt.Sprint(name, newest), func(t *testing.T) {
				e := openAt(t, filepath.Join(t.TempDir(), "test.db"), config{readBytes: 500, noCompression: true})
				w := writeOf("a", 0, events)
				for seq := uint64(0); seq <= events; seq += 10 {
					w.Snapshots = append(w.Snapshots, engine.Snapshot{Seq: seq, Bytes: fmt.Appendf(nil, "snapshot %d", seq)})
				}
				require.NoError(t, commitSteps(e, stepOf(w)))
				want := everything
				want.Newest = newest
				var got []uint64
				done := false
				h, err := e.Load(context.Background(), "a", want, func(it engine.Item) error {
					require.NoError(t, it.Err)
					if it.Part == c.at && !done {
						done = true
						require.NoError(t, commitSteps(e, c.change...))
					}
					if it.Part == engine.PartEvent {
						require.Equal(t, fmt.Sprintf("event %d of a", it.Seq), string(it.Bytes))
						got = append(got, it.Seq)
					}
					return nil
				})
				require.True(t, done)
				if c.fails {
					require.ErrorIs(t, err, engine.ErrChanged)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, uint64(events), h.Seq)
				require.Len(t, got, events)
				for i, seq := range got {
					if newest {
						assert.Equal(t, uint64(events-i), seq)
					} else {
						assert.Equal(t, uint64(i+1), seq)
					}
				}
			})
		}
	}
}

// TestLoad_RestoredMeanwhile: a load that takes several transactions ends with an
// error if trimmed events are restored while it reads, even though the file has no
// event that the restore replaces.
func TestLoad_RestoredMeanwhile(t *testing.T) {
	const events, trimmed = 300, 100
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), config{readBytes: 500, noCompression: true})
	w := writeOf("a", 0, events)
	require.NoError(t, commitSteps(e, stepOf(w)))
	trim := writeOf("a", events, 0)
	trim.TrimTo = trimmed
	require.NoError(t, commitSteps(e, stepOf(trim)))
	restore := writeOf("a", events, 0)
	for seq := uint64(50); seq <= trimmed; seq++ {
		restore.Restore = append(restore.Restore, engine.StoredEvent{Seq: seq, Pos: seq, Event: w.Events[seq-1]})
	}
	want := everything
	want.Newest = true
	done := false
	_, err := e.Load(context.Background(), "a", want, func(it engine.Item) error {
		if it.Part == engine.PartEvent && !done {
			done = true
			require.NoError(t, commitSteps(e, stepOf(restore)))
		}
		return it.Err
	})
	require.True(t, done)
	require.ErrorIs(t, err, engine.ErrChanged)
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Len(t, items, events-50+1+1, "the events from 50 on, and the head")
}

// TestTrim_ManyInOneGroup trims machines with adjacent numbers in one
// transaction: pages that one trim empties must not hide blocks from the next trim.
func TestTrim_ManyInOneGroup(t *testing.T) {
	const machines, events, to = 30, 60, 50
	e := openAt(t, filepath.Join(t.TempDir(), "test.db"), config{})
	name := func(m int) string { return fmt.Sprint("m", m) }
	for i := range uint64(events) { // each in a block of its own
		var steps []engine.Step
		for m := range machines {
			steps = append(steps, stepOf(writeOf(name(m), i, 1)))
		}
		require.NoError(t, commitSteps(e, steps...))
	}
	var steps []engine.Step
	for m := machines - 1; m >= 0; m-- {
		w := writeOf(name(m), events, 0)
		w.TrimTo = to
		w.Purge = m%3 == 1
		if m%3 == 2 {
			w.TrimTo = events
		}
		steps = append(steps, stepOf(w))
	}
	require.NoError(t, commitSteps(e, steps...))
	for m := range machines {
		items, err := readAll(e, name(m))
		require.NoError(t, err)
		if m%3 == 1 {
			require.Equal(t, []string{"head 0 0 0 "}, items)
			continue
		}
		if m%3 == 2 {
			require.Len(t, items, 1, "only the head is left")
			continue
		}
		require.Len(t, items, events-to+1)
		require.Contains(t, items[0], fmt.Sprintf("event %d of %s", to+1, name(m)))
	}
}
