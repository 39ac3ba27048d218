package bolt

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/enginetest"
	"github.com/liap-tui/savepoint/internal/long"
)

// journalConfigs are the journals that tests run with.
var journalConfigs = map[string]config{
	"TwoTiny": {journalBytes: 8 << 10, journalSegment: 4 << 10}, // wraps, is full and too small all the time
	"Tiny":    {journalBytes: 16 << 10, journalSegment: 8 << 10, readBytes: 4 << 10},
	"Small":   {journalBytes: 256 << 10},
	"Usual":   {journalBytes: 16 << 20},
	"Growing": {journalBytes: 8 << 10, journalMaxBytes: 128 << 10},
}

// killBolt ends an engine as kill -9 does: without a checkpoint and without the mark
// of a closed file. The lock ends with the descriptor; bbolt's handle is not closed.
func killBolt(e *Engine) {
	e.writing.Lock()
	defer e.writing.Unlock()
	if e.journal != nil {
		e.journal.close()
	}
	e.open.Lock()
	defer e.open.Unlock()
	e.closed = true
	unlockFile(e.file)
	e.file.Close()
}

// makeCheckpoint stores what only the journal holds, and what also puts. Without a
// journal it is a transaction of its own.
func makeCheckpoint(e *Engine, also func(tx *txn) error) error {
	if e.journal == nil {
		return e.update(also)
	}
	return e.journal.checkpoint(also)
}

func TestJournal_Conformance(t *testing.T) {
	t.Parallel()
	for name, o := range journalConfigs {
		for _, kill := range []bool{false, true} {
			t.Run(name+map[bool]string{true: "_Kill"}[kill], func(t *testing.T) {
				if !(name == "TwoTiny" && !kill || name == "Growing" && kill) {
					long.Skip(t, "conformance with another journal")
				}
				t.Parallel()
				var mu sync.Mutex
				paths := map[engine.Engine]string{}
				open := func(t *testing.T, path string) engine.Engine {
					e, err := openWith(path, o)
					require.NoError(t, err)
					t.Cleanup(func() {
						if e.closed {
							return
						}
						require.NoError(t, e.Close())
						checkBolt(t, path)
					})
					mu.Lock()
					defer mu.Unlock()
					paths[e] = path
					return e
				}
				enginetest.Run(t, enginetest.Config{
					Event: enveloped,
					Open:  func(t *testing.T) engine.Engine { return open(t, filepath.Join(t.TempDir(), "test.db")) },
					Reopen: func(t *testing.T, e engine.Engine) engine.Engine {
						if !kill {
							require.NoError(t, e.Close())
							checkBolt(t, paths[e])
							return open(t, paths[e])
						}
						killBolt(e.(*Engine))
						// A copy, as after a restart of the machine: bbolt's map of the old one is still there.
						b, err := os.ReadFile(paths[e])
						require.NoError(t, err)
						path := filepath.Join(t.TempDir(), "copy.db")
						require.NoError(t, os.WriteFile(path, b, 0o600))
						return open(t, path)
					},
				})
			})
		}
	}
}
