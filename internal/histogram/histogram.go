// Package histogram counts durations in bounded memory.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram counts durations in buckets an eighth of a power of two wide, so that
// a percentile is at most 12.5 % above the true one. Its size is fixed. The zero
// value is empty. All methods may be called from several goroutines at once.
type Histogram struct {
	buckets [64 * 8]atomic.Uint32
	count   atomic.Int64
	sum     atomic.Int64
	max     atomic.Int64
}

// bucketOf returns the bucket of a duration.
func bucketOf(ns uint64) int {
	if ns < 8 {
		return int(ns)
	}
	top := bits.Len64(ns) - 1
	return (top-2)*8 + int(ns>>(top-3)&7)
}

// bucketTop returns the largest duration of a bucket.
func bucketTop(i int) time.Duration {
	if i < 8 {
		return time.Duration(i)
	}
	top := i/8 + 2
	return time.Duration((uint64(8+i%8)+1)<<(top-3) - 1)
}

// Add counts a duration. A negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	ns := max(0, int64(d))
	h.buckets[bucketOf(uint64(ns))].Add(1)
	h.count.Add(1)
	h.sum.Add(ns)
	for {
		old := h.max.Load()
		if ns <= old || h.max.CompareAndSwap(old, ns) {
			return
		}
	}
}

// Merge adds the counts of other to h. It must not run at the same time as another
// call of h.Add or h.Merge.
func (h *Histogram) Merge(other *Histogram) {
	for i := range other.buckets {
		if n := other.buckets[i].Load(); n > 0 {
			h.buckets[i].Add(n)
		}
	}
	h.count.Add(other.count.Load())
	h.sum.Add(other.sum.Load())
	h.max.Store(max(h.max.Load(), other.max.Load()))
}

// Summary holds the results of a Histogram, or of a Small with its wider buckets.
type Summary struct {
	Count         int64
	Mean          time.Duration
	P50, P95, P99 time.Duration
	Max           time.Duration
}

// Summary returns the number, mean, percentiles and maximum of the durations.
// Percentiles are at most 12.5 % above the true ones.
func (h *Histogram) Summary() Summary {
	var counts [len(h.buckets)]uint64
	var n uint64
	for i := range counts {
		counts[i] = uint64(h.buckets[i].Load())
		n += counts[i]
	}
	l := Summary{Count: int64(n), Max: time.Duration(h.max.Load())}
	if n == 0 {
		return l
	}
	l.Mean = time.Duration(h.sum.Load() / max(1, h.count.Load()))
	at := func(share float64) time.Duration {
		rank, seen := uint64(share*float64(n-1)), uint64(0)
		for i, c := range counts {
			if seen += c; seen > rank {
				return min(bucketTop(i), l.Max)
			}
		}
		return l.Max
	}
	l.P50, l.P95, l.P99 = at(0.50), at(0.95), at(0.99)
	return l
}

// Small is a Histogram of 120 bytes. Its buckets are a power of two wide, from one
// microsecond to 134 seconds; longer durations count in the last bucket.
type Small struct {
	buckets [28]atomic.Uint32
	sum     atomic.Int64
}

// Add counts a duration. A negative one counts as 0.
func (t *Small) Add(d time.Duration) {
	us := uint64(max(0, d.Microseconds()))
	t.buckets[min(bits.Len64(us), len(t.buckets)-1)].Add(1)
	t.sum.Add(int64(d))
}

// Summary returns the number, mean, percentiles and maximum of the durations.
// Percentiles and maximum are the upper bounds of their buckets, so at most twice
// the true ones, or one microsecond.
func (t *Small) Summary() Summary {
	var counts [len(t.buckets)]uint64
	var l Summary
	for i := range counts {
		counts[i] = uint64(t.buckets[i].Load())
		l.Count += int64(counts[i])
		if counts[i] > 0 {
			l.Max = time.Duration(uint64(1)<<i) * time.Microsecond
		}
	}
	if l.Count == 0 {
		return l
	}
	l.Mean = time.Duration(t.sum.Load() / l.Count)
	at := func(share float64) time.Duration {
		rank, seen := uint64(share*float64(l.Count-1)), uint64(0)
		for i, c := range counts {
			if seen += c; seen > rank {
				return time.Duration(uint64(1)<<i) * time.Microsecond
			}
		}
		return l.Max
	}
	l.P50, l.P95, l.P99 = at(0.50), at(0.95), at(0.99)
	return l
}

// Count returns the number of durations counted.
func (h *Histogram) Count() int64 { return h.count.Load() }
