package measure

import (
	"math/bits"
	"time"
)

// Latencies counts durations in buckets that are 3 % wide. It is not safe for
// concurrent use; give each goroutine its own and merge them.
type Latencies struct {
	count   int64
	buckets [64 * 32]int64
}

// Add counts one.
func (l *Latencies) Add(d time.Duration) {
	l.count++
	l.buckets[bucket(uint64(max(d, 0)))]++
}

// bucket has five bits behind the highest one.
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

// Merge adds what another has counted.
func (l *Latencies) Merge(o *Latencies) {
	l.count += o.count
	for i, n := range o.buckets {
		l.buckets[i] += n
	}
}

// Count is how many there are.
func (l *Latencies) Count() int64 { return l.count }

// Quantile is the duration that this part of them does not exceed.
func (l *Latencies) Quantile(q float64) time.Duration {
	rest := int64(q*float64(l.count) + 0.5)
	for b, n := range l.buckets {
		if rest -= n; rest <= 0 && n > 0 {
			return time.Duration(value(b+1) - 1)
		}
	}
	return 0
}
