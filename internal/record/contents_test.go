package record

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestContents_RoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	var maker StretchMaker
	var got Contents
	for _, n := range []int{0, 1, 300, LongestStretch} {
		first, places := somePlaces(r, n, 5000)
		maker.Append(nil, first, places)
		b := maker.Contents(nil)
		require.LessOrEqual(t, len(b), ContentsLimit)
		require.NoError(t, got.Parse(b))
		for _, p := range places {
			require.Contains(t, got.Actors, p.Sums.Actor)
			require.True(t, p.Time >= got.MinTime && p.Time <= got.MaxTime)
			p.Sums.Actor = 0
			require.Contains(t, got.Terms, p.Sums)
			if n > 300 {
				break
			}
		}
		for i := range min(len(b), 60) {
			require.Error(t, got.Parse(b[:i]))
		}
	}
	require.ErrorIs(t, got.Parse([]byte{contentsShape + 1}), ErrNewer)
}

func FuzzContents(f *testing.F) {
	first, places := somePlaces(rand.New(rand.NewPCG(7, 7)), 20, 4)
	var maker StretchMaker
	maker.Append(nil, first, places)
	f.Add(maker.Contents(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Contents
		if c.Parse(b) != nil {
			return
		}
		require.LessOrEqual(t, len(c.Terms)*termsLen+len(c.Actors), len(b))
		require.True(t, slices.IsSorted(c.Actors))
	})
}
