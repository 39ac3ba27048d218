package enginetest

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

func testBuckets(s *subject) {
	if _, ok := s.e.(engine.Bucketer); !ok {
		s.t.Skip("the engine is no Bucketer")
	}
	var random [200_000]byte // does not compress
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random[:])
	empty := storedBytes(s)
	event, snapshot, note := random[:90_000], random[90_000:160_000], random[160_000:]
	s.store(engine.Write{Machine: "a", Seq: 1, Events: []engine.Event{s.event(engine.Event{Bytes: event})}, Head: []byte("head")})
	one := storedBytes(s)
	require.GreaterOrEqual(s.t, one-empty, int64(len(event)), "an event counts as soon as it is stored, wherever that is")
	w := grow("a", 1, 1)
	w.Snapshots = []engine.Snapshot{{Seq: 2, Bytes: snapshot}}
	s.store(w)
	two := storedBytes(s)
	require.GreaterOrEqual(s.t, two-one, int64(len(snapshot)))
	require.NoError(s.t, s.e.SetNote(s.ctx(), "n", note))
	require.GreaterOrEqual(s.t, storedBytes(s)-two, int64(len(note)))
	s.reopen()
	if s.config.Reopen != nil {
		require.GreaterOrEqual(s.t, storedBytes(s)-empty, int64(len(event)+len(snapshot)+len(note)))
	}

	over, cancel := context.WithCancel(s.ctx())
	cancel()
	_, err := s.e.(engine.Bucketer).Buckets(over)
	require.ErrorIs(s.t, err, context.Canceled)
	require.NoError(s.t, s.e.Close())
	_, err = s.e.(engine.Bucketer).Buckets(s.ctx())
	require.ErrorIs(s.t, err, engine.ErrClosed)
}

// storedBytes returns how many bytes the engine reports to hold. It checks what holds of any
// Usage while nothing is written.
func storedBytes(s *subject) (bytes int64) {
	s.t.Helper()
	u, err := s.e.(engine.Bucketer).Buckets(s.ctx())
	require.NoError(s.t, err)
	var names []string
	pages := u.FreePages + u.SystemPages
	for _, b := range u.Buckets {
		require.NotEmpty(s.t, b.Name)
		require.False(s.t, b.Entries < 0 || b.KeyBytes < 0 || b.ValueBytes < 0 || b.Pages < 0, "%+v", b)
		require.False(s.t, b.Entries == 0 && b.KeyBytes+b.ValueBytes > 0, "%+v", b)
		names = append(names, b.Name)
		pages += b.Pages
		bytes += b.KeyBytes + b.ValueBytes
	}
	require.True(s.t, slices.IsSorted(names), "%q", names)
	require.Len(s.t, slices.Compact(names), len(u.Buckets), "a name occurs once")
	require.Equal(s.t, u.Pages, pages, "used, free and the file's own pages are all pages")
	require.Equal(s.t, u.PageBytes == 0, u.Pages == 0)
	require.GreaterOrEqual(s.t, u.FileBytes, u.Pages*u.PageBytes)
	require.False(s.t, u.Journal.Records < 0 || u.Journal.Bytes < 0 || u.Journal.Bytes == 0 && u.Journal.Records > 0, "%+v", u.Journal)
	return bytes + u.Journal.Bytes
}
