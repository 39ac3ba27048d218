package enginetest

import (
	"fmt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

func testPurge(s *subject) {
	pos := s.store(with(grow("a", 0, 5), 0, 5), with(grow("ab", 0, 2), 0), grow("b", 0, 1))
	first, _ := s.load("a", everything)
	w := with(grow("a", 5, 2), 6)
	w.Purge, w.Seq, w.TrimTo = true, 1, 99 // ignored
	require.Zero(s.t, s.store(w)[0], "a purge has no position")
	h, items := s.load("a", everything)
	require.Equal(s.t, engine.Head{}, h)
	require.Empty(s.t, items)
	require.Equal(s.t, []string{"ab", "b"}, s.scanKeys("", "", 0))
	_, items = s.load("ab", everything)
	require.Equal(s.t, append(snapshotItems("ab", 0), eventItems("ab", 1, 2, pos[1])...), items)
	s.store(purge("a", 0)) // purging a machine that does not exist has no effect
	require.Equal(s.t, []string{"ab", "b"}, s.scanKeys("", "", 0))

	s.reopen()
	again := s.store(grow("a", 0, 3))
	require.Greater(s.t, again[0]-2, pos[2])
	h, items = s.load("a", everything)
	require.NotEqual(s.t, first.Number, h.Number)
	require.Equal(s.t, headAt("a", h.Number, 3, again[0]), h)
	require.Equal(s.t, eventItems("a", 1, 3, again[0]), items, "nothing of the old machine comes back")
}

func testNumbers(s *subject) {
	// Numbers and positions of purged machines are not assigned again, not even the
	// highest ones after an empty file was opened again.
	seen := make(map[uint64]bool)
	var last uint64
	for round := range 12 {
		pos := s.store(grow("x", 0, 2), grow("y", 0, 2))
		require.Greater(s.t, pos[0]-1, last)
		require.Greater(s.t, pos[1]-1, pos[0])
		last = pos[1]
		for _, at := range s.scan("", "", 0) {
			require.NotZero(s.t, at.head.Number)
			require.False(s.t, seen[at.head.Number], "number %d is given twice", at.head.Number)
			seen[at.head.Number] = true
		}
		s.store(purge("y", 2), purge("x", 2))
		require.Empty(s.t, s.scan("", "", 0))
		if round%3 == 0 {
			s.reopen()
		}
	}
}

func testPositions(s *subject) {
	var last uint64
	seqs := make(map[string]uint64)
	for group := range 60 {
		var writes []engine.Write
		for i := range 1 + group%7 {
			machine := fmt.Sprint("m", (group*5+i*3)%11)
			n := uint64(1 + (group+i)%4)
			writes = append(writes, grow(machine, seqs[machine], n))
			seqs[machine] += n
		}
		for i, pos := range s.store(writes...) {
			require.GreaterOrEqual(s.t, pos-uint64(len(writes[i].Events)), last, "group %d", group)
			last = pos
		}
		if group%20 == 10 {
			s.reopen()
		}
	}
	taken := make(map[uint64]bool)
	for machine, seq := range seqs {
		h, items := s.load(machine, everything)
		require.Equal(s.t, seq, h.Seq)
		require.Len(s.t, items, int(seq))
		require.Equal(s.t, h.Pos, items[len(items)-1].pos)
		for i, it := range items {
			assert.NotZero(s.t, it.pos)
			require.False(s.t, taken[it.pos], "position %d is given twice", it.pos)
			taken[it.pos] = true
			require.True(s.t, i == 0 || items[i-1].pos < it.pos)
		}
	}
}
