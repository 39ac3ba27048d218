package queue

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rows J1, J2.
func TestQueue_OrderAndGroups(t *testing.T) {
	var mu sync.Mutex
	var got []int
	gate := make(chan struct{})
	groups := 0
	q := New(1000, 1<<20, func(g []int, _ func()) {
		<-gate
		mu.Lock()
		groups++
		got = append(got, g...)
		mu.Unlock()
	})
	for i := range 100 {
		require.NoError(t, q.Reserve(t.Context(), false))
		q.Push(i, 1)
	}
	close(gate)
	q.Close()
	require.Len(t, got, 100)
	for i, v := range got {
		require.Equal(t, i, v)
	}
	assert.Less(t, groups, 100, "what is queued while a group runs becomes one group")
	require.ErrorIs(t, q.Reserve(t.Context(), false), ErrClosed)
	q.Close()
}

// TestQueue_WaitsForPlaces: a caller that has a place when a group is taken is part
// of the group, even if nothing is pushed for a while.
func TestQueue_WaitsForPlaces(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // they take turns
	var groups [][]int
	q := New(10, 1<<20, func(g []int, _ func()) { groups = append(groups, slices.Clone(g)) })
	require.NoError(t, q.Reserve(t.Context(), false))
	require.NoError(t, q.Reserve(t.Context(), false))
	go func() {
		for range yields / 4 {
			runtime.Gosched()
		}
		q.Push(2, 1)
	}()
	q.Push(1, 1)
	q.Close()
	require.Equal(t, [][]int{{1, 2}}, groups)
}

func TestQueue_Bounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		q := New(2, 100, func([]int, func()) { <-gate })
		require.NoError(t, q.Reserve(t.Context(), true))
		require.NoError(t, q.Reserve(t.Context(), true))
		require.ErrorIs(t, q.Reserve(t.Context(), true), ErrFull, "count")
		q.Release()
		q.Push(1, 100)
		require.ErrorIs(t, q.Reserve(t.Context(), true), ErrFull, "bytes")

		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		res := make(chan error, 2)
		go func() { res <- q.Reserve(ctx, false) }()
		synctest.Wait()
		cancel(why)
		require.ErrorIs(t, <-res, why)

		go func() { res <- q.Reserve(t.Context(), false) }()
		synctest.Wait()
		close(gate)
		require.NoError(t, <-res, "a place is free once the group is done")
		q.Release()
		q.Close()
		items, bytes := q.Len()
		assert.Zero(t, items)
		assert.Zero(t, bytes)
	})
}

func TestQueue_CloseReleasesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(1, 100, func([]int, func()) {})
		require.NoError(t, q.Reserve(t.Context(), false))
		res := make(chan error, 1)
		go func() { res <- q.Reserve(t.Context(), false) }()
		synctest.Wait()
		closed := make(chan struct{})
		go func() { q.Close(); close(closed) }()
		require.ErrorIs(t, <-res, ErrClosed)
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("Close returned while a place was held")
		default:
		}
		q.Push(7, 1)
		<-closed
	})
}

func TestQueue_Concurrent(t *testing.T) {
	var sum, most atomic.Int64
	var inside atomic.Int32
	q := New(64, 1<<10, func(g []int, _ func()) {
		assert.Equal(t, int32(1), inside.Add(1))
		defer inside.Add(-1)
		most.Store(max(most.Load(), int64(len(g))))
		for _, v := range g {
			sum.Add(int64(v))
		}
	})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				if assert.NoError(t, q.Reserve(t.Context(), false)) {
					q.Push(1, 100)
				}
			}
		})
	}
	wg.Wait()
	q.Close()
	assert.EqualValues(t, 16000, sum.Load())
	assert.LessOrEqual(t, most.Load(), int64(64))
	items, bytes := q.Len()
	assert.Zero(t, items)
	assert.Zero(t, bytes)
}

func TestQueue_PlacesAreFreeBeforeTheResult(t *testing.T) {
	answers := make(chan int)
	var q *Queue[int]
	q = New(1, 100, func(g []int, free func()) {
		free()
		free() // once is enough
		items, bytes := q.Len()
		assert.Zero(t, items)
		assert.Zero(t, bytes)
		answers <- g[0]
	})
	for i := range 100 {
		require.NoError(t, q.Reserve(t.Context(), false))
		q.Push(i, 1)
		require.Equal(t, i, <-answers)
		items, _ := q.Len()
		assert.Zero(t, items)
	}
	q.Close()
}

// TestQueue_Allocs: a group allocates some memory, its items allocate none.
func TestQueue_Allocs(t *testing.T) {
	for _, items := range []int{1, 500} {
		begun, gate, ended := make(chan struct{}), make(chan struct{}), make(chan int)
		q := New(1000, 1<<20, func(g []int, free func()) {
			begun <- struct{}{}
			<-gate
			free()
			ended <- len(g)
		})
		push := func() {
			if err := q.Reserve(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			q.Push(7, 1)
		}
		allocs := testing.AllocsPerRun(20, func() {
			push()
			<-begun // what is pushed now is the next group
			for range items {
				push()
			}
			gate <- struct{}{}
			first := <-ended
			<-begun
			gate <- struct{}{}
			if second := <-ended; first != 1 || second != items {
				t.Fatalf("groups of %d and %d items", first, second)
			}
		})
		assert.LessOrEqual(t, allocs, 6.0, "two groups, the second one of %d", items)
		q.Close()
	}
}
