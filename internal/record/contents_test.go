package record

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestContents_RoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	var c, got Contents
	for _, n := range []int{0, 1, 300, LongestStretch} {
		_, places := somePlaces(r, n, 5000)
		c = ContentsOf(places, c)
		b := c.Append(nil)
		require.LessOrEqual(t, len(b), ContentsLimit)
		require.NoError(t, got.Parse(b))
		require.Equal(t, c.Append(nil), got.Append(nil))
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
	_, places := somePlaces(rand.New(rand.NewPCG(7, 7)), 20, 4)
	c := ContentsOf(places, Contents{})
	f.Add(c.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, again Contents
		if c.Parse(b) != nil {
			return
		}
		require.NoError(t, again.Parse(c.Append(nil)))
		require.Equal(t, c, again)
	})
}
