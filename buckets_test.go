package savepoint_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
)

func entries(u engine.Usage) map[string]int64 {
	all := map[string]int64{}
	for _, b := range u.Buckets {
		all[b.Name] = b.Entries
	}
	return all
}

func TestBuckets_File(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "game.db"), t.Context()
	db := open(t, path, &savepoint.Options{Journal: 8 << 20})
	s := register(t, db)
	for i := range 50 {
		begin(t, s, fmt.Sprint("g-", i), 3)
	}
	u, err := db.Buckets(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 200, u.Journal.Records, "nothing was moved to the buckets yet")
	assert.Zero(t, entries(u)["events"])
	require.NoError(t, db.Close())
	_, err = db.Buckets(ctx)
	require.ErrorIs(t, err, savepoint.ErrClosed)

	db = open(t, path, &savepoint.Options{ReadOnly: true})
	u, err = db.Buckets(ctx)
	require.NoError(t, err)
	assert.Zero(t, u.Journal, "Close moved all of it to the buckets")
	assert.EqualValues(t, 50, entries(u)["machines"])
	assert.EqualValues(t, 100, entries(u)["snapshots"], "the initial state of each, and the one of Close")
	assert.Equal(t, db.Stats().FileBytes, u.FileBytes)
	pages := u.FreePages + u.SystemPages
	for _, b := range u.Buckets {
		pages += b.Pages
	}
	assert.Equal(t, u.Pages, pages)
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err = db.Buckets(over)
	require.ErrorIs(t, err, context.Canceled)
}

func TestBuckets_Memory(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	begin(t, s, "g", 3)
	u, err := db.Buckets(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]int64{"events": 4, "machines": 1, "notes": 2, "snapshots": 1}, entries(u), "the notes of the kind and of the last kind's number")
	assert.Zero(t, u.Pages+u.PageBytes+u.FileBytes+u.FreePages+u.SystemPages)
	assert.Zero(t, u.Journal)
}

// opaqueEngine is an engine without further abilities.
type opaqueEngine struct{ engine.Engine }

func TestBuckets_Unsupported(t *testing.T) {
	db := open(t, "g", &savepoint.Options{Engine: opaqueEngine{newFaulty()}})
	_, err := db.Buckets(t.Context())
	require.ErrorIs(t, err, savepoint.ErrUnsupported)
}

// What takes the space of a file.
func ExampleDB_Buckets() {
	ctx := context.Background()
	db, err := savepoint.Open(savepoint.Memory, nil) // or a file
	if err != nil {
		panic(err)
	}
	defer db.Close()
	games, err := savepoint.Register(db, tableKind())
	if err != nil {
		panic(err)
	}
	for i := range 10 {
		if _, err := games.Append(ctx, fmt.Sprint("g-", i), deal()); err != nil {
			panic(err)
		}
	}
	usage, err := db.Buckets(ctx)
	if err != nil {
		panic(err)
	}
	for _, b := range usage.Buckets {
		fmt.Printf("%s: %d entries\n", b.Name, b.Entries)
	}
	fmt.Printf("%d pages, %d of them free\n", usage.Pages, usage.FreePages)
	// Output:
	// events: 10 entries
	// machines: 10 entries
	// notes: 2 entries
	// snapshots: 10 entries
	// 0 pages, 0 of them free
}
