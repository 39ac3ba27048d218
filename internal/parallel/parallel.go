// Package parallel runs calls side by side and reports what they gave one at a time.
package parallel

import (
	"context"
	"sync"
	"sync/atomic"
)

// Do calls do for 0 to n-1, workers at a time, and then tell with what it
// answered, one at a time; the end of ctx is an answer too. The first error of
// tell ends it once the calls under way are through.
func Do[R any](ctx context.Context, workers, n int, do func(i int) (R, error), tell func(i int, r R, err error) error) error {
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
					failed = tell(i, r, err)
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
