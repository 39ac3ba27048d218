package enginetest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

func testTooLarge(s *subject) {
	limit := s.e.Limits().MaxStep
	if limit == 0 {
		s.t.Skip("the engine has no limit")
	}
	piece := make([]byte, min(limit, 1<<20)) // shared by the parts of one step
	over := func(add func()) {
		for n := 0; n <= limit; n += len(piece) {
			add()
		}
	}
	events := engine.Write{Machine: "events"}
	over(func() { events.Events = append(events.Events, engine.Event{Bytes: piece}); events.Seq++ })
	snapshots := engine.Write{Machine: "snapshots"}
	over(func() {
		snapshots.Seq++
		snapshots.Snapshots = append(snapshots.Snapshots, engine.Snapshot{Seq: snapshots.Seq, Bytes: piece})
	})
	large := []engine.Step{step(events), step(snapshots)}
	if limit < 64<<20 {
		large = append(large, step(engine.Write{Machine: "head", Seq: 1, Head: make([]byte, limit+1)}))
	}
	if s.e.Limits().AtomicAcross {
		var several engine.Step
		over(func() {
			w := engine.Write{Machine: fmt.Sprint("several", len(several.Writes)), Seq: 1, Events: []engine.Event{{Bytes: piece}}}
			several.Writes = append(several.Writes, w)
		})
		large = append(large, several)
	}
	for i, l := range large {
		steps := []engine.Step{step(grow("a", uint64(i), 1)), l, step(grow("b", uint64(i), 1))}
		out := make([]engine.Result, len(steps))
		require.NoError(s.t, s.e.Commit(s.ctx(), steps, out))
		require.NoError(s.t, out[0].Err)
		require.ErrorIs(s.t, out[1].Err, engine.ErrTooLarge, "case %d", i)
		require.Nil(s.t, out[1].Pos)
		require.NoError(s.t, out[2].Err)
		require.Equal(s.t, []string{"a", "b"}, s.scanKeys("", "", 0))
	}
	half := engine.Write{Machine: "half", Seq: 1, Events: []engine.Event{{Bytes: make([]byte, min(limit/2, 16<<20))}}}
	s.store(half)
	h, items := s.load("half", everything)
	require.Equal(s.t, uint64(1), h.Seq)
	require.Len(s.t, items, 1)
	require.Len(s.t, items[0].bytes, len(half.Events[0].Bytes))
}

func testEmpty(s *subject) {
	pos := s.store(engine.Write{Machine: "a", Seq: 3, Events: []engine.Event{{}, {Bytes: []byte{}}, {Bytes: []byte("x")}},
		Snapshots: []engine.Snapshot{{Seq: 0}, {Seq: 2, Bytes: []byte{}}}},
		engine.Write{Machine: "b", Seq: 1, Head: []byte{}})
	s.reopen()
	h, items := s.load("a", everything)
	require.Equal(s.t, uint64(3), h.Seq)
	require.Empty(s.t, h.Bytes)
	require.Equal(s.t, []item{{engine.PartSnapshot, 0, 0, ""}, {engine.PartSnapshot, 2, 0, ""}, {engine.PartEvent, 1, pos[0] - 2, ""},
		{engine.PartEvent, 2, pos[0] - 1, ""}, {engine.PartEvent, 3, pos[0], "x"}}, items)
	h, _ = s.load("b", everything)
	require.Equal(s.t, uint64(1), h.Seq)
	require.Empty(s.t, h.Bytes)
	// A head of length 0 replaces one with bytes.
	s.store(grow("c", 0, 1), engine.Write{Machine: "c", Expect: 1, Seq: 2})
	h, _ = s.load("c", everything)
	require.Empty(s.t, h.Bytes)
}

// block returns n bytes that do not compress and differ for each seed.
func block(n int, seed uint64) []byte {
	b := make([]byte, n)
	x := seed*0x9E3779B97F4A7C15 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func testBig(s *subject) {
	size := 1 << 20
	if limit := s.e.Limits().MaxStep; limit > 0 {
		size = min(size, limit/16)
	}
	w := engine.Write{Machine: "big", Seq: 6, Head: block(size/16, 1)}
	w.Snapshots = []engine.Snapshot{{Seq: 0, Bytes: block(size, 2)}, {Seq: 6, Bytes: block(size/2+1, 3)}}
	for i, n := range []int{size, 1, size - 1, size / 2, 0, size + 1} {
		w.Events = append(w.Events, engine.Event{Bytes: block(n, uint64(i)+10)})
	}
	zeros := engine.Write{Machine: "zeros", Seq: 1, Events: []engine.Event{{Bytes: make([]byte, size)}}}
	pos := s.store(grow("before", 0, 1), w, zeros, grow("after", 0, 1))
	for range 2 {
		h, items := s.load("big", everything)
		require.True(s.t, string(h.Bytes) == string(w.Head))
		require.Len(s.t, items, 8)
		for i, it := range items {
			if i < 2 {
				require.True(s.t, it.bytes == string(w.Snapshots[i].Bytes), "snapshot %d", it.seq)
			} else {
				require.True(s.t, it.bytes == string(w.Events[i-2].Bytes), "event %d", it.seq)
				require.Equal(s.t, pos[1]-(6-it.seq), it.pos)
			}
		}
		_, items = s.load("zeros", everything)
		require.True(s.t, items[0].bytes == string(zeros.Events[0].Bytes))
		_, items = s.load("after", everything)
		require.Equal(s.t, eventItems("after", 1, 1, pos[3]), items)
		s.reopen()
	}
}

func testManyEvents(s *subject) {
	// One write of many events, and many writes of one event, are read in the same way.
	const n = 3000
	pos := s.store(grow("block", 0, n))
	var writes []engine.Write
	for seq := range uint64(n) {
		writes = append(writes, grow("single", seq, 1))
	}
	single := s.store(writes...)
	s.reopen()
	_, items := s.load("block", everything)
	require.Equal(s.t, eventItems("block", 1, n, pos[0]), items)
	_, items = s.load("single", everything)
	require.Len(s.t, items, n)
	for i, it := range items {
		require.Equal(s.t, item{engine.PartEvent, uint64(i + 1), single[i], string(eventBytes("single", uint64(i+1)))}, it)
	}
	for _, at := range []uint64{0, 1, 15, 16, 17, 255, 256, 1023, n - 2, n - 1} {
		for _, newest := range []bool{false, true} {
			for _, machine := range []string{"block", "single"} {
				_, items := s.load(machine, engine.LoadRange{Events: true, After: at, To: at + 1, Newest: newest})
				require.Len(s.t, items, 1)
				require.Equal(s.t, string(eventBytes(machine, at+1)), items[0].bytes)
			}
		}
	}
}
