package savepoint_test

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// engines are the places of a database that the tests of the verbs run on: each returns a path for Open.
var engines = map[string]func(t *testing.T) string{
	"memory": func(*testing.T) string { return savepoint.Memory },
	"file":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "game.db") },
}

// onEach runs a test on each engine.
func onEach(t *testing.T, fn func(t *testing.T, db *savepoint.DB)) {
	for _, name := range slices.Sorted(maps.Keys(engines)) {
		t.Run(name, func(t *testing.T) {
			fn(t, open(t, engines[name](t), nil))
		})
	}
}

// open opens a database that is closed when the test ends.
func open(t testing.TB, path string, o *savepoint.Options) *savepoint.DB {
	t.Helper()
	db, err := savepoint.Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// feedEngines are the ways to keep the order of the records: in memory, in a file without a journal, with one, and with
// one that is too small for any group.
var feedEngines = map[string]func(t *testing.T) (string, *savepoint.Options){
	"memory": func(*testing.T) (string, *savepoint.Options) { return savepoint.Memory, nil },
	"direct": func(t *testing.T) (string, *savepoint.Options) {
		return filepath.Join(t.TempDir(), "game.db"), &savepoint.Options{Journal: -1}
	},
	"journal": func(t *testing.T) (string, *savepoint.Options) { return filepath.Join(t.TempDir(), "game.db"), nil },
	"small journal": func(t *testing.T) (string, *savepoint.Options) {
		return filepath.Join(t.TempDir(), "game.db"), &savepoint.Options{Journal: 16 << 10}
	},
}

// onEachFeed runs a test on each of feedEngines.
func onEachFeed(t *testing.T, fn func(t *testing.T, db *savepoint.DB)) {
	for name, way := range feedEngines {
		t.Run(name, func(t *testing.T) {
			path, o := way(t)
			fn(t, open(t, path, o))
		})
	}
}

// says checks that err matches the sentinel, if there is one, and that its text has all the words: what is wrong,
// where, and what to do.
func says(t testing.TB, err, sentinel error, words ...string) {
	t.Helper()
	if !assert.Error(t, err) {
		return
	}
	if sentinel != nil {
		assert.ErrorIs(t, err, sentinel)
	}
	for _, w := range words {
		assert.ErrorContains(t, err, w)
	}
}
