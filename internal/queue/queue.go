// Package queue combines the writes of many goroutines into groups.
//
// A Queue holds a bounded number of items and bytes. A caller reserves a place
// first, so that pushing never waits and can be done under a lock. One goroutine
// takes everything that is queued as one group, runs it, and takes the next group
// as soon as that is done. There is no timer.
package queue

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

// yields is the largest number of times that the committer yields the processor
// before it takes a group, while the queue still grows or a caller that has a place
// has not pushed yet. It makes groups larger without a timer.
const yields = 64

// Queue collects items for the committer, the goroutine that runs groups. All
// methods may be called from several goroutines at once.
type Queue[T any] struct {
	maxItems int
	maxBytes int64
	run      func(group []T, free func())

	mu       sync.Mutex
	freed    *sync.Cond // a place was released, or the queue was closed
	work     *sync.Cond // there is an item, or the queue was closed
	idle     *sync.Cond // nothing is queued and nothing runs
	items    []T
	reserved int   // number of places in use, those of queued and running items included
	bytes    int64 // of queued and running items
	waiting  int   // number of callers that wait for a place
	running  bool
	closed   bool
	done     chan struct{}
}

// New starts a committer that calls run with one group after another, never two at
// a time. run owns the slice until it returns. It may call free once, as soon as
// the outcome of the group is known and before it reports the outcome to anyone:
// free releases the group's places, which otherwise happens when run returns.
func New[T any](maxItems int, maxBytes int64, run func(group []T, free func())) *Queue[T] {
	q := &Queue[T]{maxItems: maxItems, maxBytes: maxBytes, run: run, done: make(chan struct{})}
	q.freed, q.work, q.idle = sync.NewCond(&q.mu), sync.NewCond(&q.mu), sync.NewCond(&q.mu)
	go q.loop()
	return q
}

// Reserve reserves a place. If the queue is full it waits, or with noWait returns
// ErrFull at once. It returns ErrClosed after Close, and the cause of ctx when ctx
// ends. Each reserved place must be used with Push or returned with Release.
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
		q.freed.Broadcast()
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
		q.freed.Wait()
	}
	q.reserved++
	return nil
}

func (q *Queue[T]) fits() bool {
	return !q.closed && q.reserved < q.maxItems && q.bytes < q.maxBytes
}

// Release returns a reserved place that is not used.
func (q *Queue[T]) Release() {
	q.mu.Lock()
	q.free(1, 0)
	q.mu.Unlock()
}

// free releases places and bytes; q.mu must be held.
func (q *Queue[T]) free(n int, bytes int64) {
	q.reserved -= n
	q.bytes -= bytes
	if q.waiting > 0 {
		q.freed.Broadcast()
	}
	if q.reserved == 0 {
		q.idle.Broadcast()
	}
}

// Push queues an item of the given number of bytes in a reserved place. It never
// waits. Items run in the order of Push.
func (q *Queue[T]) Push(item T, bytes int64) {
	q.mu.Lock()
	q.items = append(q.items, item)
	q.bytes += bytes
	if len(q.items) == 1 && !q.running {
		q.work.Signal()
	}
	q.mu.Unlock()
}

// Len returns the number of reserved places, those of queued and running items
// included, and the bytes of these items.
func (q *Queue[T]) Len() (items int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.reserved, q.bytes
}

// Close makes Reserve fail, waits until all reserved places are returned and their
// items have run, and ends the committer. It may be called twice.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	q.freed.Broadcast()
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
			q.free(len(group), bytes) // the bytes of items pushed since stay counted
			q.mu.Unlock()
		}
		q.run(group, free)
		free()
		clear(group)
		spare = group[:0]
	}
}
