package savepoint_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOptions_Engine: the engine of a file is used alone, and is then given to savepoint.Open.
func TestOptions_Engine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	eng, err := bolt.Open(path, nil)
	require.NoError(t, err)
	out := make([]engine.Result, 1)
	require.NoError(t, eng.Commit(context.Background(), []engine.Step{{Writes: []engine.Write{{Machine: "a", Seq: 1, Events: []engine.Event{{Bytes: []byte("e")}}, Head: []byte("h")}}}}, out))
	_, err = bolt.Open(path, &bolt.Options{LockTimeout: 1})
	require.ErrorIs(t, err, engine.ErrLocked)
	db, err := savepoint.Open("a name", &savepoint.Options{Engine: eng})
	require.NoError(t, err)
	assert.True(t, db.OpenReport().Created)
	require.NoError(t, db.Close())
	_, err = bolt.Open(path, &bolt.Options{LockTimeout: -1})
	require.ErrorContains(t, err, "LockTimeout")
	_, err = bolt.Open("", nil)
	require.ErrorContains(t, err, "path is empty")
	db, err = savepoint.Open(savepoint.Memory, nil)
	require.NoError(t, err)
	assert.Equal(t, engine.OpenReport{Clean: true}, db.OpenReport())
	require.NoError(t, db.Close())
}
