package histogram

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// row I2.
func TestHistogram_Percentiles(t *testing.T) {
	// row I2
	var h Histogram
	var all []time.Duration
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		d := time.Duration(r.Uint64N(1 << r.Uint64N(40)))
		all = append(all, d)
		h.Add(d)
	}
	slices.Sort(all)
	l := h.Summary()
	for share, got := range map[float64]time.Duration{0.5: l.P50, 0.95: l.P95, 0.99: l.P99} {
		want := all[int(share*float64(len(all)-1))]
		assert.GreaterOrEqual(t, got, want, "p%v", share*100)
		assert.LessOrEqual(t, float64(got), 1.125*float64(want)+1, "p%v", share*100)
	}
	assert.Equal(t, all[len(all)-1], l.Max)
	assert.EqualValues(t, 20000, l.Count)
}

func TestHistogram_Buckets(t *testing.T) {
	last := -1
	for _, ns := range []uint64{0, 1, 7, 8, 9, 15, 16, 17, 1000, 1 << 40, 1<<63 - 1} {
		i := bucketOf(ns)
		assert.Greater(t, i+1, last)
		assert.Less(t, i, len(Histogram{}.buckets))
		assert.GreaterOrEqual(t, uint64(bucketTop(i)), ns)
		last = i
	}
	var h Histogram
	h.Add(-time.Second) // a clock that jumps back
	assert.Zero(t, h.Summary().Max)
}

func TestTally_Percentiles(t *testing.T) {
	var h Small
	for i := range 100 {
		h.Add(time.Duration(i+1) * time.Millisecond)
	}
	l := h.Summary()
	assert.EqualValues(t, 100, l.Count)
	assert.GreaterOrEqual(t, l.P50, 50*time.Millisecond)
	assert.LessOrEqual(t, l.P50, 100*time.Millisecond)
	assert.Equal(t, 50500*time.Microsecond, l.Mean)
}
