// Package commit brings the writes of many goroutines together into groups.
//
// A Queue has room for a bounded number of items and bytes. A caller reserves
// its place first, so that pushing never waits: it can be done under a lock. One
// goroutine takes everything that is queued as one group, runs it, and takes
// the next group as soon as that is done. There is no timer.
package commit

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// Errors of Reserve.
var (
	ErrFull   = errors.New("commit: queue is full")
	ErrClosed = errors.New("commit: queue is closed")
)

// yields is how often the committer lets others run at the most, while the queue
// still grows or somebody who has a place has not pushed yet. It makes groups
// larger without making anybody wait for a clock.
const yields = 64

// Queue is the way into the committer. All methods may be called from several
// goroutines.
type Queue[T any] struct {
	maxItems int
	maxBytes int64
	run      func(group []T, free func())

	mu       sync.Mutex
	room     *sync.Cond // somebody released a place, or the queue was closed
	work     *sync.Cond // there is an item, or the queue was closed
	idle     *sync.Cond // nothing is queued and nothing runs
	items    []T
	reserved int   // places given away, queued and running items included
	bytes    int64 // of queued and running items
	waiting  int
	running  bool
	closed   bool
	done     chan struct{}
}

// New starts a committer that calls run with one group after another, never
// twice at a time. The slice is run's until it returns. run calls free once it
// knows what became of the group, before it tells anybody: the group's places
// are given back then, or else when run returns.
func New[T any](maxItems int, maxBytes int64, run func(group []T, free func())) *Queue[T] {
	q := &Queue[T]{maxItems: maxItems, maxBytes: maxBytes, run: run, done: make(chan struct{})}
	q.room, q.work, q.idle = sync.NewCond(&q.mu), sync.NewCond(&q.mu), sync.NewCond(&q.mu)
	go q.loop()
	return q
}

// Reserve takes a place. It waits until there is one, or answers ErrFull at
// once with noWait, ErrClosed after Close, or the cause of ctx. Each place
// ends with Push or Release.
func (q *Queue[T]) Reserve(ctx context.Context, noWait bool) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fits() {
		q.reserved++
		return nil
	}
	if q.closed {
		return ErrClosed
	}
	if noWait {
		return ErrFull
	}
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		q.room.Broadcast()
		q.mu.Unlock()
	})
	defer stop()
	q.waiting++
	defer func() { q.waiting-- }()
	for !q.fits() {
		if q.closed {
			return ErrClosed
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		q.room.Wait()
	}
	q.reserved++
	return nil
}

func (q *Queue[T]) fits() bool {
	return !q.closed && q.reserved < q.maxItems && q.bytes < q.maxBytes
}

// Release gives a place back unused.
func (q *Queue[T]) Release() {
	q.mu.Lock()
	q.free(1, 0)
	q.mu.Unlock()
}

// free returns places and bytes; q.mu is held.
func (q *Queue[T]) free(n int, bytes int64) {
	q.reserved -= n
	q.bytes -= bytes
	if q.waiting > 0 {
		q.room.Broadcast()
	}
	if q.reserved == 0 {
		q.idle.Broadcast()
	}
}

// Push queues an item of that many bytes at a reserved place. It never waits.
// Items run in the order of Push.
func (q *Queue[T]) Push(item T, bytes int64) {
	q.mu.Lock()
	q.items = append(q.items, item)
	q.bytes += bytes
	if len(q.items) == 1 && !q.running {
		q.work.Signal()
	}
	q.mu.Unlock()
}

// Len is how many items are queued or running, and their bytes.
func (q *Queue[T]) Len() (items int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.reserved, q.bytes
}

// Close refuses new places, waits until all that hold one are done, and ends
// the committer. It may be called twice.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	q.room.Broadcast()
	for q.reserved > 0 {
		q.idle.Wait()
	}
	q.work.Signal()
	q.mu.Unlock()
	<-q.done
}

func (q *Queue[T]) loop() {
	defer close(q.done)
	var spare []T
	for {
		q.mu.Lock()
		q.running = false
		for len(q.items) == 0 {
			if q.closed && q.reserved == 0 {
				q.mu.Unlock()
				return
			}
			q.work.Wait()
		}
		q.running = true
		for n, last := 0, 0; n < yields && (len(q.items) > last || q.reserved > len(q.items)); n++ {
			last = len(q.items)
			q.mu.Unlock()
			runtime.Gosched()
			q.mu.Lock()
		}
		group, bytes := q.items, q.bytes
		q.items = spare
		q.mu.Unlock()

		freed := false
		free := func() {
			if freed {
				return
			}
			freed = true
			q.mu.Lock()
			q.free(len(group), bytes) // items pushed meanwhile keep their bytes
			q.mu.Unlock()
		}
		q.run(group, free)
		free()
		clear(group)
		spare = group[:0]
	}
}
