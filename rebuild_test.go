package savepoint_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
	"github.com/liap-tui/savepoint/report"
)

// changing wraps an engine: some loads of records end with ErrChanged, after their items were passed on.
type changing struct {
	engine.Engine
	loads atomic.Int64 // how many of the next ones end so
}

func (c *changing) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	head, err := c.Engine.Load(ctx, machine, want, fn)
	if want.Events && err == nil && c.loads.Add(-1) >= 0 {
		return engine.Head{}, fmt.Errorf("between two transactions: %w", engine.ErrChanged)
	}
	return head, err
}

// TestRebuild_StartsAgainWhenTheMachineChanged ends loads with ErrChanged, as an engine may when the machine is compacted or
// purged meanwhile. Every reader starts again. After a few tries it returns the error, which is not damage: the machine is not
// put into quarantine.
func TestRebuild_StartsAgainWhenTheMachineChanged(t *testing.T) {
	ctx := t.Context()
	e := &changing{Engine: memory.New()}
	db := open(t, "changing", &savepoint.Options{Engine: e, Cache: savepoint.CacheOptions{Off: true}})
	s, err := savepoint.Register(db, ledgerKind(4))
	require.NoError(t, err)
	write(t, s, "a", 1, 10)
	readers := map[string]func() error{
		"Load": func() error { _, err := s.Load(ctx, "a"); return err },
		"At":   func() error { _, err := s.At(ctx, "a", savepoint.AtSeq(7)); return err },
		"Recover": func() error {
			rep, err := s.Recover(ctx, "a", savepoint.RecoverOptions{})
			if err == nil {
				assert.Equal(t, report.Healthy, rep.Status)
			}
			return err
		},
		"RecoverAll": func() error { _, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{Workers: 1}); return err },
		"Verify":     func() error { _, err := s.Verify(ctx, "a"); return err },
	}
	for name, read := range readers {
		e.loads.Store(2)
		require.NoError(t, read(), name)
		e.loads.Store(1000)
		require.ErrorIs(t, read(), engine.ErrChanged, name)
		e.loads.Store(0)
		assert.Empty(t, db.Quarantined(), name)
		well(t, s, "a", 10)
	}
}
