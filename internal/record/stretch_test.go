package record

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func somePlaces(r *rand.Rand, n, terms int) (first uint64, places []Place) {
	first = 1 + r.Uint64()>>r.IntN(60)
	first = min(first, 1<<62)
	pos := first
	for i := range n {
		pos += uint64(r.IntN(3) / 2 * r.IntN(1000))
		if i > 0 {
			pos++
		}
		t := uint32(r.IntN(terms))
		places = append(places, Place{Pos: pos, Number: r.Uint64() >> r.IntN(64), Seq: r.Uint64() >> r.IntN(64), Time: r.Int64() - 1<<62,
			Sums: Sums{Known: t > 0, Kind: t * 3, Name: t, From: t * 7, To: t * 9, Origin: uint8(t), Actor: uint16(r.Uint32())}})
	}
	return first, places
}

func TestStretch_RoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var maker StretchMaker
	for _, n := range []int{0, 1, 2, 300, LongestStretch} {
		for _, terms := range []int{1, 30, 5000} {
			first, places := somePlaces(r, n, terms)
			b := maker.Append(nil, first, places)
			require.LessOrEqual(t, len(b), StretchLimit)
			got, err := ParseStretch(b, first, []Place{{Pos: 7}})
			require.NoError(t, err)
			require.Equal(t, append([]Place{{Pos: 7}}, places...), got)
			for i := range len(b) {
				if n > 2 && i > 40 {
					break
				}
				got, err := ParseStretch(b[:i], first, []Place{{Pos: 7}})
				require.Error(t, err)
				require.Len(t, got, 1)
			}
		}
	}
	_, err := ParseStretch([]byte{stretchShape + 1, 0, 0}, 1, nil)
	require.ErrorIs(t, err, ErrNewer)
}

// FuzzStretch: no input is believed for more than it holds, and what is read
// goes back to places that read the same.
func FuzzStretch(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 5))
	var maker StretchMaker
	for _, n := range []int{0, 1, 5} {
		first, places := somePlaces(r, n, 3)
		f.Add(maker.Append(nil, first, places), first)
	}
	f.Fuzz(func(t *testing.T, b []byte, first uint64) {
		var maker StretchMaker
		places, err := ParseStretch(b, first, nil)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(places), len(b))
		again, err := ParseStretch(maker.Append(nil, first, places), first, nil)
		require.NoError(t, err)
		require.Equal(t, places, again)
	})
}
