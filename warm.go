package savepoint

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Warm brings machines into memory, several at once, so that their first use
// need not wait for the disk. More than the cache holds push each other out.
// Ids that do not exist are passed over; the errors of the others are joined.
func (s *Store[S]) Warm(ctx context.Context, ids ...string) error {
	if s.db.closed.Load() {
		return ErrClosed
	}
	var errs []error
	err := inParallel(ctx, runtime.GOMAXPROCS(0), len(ids), func(i int) (*machine, error) {
		if err := checkID(ids[i]); err != nil {
			return nil, err
		}
		m, err := s.db.acquire(ctx, s.kind, ids[i])
		if err == nil {
			s.db.leave(m)
		}
		return m, err
	}, func(i int, _ *machine, err error) error {
		if err != nil {
			errs = append(errs, fmt.Errorf("warm %s %.60q: %w", s.kind.name, ids[i], err))
		}
		return context.Cause(ctx)
	})
	return errors.Join(append(errs, err)...)
}
