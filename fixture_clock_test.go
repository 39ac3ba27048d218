package savepoint_test

import (
	"sync/atomic"
	"time"
)

// clock is a clock that changes only when a test sets it.
type clock struct{ at atomic.Int64 }

// newClock returns a clock at a fixed time.
func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) Now() time.Time { return time.UnixMicro(c.at.Load()).UTC() }

// turn moves the clock, also back.
func (c *clock) turn(d time.Duration) { c.at.Add(d.Microseconds()) }
