package measure

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInterval(t *testing.T) {
	one := func(n int) (v []float64) {
		for i := range n {
			v = append(v, float64(n-i))
		}
		return v
	}
	// By number of values: how many may be left out at each end, from tables of the sign test.
	for n, k := range map[int]int{1: 0, 5: 0, 7: 0, 8: 0, 9: 1, 11: 1, 12: 2, 15: 3, 20: 5} {
		low, high := Interval(one(n))
		require.Equal(t, [2]float64{float64(1 + k), float64(n - k)}, [2]float64{low, high}, "%d values", n)
	}
	require.Equal(t, 2.5, Median([]float64{4, 1, 2, 3}))
}

func TestLatencies(t *testing.T) {
	var l Latencies
	for i := range 1000 {
		l.Add(time.Duration(i+1) * time.Microsecond)
	}
	require.InEpsilon(t, 500e3, float64(l.Quantile(0.5)), 0.04)
	require.InEpsilon(t, 990e3, float64(l.Quantile(0.99)), 0.04)
	var m Latencies
	m.Merge(&l)
	require.Equal(t, l.Quantile(0.9), m.Quantile(0.9))
	require.EqualValues(t, 1000, m.Count())
}
