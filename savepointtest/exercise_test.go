package savepointtest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/savepointtest"
)

// board is a state that programs can use wrongly in many ways.
type board struct {
	Seats map[string]int
	Order []string
	N     int64
}

// act is an event whose Apply does what a test wants.
type act struct{ What string }

func (e act) Check(b *board, _ savepoint.Meta) error {
	if e.What == "check" {
		b.N++
	}
	return nil
}

func (e act) Apply(b *board, _ savepoint.Meta) error {
	b.N++
	switch e.What {
	case "seats":
		b.Seats = map[string]int{"ann": 1, "bob": 2, "cid": 3, "dan": 4, "eva": 5, "fay": 6}
	case "clock":
		b.N = time.Now().UnixNano()
	case "random":
		b.N = rand.Int64()
	case "order":
		b.Order = nil
		for name := range b.Seats {
			b.Order = append(b.Order, name)
		}
	}
	return nil
}

// half is decoded to another value than the encoded one.
type half struct{ A int }

func (half) Apply(*board, savepoint.Meta) error { return nil }

func (h half) MarshalText() ([]byte, error) { return []byte{byte(h.A)}, nil }

func (h *half) UnmarshalText(b []byte) error { h.A = int(b[0]) + 1; return nil }

func boardKind() savepoint.Kind[board] {
	return savepoint.Kind[board]{Name: "board", Strategy: savepoint.SnapshotOnly, Events: savepoint.Events[board]{"act": act{}}}
}

// acts appends events.
func acts(what ...string) func(context.Context, *savepoint.Store[board], string) error {
	return func(ctx context.Context, s *savepoint.Store[board], id string) error {
		for _, w := range what {
			if _, err := s.Append(ctx, id, act{w}); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestExercise(t *testing.T) {
	var kept *board
	keep := func(ctx context.Context, s *savepoint.Store[board], id string) error {
		if err := acts("seats", "", "")(ctx, s, id); err != nil {
			return err
		}
		err := s.View(ctx, id, func(st *savepoint.State[board]) error { kept = &st.Value; return nil })
		kept.Seats["ann"]++
		return err
	}
	for _, c := range []struct {
		name string
		play func(context.Context, *savepoint.Store[board], string) error
		want string
	}{
		{"good", acts("seats", "", "", "", ""), ""},
		{"a clock", acts("", "clock", "", ""), "results in another state"},
		{"chance", acts("", "random"), "results in another state"},
		{"the order of a map", acts("seats", "order", "order", "order"), "results in another state"},
		{"a Check that changes", acts("", "check"), "results in another state"},
		{"a pointer kept from View", keep, "results in another state"},
		{"an error", func(context.Context, *savepoint.Store[board], string) error { return errors.New("lost") }, "play: lost"},
		{"nothing played", acts(), "not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := errorsOf(t, func(t testing.TB) { savepointtest.Exercise(t, boardKind(), c.play) })
			if c.want == "" {
				assert.Empty(t, text)
			} else {
				assert.Contains(t, text, c.want)
			}
		})
	}
	k := boardKind()
	k.Events["half"] = half{}
	assert.Contains(t, errorsOf(t, func(t testing.TB) { savepointtest.Exercise(t, k, acts("")) }), `did not append the events ["half"]`)
	assert.Contains(t, errorsOf(t, func(t testing.TB) {
		savepointtest.Exercise(t, k, func(ctx context.Context, s *savepoint.Store[board], id string) error {
			_, err := s.Append(ctx, id, half{1})
			return errors.Join(err, acts("")(ctx, s, id))
		})
	}), "differs after encoding")
}

func TestReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "games.db")
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	k := boardKind()
	k.Strategy = savepoint.Hybrid
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	replay := func() string { return errorsOf(t, func(t testing.TB) { savepointtest.Replay(t, path, k) }) }
	assert.Contains(t, replay(), "in use")
	for _, id := range []string{"a", "b", "deleted"} {
		require.NoError(t, acts("seats", "", "")(t.Context(), s, id))
		_, err = s.Snapshot(t.Context(), id)
		require.NoError(t, err)
	}
	_, err = s.Delete(t.Context(), "deleted")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	k.Retention.ArchiveAfter = time.Hour // which needs an archive, elsewhere
	assert.Empty(t, replay())
	k.Events["act"] = other{}
	text := replay()
	for _, id := range []string{`"a"`, `"b"`, `"deleted"`} {
		assert.Contains(t, text, id)
	}
	k = savepoint.Kind[board]{Name: "none"}
	assert.Contains(t, replay(), "no machine of kind")
	path += "x"
	assert.Contains(t, replay(), "no such file")
}

// other is act with another effect.
type other struct{ What string }

func (other) Apply(b *board, _ savepoint.Meta) error { b.N += 2; return nil }
