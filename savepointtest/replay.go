package savepointtest

import (
	"context"
	"testing"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/archive"
)

// Replay replays every machine of the kind in a real file, deleted ones included,
// and fails the test if a replay results in another state than the stored one: an
// Apply has changed, a migration is missing, or the file is damaged. It opens the
// file for reading only: no program may have it open for writing, so a copy of a
// backup is a good choice. A file without a machine of the kind fails the test too.
func Replay[S any](t testing.TB, path string, k savepoint.Kind[S]) {
	t.Helper()
	db, err := savepoint.Open(path, &savepoint.Options{ReadOnly: true, Archive: unread{}})
	if err != nil {
		t.Errorf("savepointtest: replay: %v", err)
		return
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Errorf("savepointtest: replay %s: %v", path, err)
		}
	}()
	s, err := savepoint.Register(db, k)
	if err != nil {
		t.Errorf("savepointtest: replay %s: %v", path, err)
		return
	}
	ctx, n := context.Background(), 0
	for h, err := range s.List(ctx, savepoint.ListOptions{Deleted: true}) {
		n++
		if err != nil {
			t.Errorf("savepointtest: replay %s: %v", path, err)
			continue
		}
		rep, err := s.Verify(ctx, h.ID)
		if err != nil {
			t.Errorf("savepointtest: replay %s: %v", path, err)
			continue
		}
		for _, d := range rep.Divergences {
			t.Errorf("savepointtest: replay %s: %s %q: %s", path, k.Name, h.ID, d)
		}
	}
	if n == 0 {
		t.Errorf("savepointtest: replay %s: it has no machine of kind %q", path, k.Name)
	}
}

// unread is an empty archive, for kinds that need an archive to be registered.
type unread struct{}

func (unread) Put(context.Context, *archive.Segment) error { return savepoint.ErrReadOnly }

func (unread) Get(context.Context, string, string, uint64, string) (*archive.Segment, error) {
	return nil, archive.ErrNotFound
}
