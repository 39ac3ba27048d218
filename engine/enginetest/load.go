package enginetest

import (
	"errors"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

func testNothing(s *subject) {
	nothing := func() {
		s.t.Helper()
		for _, machine := range []string{"nobody", "a\x00", "", "\xff"} {
			h, items := s.load(machine, everything)
			require.Equal(s.t, engine.Head{}, h)
			require.Empty(s.t, items)
		}
	}
	nothing()
	require.Empty(s.t, s.scan("", "", 0))
	s.store(grow("a", 0, 1))
	nothing()
}

// newestFirst reverses the snapshots and the events, and returns both.
func newestFirst(snapshots, events []item) []item {
	snapshots, events = slices.Clone(snapshots), slices.Clone(events)
	slices.Reverse(snapshots)
	slices.Reverse(events)
	return slices.Concat(snapshots, events)
}

func testRange(s *subject) {
	// After is excluded, To included; in one write and over several.
	const n = 12
	var single []engine.Write
	for seq := range uint64(n) {
		single = append(single, grow("single", seq, 1))
	}
	s.store(single...)
	s.store(grow("block", 0, n))
	s.store(grow("mixed", 0, 5), grow("mixed", 5, 1), grow("mixed", 6, 6))
	s.store(with(growTo("holes", 0, 4, 2), 4), growTo("holes", 4, 9, 2), growTo("holes", 9, n, 1))
	for _, machine := range []string{"single", "block", "mixed", "holes"} {
		h, all := s.load(machine, engine.LoadRange{Events: true, To: engine.All})
		require.Equal(s.t, uint64(n), h.Seq)
		for after := range uint64(n + 3) {
			for _, to := range []uint64{0, 1, after, after + 1, after + 5, n - 1, n, n + 1, engine.All} {
				var want []item
				for _, it := range all {
					if it.seq > after && it.seq <= to {
						want = append(want, it)
					}
				}
				got, items := s.load(machine, engine.LoadRange{Events: true, After: after, To: to})
				require.Equal(s.t, h, got)
				require.Equal(s.t, want, items, "%s %d..%d", machine, after, to)
				_, items = s.load(machine, engine.LoadRange{Events: true, After: after, To: to, Newest: true})
				require.Equal(s.t, newestFirst(nil, want), items, "%s %d..%d newest first", machine, after, to)
			}
		}
		_, items := s.load(machine, engine.LoadRange{Events: true, After: engine.All, To: engine.All})
		require.Empty(s.t, items)
		got, items := s.load(machine, engine.LoadRange{To: engine.All})
		require.Equal(s.t, h, got)
		require.Empty(s.t, items, "events not wanted")
	}
}

func testSnapshots(s *subject) {
	pos := s.store(with(grow("a", 0, 3), 0), with(grow("a", 3, 3), 6), grow("a", 6, 3), with(grow("b", 0, 1), 1))
	want := func(seqs ...uint64) {
		s.t.Helper()
		_, items := s.load("a", engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All})
		require.Equal(s.t, snapshotItems("a", seqs...), items)
		for to := range uint64(12) {
			var kept []uint64
			for _, seq := range seqs {
				if seq <= to {
					kept = append(kept, seq)
				}
			}
			_, items := s.load("a", engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: to})
			require.Equal(s.t, snapshotItems("a", kept...), items, "every snapshot to %d", to)
			_, items = s.load("a", engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: to, Newest: true})
			require.Equal(s.t, newestFirst(snapshotItems("a", kept...), nil), items)
			_, items = s.load("a", engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: to})
			require.Equal(s.t, snapshotItems("a", kept[max(0, len(kept)-1):]...), items, "newest snapshot to %d", to)
		}
		_, items = s.load("a", engine.LoadRange{Snapshot: engine.NoSnapshot, SnapshotTo: engine.All})
		require.Empty(s.t, items)
	}
	want(0, 6)
	// Later ones at earlier seqs, and several in one write.
	s.store(with(growTo("a", 9, 9, 0), 9, 2, 4))
	want(0, 2, 4, 6, 9)
	// Drop removes snapshots; it skips those that do not exist, and those of other
	// machines.
	w := growTo("a", 9, 9, 0)
	w.Drop = []uint64{6, 7, 1, 0, 6, engine.All}
	s.store(w)
	want(2, 4, 9)
	s.reopen()
	want(2, 4, 9)
	_, items := s.load("b", everything)
	require.Equal(s.t, append(snapshotItems("b", 1), eventItems("b", 1, 1, pos[3])...), items)

	// A snapshot replaces one of the same seq; of one write the last one wins.
	w = growTo("a", 9, 9, 0)
	w.Snapshots = []engine.Snapshot{{Seq: 4, Bytes: []byte("lost")}, {Seq: 4, Bytes: []byte("longer than the one before, and other bytes")}, {Seq: 9}}
	s.store(w)
	replaced := []item{snapshotItems("a", 2)[0], {engine.PartSnapshot, 4, 0, "longer than the one before, and other bytes"}, {engine.PartSnapshot, 9, 0, ""}}
	_, items = s.load("a", engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All})
	require.Equal(s.t, replaced, items)
	// Drop comes before Snapshots.
	w = growTo("a", 9, 9, 0)
	w.Drop = []uint64{9, 4, 5}
	s.store(with(w, 9, 5))
	want(2, 5, 9)
	_, items = s.load("a", engine.LoadRange{Events: true, To: engine.All})
	require.Equal(s.t, eventItems("a", 1, 9, pos[2]), items, "the events are untouched")
}

func testNewest(s *subject) {
	pos := s.store(with(grow("a", 0, 4), 0), with(grow("a", 4, 6), 5), with(grow("a", 10, 2), 12))[2]
	for _, c := range []struct {
		want      engine.LoadRange
		snapshots []uint64
		first     uint64 // event
		last      uint64
	}{
		{engine.LoadRange{SnapshotTo: engine.All, To: engine.All}, []uint64{12}, 13, 12},
		{engine.LoadRange{SnapshotTo: 12, To: engine.All}, []uint64{12}, 13, 12},
		{engine.LoadRange{SnapshotTo: 11, To: engine.All}, []uint64{5}, 6, 12},
		{engine.LoadRange{SnapshotTo: 5, To: 8}, []uint64{5}, 6, 8},
		{engine.LoadRange{SnapshotTo: 5, To: 5}, []uint64{5}, 6, 5},
		{engine.LoadRange{SnapshotTo: 5, To: 3}, []uint64{5}, 6, 5},
		{engine.LoadRange{SnapshotTo: 4, To: 4}, []uint64{0}, 1, 4},
		{engine.LoadRange{SnapshotTo: 0, To: 2}, []uint64{0}, 1, 2},
		{engine.LoadRange{SnapshotTo: 11, After: 2, To: engine.All}, []uint64{5}, 6, 12},
		{engine.LoadRange{SnapshotTo: 11, After: 9, To: engine.All}, []uint64{5}, 10, 12},
		{engine.LoadRange{SnapshotTo: 11, After: 9, To: 10}, []uint64{5}, 10, 10},
		{engine.LoadRange{SnapshotTo: 11, After: 12, To: engine.All}, []uint64{5}, 13, 12},
	} {
		c.want.Snapshot, c.want.Events = engine.NewestSnapshot, true
		snapshots, events := snapshotItems("a", c.snapshots...), eventItems("a", c.first, c.last, pos-(12-c.last))
		_, items := s.load("a", c.want)
		require.Equal(s.t, slices.Concat(snapshots, events), items, "%+v", c.want)
		c.want.Newest = true
		_, items = s.load("a", c.want)
		require.Equal(s.t, newestFirst(snapshots, events), items, "%+v", c.want)
		// EverySnapshot does not change After.
		c.want.Snapshot, c.want.Newest = engine.EverySnapshot, false
		_, items = s.load("a", c.want)
		events = slices.DeleteFunc(eventItems("a", 1, 12, pos), func(it item) bool { return it.seq <= c.want.After || it.seq > c.want.To })
		items = slices.DeleteFunc(items, func(it item) bool { return it.part == engine.PartSnapshot })
		require.True(s.t, slices.Equal(events, items), "%+v: %v", c.want, items)
	}
	// If no snapshot is found, After does not change.
	w := growTo("a", 12, 12, 0)
	w.Drop = []uint64{0}
	s.store(w)
	_, items := s.load("a", engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: 4, Events: true, After: 1, To: 3})
	require.Equal(s.t, eventItems("a", 2, 3, pos-9), items)
}

func testLoadStop(s *subject) {
	s.store(with(grow("a", 0, 40), 0, 10, 20))
	h, all := s.load("a", everything)
	require.Len(s.t, all, 43)
	own := errors.New("own")
	for _, newest := range []bool{false, true} {
		want := everything
		want.Newest = newest
		for at := range all {
			n := 0
			got, err := s.e.Load(s.ctx(), "a", want, func(engine.Item) error {
				if n++; n > at {
					return engine.Stop
				}
				return nil
			})
			require.NoError(s.t, err)
			require.Equal(s.t, h, got, "the head is returned after Stop too")
			require.Equal(s.t, at+1, n)

			n = 0
			_, err = s.e.Load(s.ctx(), "a", want, func(engine.Item) error {
				if n++; n > at {
					return own
				}
				return nil
			})
			require.ErrorIs(s.t, err, own)
			require.Equal(s.t, at+1, n)
		}
	}
}

func testHead(s *subject) {
	// The head's bytes are the caller's, which may change them, as load does. Here
	// they are also kept while the machine is written.
	pos := s.store(grow("a", 0, 1))
	s.load("a", everything)
	first, err := s.e.Load(s.ctx(), "a", engine.LoadRange{}, func(engine.Item) error { return errors.New("nothing was wanted") })
	require.NoError(s.t, err)
	require.Equal(s.t, headAt("a", first.Number, 1, pos[0]), first)
	for seq := range uint64(20) {
		s.store(grow("a", seq+1, 1))
	}
	s.reopen()
	require.Equal(s.t, headAt("a", first.Number, 1, pos[0]), first)
	h, _ := s.load("a", engine.LoadRange{})
	require.Equal(s.t, first.Number, h.Number, "a machine keeps its number")
	require.Equal(s.t, headBytes("a", 21), h.Bytes)
}
