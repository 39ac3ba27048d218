package archive_test

import (
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/archive"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/engine"
)

// documents opens a database in memory with the archive a, whose clock does not move.
func documents(t *testing.T, a archive.Archive) *savepoint.Store[savepoint.Doc] {
	t.Helper()
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	db, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Now: func() time.Time { return noon }, Archive: a})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	s, err := savepoint.Register(db, document.Kind("docs"))
	require.NoError(t, err)
	return s
}

// files returns the text of each file below dir, by its name from there.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(name)
		require.NoError(t, err)
		defer f.Close()
		z, err := gzip.NewReader(f)
		require.NoError(t, err)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		name, err = filepath.Rel(dir, name)
		all[filepath.ToSlash(name)] = string(text)
		return err
	}))
	return all
}

// The files of an archive are found and read for ever: their names and their lines are those in testdata.
func TestDir_Files(t *testing.T) {
	dir := t.TempDir()
	s, ctx, id := documents(t, archive.Dir(dir)), t.Context(), "Game Ü/1"
	_, err := s.Append(ctx, id, document.Transition{Action: "go", To: "turn", Payload: 3.5, Update: map[string]any{"hands": map[int]any{3: "7H"}}},
		savepoint.By("ann"), savepoint.Tag("first", "second"), savepoint.Cause("a cause"), savepoint.Correlation("a request"), savepoint.Key("a key"))
	require.NoError(t, err)
	_, err = s.Append(ctx, id, document.Update{Set: map[string]any{"n": 1}, Reason: "a reason"}, savepoint.OriginTimeout)
	require.NoError(t, err)
	_, err = s.Save(ctx, id, savepoint.Doc{"phase": "turn", "at": time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}, savepoint.By("system"))
	require.NoError(t, err)
	for _, to := range []savepoint.Point{savepoint.AtSeq(1), savepoint.Latest()} {
		_, err = s.Compact(ctx, id, to)
		require.NoError(t, err)
	}
	want := map[string]string{}
	for name, file := range map[string]string{"1-17e76efee2c1f5ed": "segment1.jsonl", "3-bcc906b9a4139fa3": "segment2.jsonl"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		require.NoError(t, err)
		want["docs/87/%47ame%20%C3%9C%2F1-"+name+".jsonl.gz"] = string(text)
	}
	assert.Equal(t, want, files(t, dir))
}

func TestDir_NumbersWithoutJSON(t *testing.T) {
	dir := t.TempDir()
	s := documents(t, archive.Dir(dir))
	_, err := s.Append(t.Context(), "g", document.Transition{Action: "go", Payload: math.Inf(1), Update: map[string]any{"year": time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)}})
	require.NoError(t, err)
	_, err = s.Compact(t.Context(), "g", savepoint.Latest())
	require.NoError(t, err)
	all := files(t, dir)
	require.Len(t, all, 1)
	for _, text := range all {
		assert.Contains(t, text, `"Payload":"+Inf"`)
		assert.Contains(t, text, `"year":"12026-01-01T00:00:00Z"`)
	}
}

func TestDir_Get(t *testing.T) {
	dir := t.TempDir()
	s, a, ctx := documents(t, archive.Dir(dir)), archive.Dir(dir), t.Context()
	_, err := s.Append(ctx, "g", document.Update{Set: map[string]any{"n": 1}}, savepoint.By("ann"))
	require.NoError(t, err)
	_, err = s.Compact(ctx, "g", savepoint.Latest())
	require.NoError(t, err)
	var digest string
	for info, err := range s.Snapshots(ctx, "g", savepoint.SnapshotRange{}) {
		require.NoError(t, err)
		digest = info.Digest
	}
	got, err := a.Get(ctx, "docs", "g", 1, digest)
	require.NoError(t, err)
	require.Len(t, got.Records, 1)
	state, err := got.State()
	require.NoError(t, err)
	assert.Equal(t, map[string]any{}, state)
	info, err := got.Records[0].Info()
	require.NoError(t, err)
	event, err := info.Event()
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"Set": map[string]any{"n": int64(1)}, "Remove": nil, "Reason": ""}, event)
	assert.Equal(t, []string{"update", "ann", "user", "1.0.0"}, []string{info.Name, info.Actor, info.Origin, info.Version})

	for what, get := range map[string]func() (*archive.Segment, error){
		"kind":   func() (*archive.Segment, error) { return a.Get(ctx, "doc", "g", 1, digest) },
		"id":     func() (*archive.Segment, error) { return a.Get(ctx, "docs", "G", 1, digest) },
		"to":     func() (*archive.Segment, error) { return a.Get(ctx, "docs", "g", 2, digest) },
		"digest": func() (*archive.Segment, error) { return a.Get(ctx, "docs", "g", 1, strings.Repeat("0", 32)) },
	} {
		_, err := get()
		require.ErrorIs(t, err, archive.ErrNotFound, "another %s", what)
	}
	ended, end := context.WithCancel(ctx)
	end()
	_, err = a.Get(ended, "docs", "g", 1, digest)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, engine.ErrCorrupt, "nothing is wrong with the file")
}
