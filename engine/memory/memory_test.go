package memory_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/enginetest"
	"github.com/liap-tui/savepoint/engine/memory"
)

// rows C16, D1, J1.
func TestConformance(t *testing.T) {
	enginetest.Run(t, enginetest.Config{
		Open: func(*testing.T) engine.Engine { return memory.New() },
	})
}

func TestConformance_Limited(t *testing.T) {
	enginetest.Run(t, enginetest.Config{
		Open: func(*testing.T) engine.Engine { return memory.NewLimited(engine.Limits{MaxStep: 1 << 20}) },
	})
}

// kept is a memory engine that pretends to store its contents on a disk.
type kept struct{ *memory.Engine }

func (k kept) Size(ctx context.Context) (engine.Size, error) {
	size, err := k.Engine.Size(ctx)
	size.FileBytes = 1
	return size, err
}

func TestConformance_Reopened(t *testing.T) {
	enginetest.Run(t, enginetest.Config{
		Open: func(*testing.T) engine.Engine {
			return kept{memory.NewLimited(engine.Limits{AtomicAcross: true, MaxStep: 4 << 20})}
		},
		Reopen: func(_ *testing.T, e engine.Engine) engine.Engine { return kept{e.(kept).Reopened()} },
	})
}

func TestEngine_LentBytesDie(t *testing.T) {
	// Bytes that are kept after the callback returned are overwritten at once.
	e := memory.New()
	steps := []engine.Step{{Writes: []engine.Write{{Machine: "a", Seq: 2, Head: []byte("head"),
		Events: []engine.Event{{Bytes: []byte("first")}, {Bytes: []byte("other")}}}}}}
	out := make([]engine.Result, 1)
	require.NoError(t, e.Commit(t.Context(), steps, out))
	require.NoError(t, out[0].Err)

	var kept [][]byte
	_, err := e.Load(t.Context(), "a", engine.LoadRange{Events: true, To: engine.All}, func(it engine.Item) error {
		kept = append(kept, it.Bytes)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, kept, 2)
	require.NotEqual(t, "first", string(kept[0]))
	require.NotEqual(t, "other", string(kept[1]))

	kept = nil
	require.NoError(t, e.Scan(t.Context(), "", "", 0, func(_ string, h engine.Head) error {
		kept = append(kept, h.Bytes)
		return nil
	}))
	require.NotEqual(t, "head", string(kept[0]))
}
