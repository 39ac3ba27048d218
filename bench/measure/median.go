package measure

import (
	"math"
	"slices"
)

// Median returns the median of the values, NaN if values is empty.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// Interval holds the true median with at least 95 % where there are enough
// values (six): it lies between two of them, by the binomial distribution.
// With fewer values it is their range.
func Interval(values []float64) (low, high float64) {
	if len(values) == 0 {
		return math.NaN(), math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	// k values may be left out at each end while P(X <= k) is at most 2.5 %.
	k, below, p := 0, 0.0, math.Pow(0.5, float64(n))
	for choose := 1.0; ; k++ {
		below += choose * p
		if below > 0.025 || k+1 > (n-1)/2 {
			break
		}
		choose = choose * float64(n-k) / float64(k+1)
	}
	k = max(k-1, 0)
	return v[k], v[n-1-k]
}
