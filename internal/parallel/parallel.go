// Package parallel runs calls concurrently and reports their results one at a time.
package parallel

import (
	"context"
	"sync"
	"sync/atomic"
)

// Do calls do for each i from 0 to n-1 in at most the given number of goroutines,
// and report with each result, never two at a time and in any order. After ctx has
// ended it calls report with the cause of ctx instead of calling do. The first
// error of report ends Do, which returns it after the running calls have ended.
func Do[R any](ctx context.Context, workers, n int, do func(i int) (R, error), report func(i int, r R, err error) error) error {
	var next atomic.Int64
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				var r R
				err := context.Cause(ctx)
				if err == nil {
					r, err = do(i)
				}
				mu.Lock()
				if failed == nil {
					failed = report(i, r, err)
				}
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	return failed
}
