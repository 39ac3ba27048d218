package bolt

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// TestFault_DiskFull fills a small disk and frees space again, 5 times.
func TestFault_DiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("root only: mounting a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("root only: mounting a small disk: ", err)
	}
	defer func() { assert.NoError(t, syscall.Unmount(dir, 0)) }()
	path := filepath.Join(dir, "test.db")
	e, err := openWith(path, config{noCompression: true})
	require.NoError(t, err)
	big := make([]byte, 60_000)
	acked := uint64(0)
	for round := range 5 {
		ballast := filepath.Join(dir, "ballast")
		require.NoError(t, os.WriteFile(ballast, nil, 0o600))
		f, err := os.OpenFile(ballast, os.O_WRONLY, 0)
		require.NoError(t, err)
		for err == nil && round > 0 {
			_, err = f.Write(big)
		}
		require.NoError(t, f.Close())
		full := 0
		for tries := 0; full == 0 && tries < 500; tries++ {
			w := writeOf("a", acked, 1)
			w.Events[0].Bytes = big
			w.TrimTo = acked // a trim frees pages, so the disk is full later
			if round == 0 {
				w.TrimTo = 0
			}
			err := commitSteps(e, stepOf(w))
			if err == nil {
				acked++
				continue
			}
			require.ErrorIs(t, err, engine.ErrDiskFull)
			require.ErrorIs(t, err, engine.ErrNothingStored)
			full++
			h, err := e.Load(context.Background(), "a", everything, func(it engine.Item) error { return it.Err })
			require.NoError(t, err)
			require.Equal(t, acked, h.Seq, "old data is readable")
		}
		if round == 0 {
			require.Positive(t, full)
			w := writeOf("a", acked, 1)
			w.TrimTo = acked
			err := commitSteps(e, stepOf(w))
			if err != nil {
				require.ErrorIs(t, err, engine.ErrNothingStored)
			} else {
				acked++
			}
		}
		require.NoError(t, os.Remove(ballast))
		if round > 0 {
			w := writeOf("a", acked, 1)
			w.TrimTo = acked
			require.NoError(t, commitSteps(e, stepOf(w)), "it works again by itself")
			acked++
		}
		if round == 0 {
			require.NoError(t, syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size=12m"))
		}
	}
	require.NoError(t, e.Close())
	checkBolt(t, path)
}
