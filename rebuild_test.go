package savepoint_test

import (
	"context"
	"errors"
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

// cutShort wraps an engine: record 2 of each machine is damaged, and a load of records that is newest first calls cancel.
type cutShort struct {
	engine.Engine
	cancel context.CancelFunc
}

func (c *cutShort) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	if want.Events && want.Newest {
		c.cancel()
	}
	return c.Engine.Load(ctx, machine, want, func(it engine.Item) error {
		if it.Part == engine.PartEvent && it.Seq == 2 {
			it.Bytes, it.Err = nil, &engine.Damage{Machine: machine, Part: "event", Seq: 2, Why: errors.New("test")}
		}
		return fn(it)
	})
}

// TestRebuild_CutShortIsNoDamage ends the caller's context while a rebuild past a damaged record looks for a whole state: the
// error is the context's, the machine is not put into quarantine, and a partial recovery gives up nothing.
func TestRebuild_CutShortIsNoDamage(t *testing.T) {
	e := &cutShort{Engine: memory.New(), cancel: func() {}}
	db := open(t, "cut short", &savepoint.Options{Engine: e, Cache: savepoint.CacheOptions{Off: true}})
	s, err := savepoint.Register(db, ledgerKind(-1))
	require.NoError(t, err)
	write(t, s, "a", 1, 1)
	_, err = s.Update(t.Context(), "a", func(m *savepoint.Machine[ledger]) error {
		if err := m.Append(entry(2)); err != nil {
			return err
		}
		return m.Save(after(3))
	})
	require.NoError(t, err)
	for name, use := range map[string]func(context.Context) error{
		"Load": func(ctx context.Context) error { _, err := s.Load(ctx, "a"); return err },
		"Recover": func(ctx context.Context) error {
			rep, err := s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true})
			assert.Equal(t, report.Failed, rep.Status)
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		e.cancel = cancel
		require.ErrorIs(t, use(ctx), context.Canceled, name)
		assert.Empty(t, db.Quarantined(), name)
	}
	well(t, s, "a", 3)
}
