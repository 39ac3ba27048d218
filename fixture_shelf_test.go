package savepoint_test

import (
	"context"
	"fmt"

	"github.com/liap-tui/savepoint/archive"
)

// shelf is an archive in memory; put, if not nil, is called before each Put and may fail it.
type shelf struct {
	chapters map[string]*archive.Segment
	put      func(*archive.Segment) error
}

func newShelf() *shelf { return &shelf{chapters: map[string]*archive.Segment{}} }

func (a *shelf) Put(_ context.Context, c *archive.Segment) error {
	if a.put != nil {
		if err := a.put(c); err != nil {
			return err
		}
	}
	a.chapters[fmt.Sprint(c.Kind, c.ID, c.To, c.Digest)] = c
	return nil
}

func (a *shelf) Get(_ context.Context, kind, id string, to uint64, digest string) (*archive.Segment, error) {
	if c := a.chapters[fmt.Sprint(kind, id, to, digest)]; c != nil {
		return c, nil
	}
	return nil, archive.ErrNotFound
}
