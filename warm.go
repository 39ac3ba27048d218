package savepoint

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Warm brings machines into memory, several at once, so that their first use
// need not wait for the disk. More than the cache holds push each other out.
// Ids that do not exist are passed over; the errors of the others are joined.
func (s *Store[S]) Warm(ctx context.Context, ids ...string) error {
	if s.db.closed.Load() {
		return ErrClosed
	}
	var next atomic.Int64
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(ids)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ids) || ctx.Err() != nil {
					return
				}
				err := checkID(ids[i])
				if err == nil {
					var m *machine
					if m, err = s.db.acquire(ctx, s.kind, ids[i]); err == nil {
						s.db.leave(m)
					}
				}
				if err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("warm %s %.60q: %w", s.kind.name, ids[i], err))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	return errors.Join(errs...)
}
