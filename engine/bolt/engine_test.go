package bolt

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/enginetest"
	"github.com/liap-tui/savepoint/internal/long"
	"github.com/liap-tui/savepoint/internal/record"
)

// openAt opens a file; at the end of the test it is closed and checked with bbolt's own check.
func openAt(t testing.TB, path string, o config) *Engine {
	t.Helper()
	e, err := openWith(path, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, e.Close())
		checkBolt(t, path)
	})
	return e
}

// checkBolt runs bbolt's own check on a closed file.
func checkBolt(t testing.TB, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if !assert.NoError(t, err) {
		return
	}
	defer db.Close()
	_ = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			assert.NoError(t, err)
		}
		return nil
	})
}

// rows C1, C2, C17, L8.
func TestEngine_Conformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]config{
		"Plain":    {},
		"Short":    {readBytes: 4 << 10}, // a load takes several transactions
		"NotSmall": {noCompression: true},
		"Shared":   {dictionaryDue: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "Plain" {
				long.Skip(t, "conformance with another configuration")
			}
			t.Parallel()
			var mu sync.Mutex
			paths := map[engine.Engine]string{}
			open := func(t *testing.T, path string) engine.Engine {
				e := openAt(t, path, o)
				mu.Lock()
				defer mu.Unlock()
				paths[e] = path
				return e
			}
			enginetest.Run(t, enginetest.Config{
				Event: enveloped,
				Open:  func(t *testing.T) engine.Engine { return open(t, filepath.Join(t.TempDir(), "test.db")) },
				Reopen: func(t *testing.T, e engine.Engine) engine.Engine {
					require.NoError(t, e.Close())
					checkBolt(t, paths[e])
					return open(t, paths[e])
				},
			})
		})
	}
}

// enveloped returns an event whose bytes hold its terms, as the library's events do.
func enveloped(ev engine.Event) engine.Event {
	t := &ev.Terms
	env := record.Envelope{Time: t.Time, Name: t.Name, From: t.From, To: t.To, Actor: t.Actor, Origin: t.Origin, Payload: ev.Bytes}
	ev.Bytes = env.Append(nil)
	return ev
}

// TestEngine_EmptySteps: a group whose accepted steps have no write stores nothing:
// it takes no transaction, no record of the journal and no position.
func TestEngine_EmptySteps(t *testing.T) {
	purge := engine.Write{Machine: "b", Expect: 7, Purge: true}
	for name, c := range map[string]struct {
		o      config
		refuse engine.Step
	}{
		"direct":             {config{}, stepOf(writeOf("b", 7, 1))},
		"journal":            {config{journalBytes: 1 << 20}, stepOf(writeOf("b", 7, 1))},
		"bypass the journal": {config{journalBytes: 1 << 20}, stepOf(purge)},
	} {
		t.Run(name, func(t *testing.T) {
			commits := 0
			c.o.seams.commit = func(tx *txn) error { commits++; return tx.commit() }
			e := openAt(t, filepath.Join(t.TempDir(), "test.db"), c.o)
			next := func() (lsn uint64) {
				if e.journal != nil {
					lsn = e.journal.journal.Load().Next()
				}
				return lsn
			}
			require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 3))))
			before, lsn, counters := commits, next(), e.counters
			out := make([]engine.Result, 3)
			require.NoError(t, e.Commit(t.Context(), []engine.Step{{}, c.refuse, {}}, out))
			require.NoError(t, out[0].Err)
			require.Empty(t, out[0].Pos)
			require.ErrorAs(t, out[1].Err, new(*engine.Conflict))
			require.NoError(t, out[2].Err)
			require.Equal(t, before, commits)
			require.Equal(t, lsn, next())
			require.Equal(t, counters, e.counters)
		})
	}
}
