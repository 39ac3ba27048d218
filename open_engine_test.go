package savepoint_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOpenEngine: the engine alone, and given to savepoint.Open.
func TestOpenEngine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	eng, err := savepoint.OpenEngine(path, nil)
	require.NoError(t, err)
	out := make([]engine.Result, 1)
	require.NoError(t, eng.Commit(context.Background(), []engine.Step{{Writes: []engine.Write{{Machine: "a", Seq: 1, Events: []engine.Event{{Bytes: []byte("e")}}, Head: []byte("h")}}}}, out))
	_, err = savepoint.OpenEngine(path, &savepoint.Options{LockTimeout: 1})
	require.ErrorIs(t, err, engine.ErrLocked)
	db, err := savepoint.Open("a name", &savepoint.Options{Engine: eng})
	require.NoError(t, err)
	assert.True(t, db.OpenReport().Created)
	require.NoError(t, db.Close())
	for _, o := range []*savepoint.Options{{LockTimeout: -1}, nil} {
		_, err := savepoint.OpenEngine(map[bool]string{true: "", false: path}[o == nil], o)
		require.Error(t, err)
	}
	_, err = savepoint.OpenEngine(savepoint.Memory, nil)
	require.ErrorContains(t, err, "engine/memory")
	db, err = savepoint.Open(savepoint.Memory, nil)
	require.NoError(t, err)
	assert.Equal(t, engine.OpenReport{Clean: true}, db.OpenReport())
	require.NoError(t, db.Close())
}
