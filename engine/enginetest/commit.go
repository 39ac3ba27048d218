package enginetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

func testGroup(s *subject) {
	out, err := commit(s.ctx(), s.e, nil)
	require.NoError(s.t, err, "a group of no steps")
	require.Empty(s.t, out)

	pos := s.store(grow("a", 0, 1), grow("b", 0, 3), grow("c", 0, 2))
	for i, machine := range []string{"a", "b", "c"} {
		seq := []uint64{1, 3, 2}[i]
		h, items := s.load(machine, everything)
		require.NotZero(s.t, h.Number)
		require.Equal(s.t, headAt(machine, h.Number, seq, pos[i]), h)
		require.Equal(s.t, eventItems(machine, 1, seq, pos[i]), items)
	}
}

func testChain(s *subject) {
	// A step sees what earlier steps of the same group have stored.
	var writes []engine.Write
	for seq := range uint64(50) {
		writes = append(writes, grow("a", seq, 1))
	}
	writes = append(writes, purge("a", 50), purge("a", 0), grow("a", 0, 4), grow("a", 4, 1))
	s.store(writes[:10]...)
	first, _ := s.load("a", everything)
	pos := s.store(writes[10:]...)
	h, items := s.load("a", everything)
	require.NotEqual(s.t, first.Number, h.Number)
	require.Equal(s.t, eventItems("a", 1, 5, pos[len(pos)-1]), items)

	// A step that expects the result of a refused step is refused too, and one that
	// expects the stored seq is not.
	out := s.commit(step(grow("a", 6, 1)), step(grow("a", 7, 1)), step(grow("a", 5, 1)))
	requireConflict(s, out[0], "a", 6, 5)
	requireConflict(s, out[1], "a", 7, 5)
	require.NoError(s.t, out[2].Err)
}

func requireConflict(s *subject, r engine.Result, machine string, want, have uint64) {
	s.t.Helper()
	var c *engine.Conflict
	require.ErrorAs(s.t, r.Err, &c)
	require.Equal(s.t, engine.Conflict{Machine: machine, Want: want, Have: have}, *c)
	require.Nil(s.t, r.Pos)
}

func testPoison(s *subject) {
	// 1,000 groups with one invalid step each: only that step is refused.
	const groups, machines = 1000, 5
	var seqs, poss [machines]uint64
	for g := range groups {
		var steps []engine.Step
		for m := range machines {
			steps = append(steps, step(grow(fmt.Sprint("m", m), seqs[m], 1)))
		}
		victim := g % machines
		bad := grow(fmt.Sprint("m", victim), seqs[victim]+1, 2)
		switch g % 3 {
		case 1:
			bad = grow("nobody", 9, 1)
		case 2:
			bad = growTo("nobody", 0, 2, 2)
			bad.Seq = 1
		}
		at := g % (machines + 1)
		if g%3 == 0 && at > victim {
			bad.Expect, bad.Seq = seqs[victim], seqs[victim]+2 // out of date after the good step before it
		}
		steps = slices.Insert(steps, at, step(bad))
		out := s.commit(steps...)
		require.Error(s.t, out[at].Err, "group %d", g)
		require.Nil(s.t, out[at].Pos)
		out = slices.Delete(out, at, at+1)
		for m, r := range out {
			require.NoError(s.t, r.Err, "group %d, machine %d", g, m)
			require.Len(s.t, r.Pos, 1)
			seqs[m]++
			poss[m] = r.Pos[0]
		}
	}
	for m := range machines {
		machine := fmt.Sprint("m", m)
		h, items := s.load(machine, everything)
		require.Equal(s.t, headAt(machine, h.Number, groups, poss[m]), h)
		require.Len(s.t, items, groups)
		for i, it := range items {
			require.Equal(s.t, uint64(i+1), it.seq)
			require.Equal(s.t, string(eventBytes(machine, it.seq)), it.bytes)
		}
	}
	require.Len(s.t, s.scan("", "", 0), machines)
}

func testConflict(s *subject) {
	s.store(grow("a", 0, 3))
	before := s.all()
	for _, expect := range []uint64{0, 1, 2, 4, 1 << 32, engine.All - 2} {
		out := s.commit(step(grow("a", expect, 1)), step(purge("a", expect)))
		requireConflict(s, out[0], "a", expect, 3)
		requireConflict(s, out[1], "a", expect, 3)
	}
	for _, expect := range []uint64{1, 3, 1 << 32} {
		out := s.commit(step(grow("b", expect, 1)), step(purge("b", expect)))
		requireConflict(s, out[0], "b", expect, 0)
		requireConflict(s, out[1], "b", expect, 0)
	}
	require.Equal(s.t, before, s.all())
}

func testBrokenRules(s *subject) {
	s.store(grow("a", 0, 3))
	before := s.all()
	broken := map[string]engine.Write{
		"no key":             grow("", 0, 1),
		"purge without key":  purge("", 0),
		"seq 0":              growTo("b", 0, 0, 0),
		"seq before expect":  {Machine: "a", Expect: 3, Seq: 2},
		"seq before events":  grow("a", 3, 2),
		"snapshot after seq": with(grow("a", 3, 1), 5),
		"trim after seq":     grow("a", 3, 1),
		"seq 0 and snapshot": with(growTo("b", 0, 0, 0), 0),
	}
	w := broken["seq before events"]
	w.Seq = 4
	broken["seq before events"] = w
	w = broken["trim after seq"]
	w.TrimTo = 5
	broken["trim after seq"] = w
	for name, w := range broken {
		out := s.commit(step(w))
		var c *engine.Conflict
		require.Error(s.t, out[0].Err, name)
		require.False(s.t, errors.As(out[0].Err, &c), "%s: %v", name, out[0].Err)
		require.Nil(s.t, out[0].Pos, name)
		require.Equal(s.t, before, s.all(), name)
	}
}

func testWhole(s *subject) {
	if !s.e.Limits().AtomicAcross {
		out := s.commit(step(grow("a", 0, 1), grow("b", 0, 1)), step(grow("c", 0, 1)))
		require.ErrorIs(s.t, out[0].Err, engine.ErrUnsupported)
		require.Nil(s.t, out[0].Pos)
		require.NoError(s.t, out[1].Err)
		require.Equal(s.t, []string{"c"}, s.scanKeys("", "", 0))
		return
	}
	// A step of three machines is stored as a whole, with positions in the order of
	// its writes.
	out := s.commit(step(grow("c", 0, 2), grow("a", 0, 1), grow("b", 0, 3)))
	require.NoError(s.t, out[0].Err)
	pos := out[0].Pos
	require.Len(s.t, pos, 3)
	require.Less(s.t, pos[0], pos[1])
	require.Less(s.t, pos[1]+2, pos[2])
	for i, machine := range []string{"c", "a", "b"} {
		seq := []uint64{2, 1, 3}[i]
		h, items := s.load(machine, everything)
		require.Equal(s.t, headAt(machine, h.Number, seq, pos[i]), h)
		require.Equal(s.t, eventItems(machine, 1, seq, pos[i]), items)
	}

	// One refused write makes the whole step refused, wherever it is in the step:
	// no event, snapshot, head, drop, trim, purge or machine of it is stored.
	third := s.store(with(grow("a", 1, 2), 0, 2))[0]
	before := s.all()
	rich := with(grow("a", 3, 1), 4)
	rich.Drop = []uint64{0, 2}
	rich.TrimTo = 2
	good := []engine.Write{rich, purge("b", 3), grow("new", 0, 1)}
	tooShort := grow("c", 2, 2)
	tooShort.Seq = 3
	for _, bad := range []engine.Write{grow("c", 1, 1), purge("c", 1), grow("d", 1, 1), tooShort, grow("", 0, 1)} {
		for at := range len(good) + 1 {
			out := s.commit(step(slices.Insert(slices.Clone(good), at, bad)...), step(grow("beside", 0, 1)), step(purge("beside", 1)))
			require.Error(s.t, out[0].Err)
			require.Nil(s.t, out[0].Pos)
			require.NoError(s.t, out[1].Err)
			require.NoError(s.t, out[2].Err)
			require.Equal(s.t, before, s.all())
		}
	}
	out = s.commit(step(good...))
	require.NoError(s.t, out[0].Err)
	require.Equal(s.t, []string{"a", "c", "new"}, s.scanKeys("", "", 0))
	s.reopen()
	_, items := s.load("a", everything)
	require.Equal(s.t, slices.Concat(snapshotItems("a", 4), eventItems("a", 3, 3, third), eventItems("a", 4, 4, out[0].Pos[0])), items)
}

func testTwice(s *subject) {
	s.across()
	s.store(grow("a", 0, 1))
	before := s.all()
	for _, writes := range [][]engine.Write{
		{grow("a", 1, 1), grow("a", 2, 1)},
		{grow("a", 1, 1), grow("b", 0, 1), grow("a", 1, 1)},
		{grow("a", 1, 1), purge("a", 2)},
		{purge("a", 1), grow("a", 0, 1)},
		{grow("b", 0, 1), grow("b", 0, 1)},
	} {
		out := s.commit(step(writes...))
		require.Error(s.t, out[0].Err)
		require.Nil(s.t, out[0].Pos)
		require.Equal(s.t, before, s.all())
	}
}

func testSkipped(s *subject) {
	// A machine may start at any seq and skip seqs; skipped seqs occupy their
	// positions and have no event.
	pos := s.store(with(growTo("fork", 0, 1000, 1), 999), grow("other", 0, 1), grow("fork", 1000, 1),
		growTo("fork", 1001, 2000, 0), growTo("fork", 2000, 1<<33, 2), with(growTo("states", 0, 1, 0), 1), with(growTo("states", 1, 2, 0), 2))
	require.GreaterOrEqual(s.t, pos[0], uint64(1000))
	require.GreaterOrEqual(s.t, pos[3]-pos[2], uint64(999))
	require.GreaterOrEqual(s.t, pos[4]-pos[3], uint64(1<<33-2000))
	s.reopen()
	h, items := s.load("fork", everything)
	require.Equal(s.t, headAt("fork", h.Number, 1<<33, pos[4]), h)
	require.Equal(s.t, slices.Concat(snapshotItems("fork", 999), eventItems("fork", 1000, 1000, pos[0]),
		eventItems("fork", 1001, 1001, pos[2]), eventItems("fork", 1<<33-1, 1<<33, pos[4])), items)
	_, items = s.load("fork", engine.LoadRange{Events: true, After: 1001, To: 1<<33 - 2})
	require.Empty(s.t, items)
	h, items = s.load("states", everything)
	require.Equal(s.t, headAt("states", h.Number, 2, pos[6]), h)
	require.Equal(s.t, snapshotItems("states", 1, 2), items)
}

func testSameSeq(s *subject) {
	// A write with Seq == Expect occupies no position; its other fields are applied.
	pos := s.store(with(grow("a", 0, 4), 0, 2), grow("b", 0, 1))
	w := growTo("a", 4, 4, 0)
	w.Head, w.Token = []byte("other"), [16]byte{1}
	w.Drop, w.TrimTo = []uint64{0}, 1
	again := s.store(with(w, 3))
	require.Equal(s.t, pos[0], again[0])
	s.reopen()
	h, items := s.load("a", everything)
	require.Equal(s.t, engine.Head{Number: h.Number, Seq: 4, Pos: pos[0], Token: [16]byte{1}, Bytes: []byte("other")}, h)
	require.Equal(s.t, append(snapshotItems("a", 2, 3), eventItems("a", 2, 4, pos[0])...), items)
	require.Greater(s.t, s.store(grow("a", 4, 1))[0], pos[1])
}

func testInputs(s *subject) {
	// commit overwrites the steps as soon as Commit returned; here their memory is
	// reused for the next group at once, like a committer's buffers.
	const rounds = 40
	var writes [3]engine.Write
	for i := range writes {
		writes[i] = engine.Write{
			Events:    []engine.Event{{Bytes: make([]byte, 0, 200)}, {Bytes: make([]byte, 0, 200)}},
			Snapshots: []engine.Snapshot{{Bytes: make([]byte, 0, 200)}},
			Head:      make([]byte, 0, 200),
			Drop:      make([]uint64, 1),
		}
	}
	steps := []engine.Step{{Writes: writes[0:1]}, {Writes: writes[1:2]}, {Writes: writes[2:3]}}
	out := make([]engine.Result, len(steps))
	var pos, kept [3][]uint64
	for round := range uint64(rounds) {
		for i := range writes {
			w, machine := &writes[i], fmt.Sprint("m", i)
			w.Machine, w.Expect, w.Seq = machine, 2*round, 2*round+2
			for j := range w.Events {
				w.Events[j].Bytes = append(w.Events[j].Bytes[:0], eventBytes(machine, w.Expect+uint64(j)+1)...)
			}
			w.Snapshots[0].Seq = w.Seq
			w.Snapshots[0].Bytes = append(w.Snapshots[0].Bytes[:0], snapshotBytes(machine, w.Seq)...)
			w.Head = append(w.Head[:0], headBytes(machine, w.Seq)...)
			w.Token = tokenOf(machine, w.Seq)
			w.Drop[0] = engine.All
		}
		require.NoError(s.t, s.e.Commit(s.ctx(), steps, out))
		for i := range out {
			require.NoError(s.t, out[i].Err)
			pos[i] = append(pos[i], out[i].Pos[0])
			if round == 0 {
				kept[i] = out[i].Pos
			}
		}
	}
	for i := range writes {
		require.Equal(s.t, pos[i][:1], kept[i], "Result.Pos is the caller's to keep")
		machine := fmt.Sprint("m", i)
		h, items := s.load(machine, everything)
		require.Equal(s.t, headAt(machine, h.Number, 2*rounds, pos[i][rounds-1]), h)
		var want []item
		for round := range uint64(rounds) {
			want = append(want, snapshotItems(machine, 2*round+2)...)
		}
		for round := range uint64(rounds) {
			want = append(want, eventItems(machine, 2*round+1, 2*round+2, pos[i][round])...)
		}
		require.Equal(s.t, want, items)
	}
}

func testTrim(s *subject) {
	pos := s.store(with(grow("a", 0, 10), 0, 5), grow("aa", 0, 10), grow("a", 10, 10))
	trim := func(to uint64) {
		w := growTo("a", 20, 20, 0)
		w.TrimTo = to
		s.store(w)
	}
	trim(0)
	for _, to := range []uint64{1, 1, 9, 3, 10, 15} {
		trim(to)
		_, items := s.load("a", engine.LoadRange{Events: true, After: 14, To: engine.All})
		require.Equal(s.t, eventItems("a", max(to, 14)+1, 20, pos[2]), items)
	}
	_, items := s.load("a", everything)
	require.Equal(s.t, append(snapshotItems("a", 0, 5), eventItems("a", 16, 20, pos[2])...), items, "snapshots stay")
	// Up to the head, events of the same write included; later events stay.
	w := grow("a", 20, 3)
	w.TrimTo = 22
	pos2 := s.store(w)
	_, items = s.load("a", engine.LoadRange{Events: true, To: engine.All})
	require.Equal(s.t, eventItems("a", 23, 23, pos2[0]), items)
	w = grow("a", 23, 1)
	w.TrimTo = 24
	s.store(w)
	s.reopen()
	h, items := s.load("a", everything)
	require.Equal(s.t, uint64(24), h.Seq)
	require.Equal(s.t, snapshotItems("a", 0, 5), items)
	pos3 := s.store(grow("a", 24, 2))
	_, items = s.load("a", engine.LoadRange{Events: true, To: engine.All})
	require.Equal(s.t, eventItems("a", 25, 26, pos3[0]), items)
	_, items = s.load("aa", everything)
	require.Equal(s.t, eventItems("aa", 1, 10, pos[1]), items, "the neighbour is untouched")
}

func testRestore(s *subject) {
	pos := s.store(with(grow("a", 0, 10), 0, 5), grow("aa", 0, 10), grow("a", 10, 10))
	stored := func(from, to uint64) (out []engine.StoredEvent) {
		_, items := s.load("a", engine.LoadRange{Events: true, After: from - 1, To: to})
		for _, it := range items {
			out = append(out, engine.StoredEvent{Seq: it.seq, Pos: it.pos, Event: engine.Event{Bytes: []byte(it.bytes)}})
		}
		return out
	}
	first, second := stored(1, 7), stored(8, 12)
	w := growTo("a", 20, 20, 0)
	w.TrimTo = 12
	s.store(w)
	back := func(older []engine.StoredEvent) []engine.Result {
		w := growTo("a", 20, 20, 0)
		w.Restore = older
		return s.commit(step(w))
	}
	before := s.all()
	for _, bad := range [][]engine.StoredEvent{
		{{Seq: 0, Pos: 1}}, {{Seq: 21, Pos: 1}}, {{Seq: 1}}, {first[1], first[0]}, {first[0], first[0]},
		{{Seq: 1, Pos: 2}, {Seq: 2, Pos: 1}},
	} {
		out := back(bad)
		require.Error(s.t, out[0].Err, "%v", bad)
		require.Nil(s.t, out[0].Pos)
		require.Equal(s.t, before, s.all())
	}
	both := growTo("a", 20, 20, 0)
	both.Restore, both.TrimTo = second, 3
	require.Error(s.t, s.commit(step(both))[0].Err)

	require.NoError(s.t, back(second)[0].Err)
	s.reopen()
	_, items := s.load("a", everything)
	require.Equal(s.t, slices.Concat(snapshotItems("a", 0, 5), eventItems("a", 8, 10, pos[0]), eventItems("a", 11, 20, pos[2])), items, "as they were, with their positions")
	require.NoError(s.t, back(slices.Concat(first, second))[0].Err, "in the place of those that are there")
	_, items = s.load("a", everything)
	all := slices.Concat(snapshotItems("a", 0, 5), eventItems("a", 1, 10, pos[0]), eventItems("a", 11, 20, pos[2]))
	require.Equal(s.t, all, items)

	// Trimmed and restored in one group, then restored and trimmed.
	trim, again := growTo("a", 20, 20, 0), growTo("a", 20, 20, 0)
	trim.TrimTo, again.Restore = 12, slices.Concat(first, second)
	s.store(trim, again)
	_, items = s.load("a", everything)
	require.Equal(s.t, all, items)
	s.store(again, trim)
	s.reopen()
	_, items = s.load("a", everything)
	require.Equal(s.t, slices.Concat(snapshotItems("a", 0, 5), eventItems("a", 13, 20, pos[2])), items)
	_, items = s.load("aa", everything)
	require.Equal(s.t, eventItems("aa", 1, 10, pos[1]), items, "the neighbour is untouched")
}
