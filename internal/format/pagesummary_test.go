package format

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPageSummary_RoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	var builder PageBuilder
	var got PageSummary
	for _, n := range []int{0, 1, 300, MaxPageEntries} {
		first, entries := someEntries(r, n, 5000)
		builder.Append(nil, first, entries)
		b := builder.Summary(nil)
		require.LessOrEqual(t, len(b), SummaryLimit)
		require.NoError(t, got.Parse(b))
		want := PageSummary{MinTime: math.MaxInt64, MaxTime: math.MinInt64}
		terms := map[TermHashes]bool{}
		for _, p := range entries {
			want.MinTime, want.MaxTime = min(want.MinTime, p.Time), max(want.MaxTime, p.Time)
			want.Actors = append(want.Actors, p.Terms.Actor)
			p.Terms.Actor = 0
			terms[p.Terms] = true
		}
		slices.Sort(want.Actors)
		require.Equal(t, [2]int64{want.MinTime, want.MaxTime}, [2]int64{got.MinTime, got.MaxTime})
		require.True(t, slices.Equal(slices.Compact(want.Actors), got.Actors), "each of the actors once")
		require.Len(t, got.Terms, len(terms), "each of the terms once")
		for _, s := range got.Terms {
			require.True(t, terms[s])
		}
		for i := range min(len(b), 60) {
			require.Error(t, got.Parse(b[:i]))
		}
	}
	require.ErrorIs(t, got.Parse([]byte{summaryShape + 1}), ErrNewer)
}

// TestPageSummary_Longest: the summary of an index page with as many actors and terms
// as it has records is within the limit, and holds all actors from the first to the last.
func TestPageSummary_Longest(t *testing.T) {
	var entries []IndexEntry
	for i := range MaxPageEntries {
		actor := uint16(i * math.MaxUint16 / (MaxPageEntries - 1))
		entries = append(entries, IndexEntry{Pos: uint64(i + 1), Time: math.MinInt64, Terms: TermHashes{Name: uint32(i), Actor: actor}})
	}
	var builder PageBuilder
	builder.Append(nil, 1, entries)
	b := builder.Summary(nil)
	require.LessOrEqual(t, len(b), SummaryLimit)
	var got PageSummary
	require.NoError(t, got.Parse(b))
	require.Len(t, got.Terms, MaxPageEntries)
	require.Len(t, got.Actors, MaxPageEntries)
	require.Equal(t, []uint16{0, math.MaxUint16}, []uint16{got.Actors[0], got.Actors[MaxPageEntries-1]})
}

// TestPageSummary_Refuses: bytes that contradict themselves are refused.
func TestPageSummary_Refuses(t *testing.T) {
	begin := []byte{summaryShape, 0, 0}
	with := func(terms uint64, rest ...byte) []byte {
		return append(binary.AppendUvarint(bytes.Clone(begin), terms), rest...)
	}
	var got PageSummary
	require.NoError(t, got.Parse(with(0, 2, 0, 1)))
	for name, b := range map[string][]byte{
		"an actor twice":             with(0, 2, 3, 0),
		"an actor beyond the last":   with(0, 2, 3, 0xfd, 0xff, 0x03),
		"bytes after the end":        with(0, 1, 1, 0),
		"terms beyond any memory":    with(1<<63, 0),
		"more than a index page has": append(with(MaxPageEntries+1), make([]byte, (MaxPageEntries+1)*termsLen+1)...),
	} {
		require.Error(t, got.Parse(b), name)
	}
}

func FuzzPageSummary(f *testing.F) {
	first, entries := someEntries(rand.New(rand.NewPCG(7, 7)), 20, 4)
	var builder PageBuilder
	builder.Append(nil, first, entries)
	f.Add(builder.Summary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c PageSummary
		if c.Parse(b) != nil {
			return
		}
		require.LessOrEqual(t, len(c.Terms)*termsLen+len(c.Actors), len(b))
		require.True(t, slices.IsSorted(c.Actors))
	})
}
