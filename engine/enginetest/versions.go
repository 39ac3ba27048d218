package enginetest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// testVersions compares the counts per version after each way of changing them.
func testVersions(s *subject) {
	requireCounts := func(want map[uint64]int64) {
		s.t.Helper()
		for range 2 {
			got, err := s.e.Versions(s.ctx(), 7)
			require.NoError(s.t, err)
			require.Equal(s.t, want, got)
			got, err = s.e.Versions(s.ctx(), 8)
			require.NoError(s.t, err)
			require.Equal(s.t, map[uint64]int64{3: 1}, got, "another kind")
			s.reopen()
		}
	}
	at := func(machine string, expect, schema uint64) engine.Write {
		w := grow(machine, expect, 1)
		w.Schema = schema
		return w
	}
	other := at("other", 0, 3)
	other.Kind = 8
	s.store(other, at("a", 0, 1), at("b", 0, 1), at("c", 0, 2))
	requireCounts(map[uint64]int64{1: 2, 2: 1})
	s.store(at("a", 1, 1), at("b", 1, 2), at("b", 2, 3)) // the last write of a group wins
	requireCounts(map[uint64]int64{1: 1, 2: 1, 3: 1})
	s.store(engine.Write{Machine: "a", Seq: 2, Expect: 2, Kind: 7, Schema: 2, Head: headBytes("a", 2)}) // no new seq
	requireCounts(map[uint64]int64{2: 2, 3: 1})
	s.store(engine.Write{Machine: "c", Expect: 1, Purge: true}, at("c", 0, 1), at("d", 0, 1), engine.Write{Machine: "d", Expect: 1, Purge: true})
	requireCounts(map[uint64]int64{1: 1, 2: 1, 3: 1})
	out := s.commit(step(at("a", 99, 9))) // refused
	require.Error(s.t, out[0].Err)
	requireCounts(map[uint64]int64{1: 1, 2: 1, 3: 1})
	var many []engine.Write
	for i := range 300 {
		many = append(many, at(fmt.Sprint("many ", i), 0, 4))
	}
	s.store(many...)
	requireCounts(map[uint64]int64{1: 1, 2: 1, 3: 1, 4: 300})
}
