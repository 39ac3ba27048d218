package measure

import (
	"math/bits"
	"time"
)

// Latencies counts durations in buckets that are 3 % wide. It is not safe for
// concurrent use: use one for each goroutine and merge them.
type Latencies struct {
	count   int64
	buckets [64 * 32]int64
}

// Add counts one duration.
func (l *Latencies) Add(d time.Duration) {
	l.count++
	l.buckets[bucket(uint64(max(d, 0)))]++
}

// bucket returns the bucket of n, which has the highest set bit of n and the five bits below it.
func bucket(n uint64) int {
	if n < 64 {
		return int(n)
	}
	shift := bits.Len64(n) - 6
	return shift<<5 + int(n>>shift)
}

func value(b int) uint64 {
	if b < 64 {
		return uint64(b)
	}
	shift := b>>5 - 1
	return uint64(b-shift<<5) << shift
}

// Merge adds the counts of o.
func (l *Latencies) Merge(o *Latencies) {
	l.count += o.count
	for i, n := range o.buckets {
		l.buckets[i] += n
	}
}

// Count returns the number of durations.
func (l *Latencies) Count() int64 { return l.count }

// Quantile returns the duration that the part q of all durations, 0 to 1, does not exceed.
func (l *Latencies) Quantile(q float64) time.Duration {
	rest := int64(q*float64(l.count) + 0.5)
	for b, n := range l.buckets {
		if rest -= n; rest <= 0 && n > 0 {
			return time.Duration(value(b+1) - 1)
		}
	}
	return 0
}
