package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

func testContext(s *subject) {
	pos := s.store(grow("a", 0, 1), grow("long", 0, 20_000))
	require.NoError(s.t, s.e.SetNote(s.ctx(), "n", []byte("v")))
	over, cancel := context.WithCancel(s.ctx())
	cancel()
	out, err := commit(over, s.e, []engine.Step{step(grow("a", 1, 1)), step(grow("b", 0, 1))})
	require.ErrorIs(s.t, err, context.Canceled)
	require.ErrorIs(s.t, err, engine.ErrNothingStored)
	require.Len(s.t, out, 2)
	called := func(engine.Item) error { return errors.New("called") }
	_, err = s.e.Load(over, "a", everything, called)
	require.ErrorIs(s.t, err, context.Canceled)
	err = s.e.Scan(over, "", "", 0, func(string, engine.Head) error { return errors.New("called") })
	require.ErrorIs(s.t, err, context.Canceled)
	_, err = s.e.Note(over, "n")
	require.ErrorIs(s.t, err, context.Canceled)
	require.ErrorIs(s.t, s.e.SetNote(over, "n", []byte("w")), context.Canceled)
	_, err = s.e.Size(over)
	require.ErrorIs(s.t, err, context.Canceled)
	_, err = s.e.Versions(over, 1)
	require.ErrorIs(s.t, err, context.Canceled)

	// A ctx that ends during a Load ends the Load.
	within, cancel := context.WithCancel(s.ctx())
	n := 0
	_, err = s.e.Load(within, "long", everything, func(engine.Item) error { n++; cancel(); return nil })
	require.ErrorIs(s.t, err, context.Canceled)
	require.Less(s.t, n, 20_000)

	// The engine works as if these calls had not been made.
	require.Equal(s.t, []string{"a", "long"}, s.scanKeys("", "", 0))
	_, items := s.load("a", everything)
	require.Equal(s.t, eventItems("a", 1, 1, pos[0]), items)
	note, err := s.e.Note(s.ctx(), "n")
	require.NoError(s.t, err)
	require.Equal(s.t, "v", string(note))
	s.store(grow("a", 1, 1), grow("b", 0, 1))
}

func testClose(s *subject) {
	s.store(grow("a", 0, 1))
	require.NoError(s.t, s.e.Close())
	require.NoError(s.t, s.e.Close(), "a second Close does nothing")
	_, err := commit(s.ctx(), s.e, []engine.Step{step(grow("a", 1, 1))})
	require.ErrorIs(s.t, err, engine.ErrClosed)
	require.ErrorIs(s.t, err, engine.ErrNothingStored)
	_, err = s.e.Load(s.ctx(), "a", everything, func(engine.Item) error { return errors.New("called") })
	require.ErrorIs(s.t, err, engine.ErrClosed)
	err = s.e.Scan(s.ctx(), "", "", 0, func(string, engine.Head) error { return errors.New("called") })
	require.ErrorIs(s.t, err, engine.ErrClosed)
	_, err = s.e.Note(s.ctx(), "n")
	require.ErrorIs(s.t, err, engine.ErrClosed)
	require.ErrorIs(s.t, s.e.SetNote(s.ctx(), "n", []byte("v")), engine.ErrClosed)
	_, err = s.e.Size(s.ctx())
	require.ErrorIs(s.t, err, engine.ErrClosed)
	_, err = s.e.Versions(s.ctx(), 7)
	require.ErrorIs(s.t, err, engine.ErrClosed)
	require.NoError(s.t, s.e.Close())
}

func testCloseWhileReading(s *subject) {
	// A Load during Close succeeds, or returns ErrClosed.
	for i := range uint64(10) {
		s.store(grow("a", i*50, 50))
	}
	var readers, begun sync.WaitGroup
	for range 4 {
		begun.Add(1)
		readers.Go(func() {
			for first := true; ; first = false {
				_, items, err := load(context.Background(), s.e, "a", everything)
				if first {
					begun.Done()
				}
				if err != nil {
					assert.ErrorIs(s.t, err, engine.ErrClosed)
					return
				}
				if !assert.Len(s.t, items, 500) {
					return
				}
			}
		})
	}
	begun.Wait()
	require.NoError(s.t, s.e.Close())
	readers.Wait()
}

func testReopen(s *subject) {
	if s.config.Reopen == nil {
		s.t.Skip("the engine stores nothing durably")
	}
	require.Empty(s.t, s.all())
	s.reopen() // an empty engine
	require.Empty(s.t, s.all())
	var model []engine.Write
	for i := range 30 {
		model = append(model, with(grow(fmt.Sprint("m", i), 0, uint64(1+i)), 0, uint64(i/2)))
	}
	pos := s.store(model...)
	require.NoError(s.t, s.e.SetNote(s.ctx(), "n", []byte("v")))
	before := s.all()
	require.Len(s.t, before, 30)
	for range 3 {
		s.reopen()
		require.Equal(s.t, before, s.all())
		note, err := s.e.Note(s.ctx(), "n")
		require.NoError(s.t, err)
		require.Equal(s.t, "v", string(note))
	}
	// A write is compared with the stored heads, and positions continue.
	out := s.commit(step(grow("m3", 3, 1)), step(grow("m3", 4, 1)))
	requireConflict(s, out[0], "m3", 3, 4)
	require.NoError(s.t, out[1].Err)
	require.Greater(s.t, out[1].Pos[0], pos[29])
	// Reopening right after a write, many times.
	for i := range uint64(10) {
		s.store(grow("m3", 5+i, 1))
		s.reopen()
		h, items := s.load("m3", engine.LoadRange{Events: true, After: 5, To: engine.All})
		require.Equal(s.t, 6+i, h.Seq)
		require.Len(s.t, items, int(i+1))
	}
}

func testSize(s *subject) {
	machines := func(want int64) {
		s.t.Helper()
		for range 2 {
			size, err := s.e.Size(s.ctx())
			require.NoError(s.t, err)
			require.Equal(s.t, want, size.Machines)
			require.GreaterOrEqual(s.t, size.FileBytes, int64(0))
			if s.config.Reopen != nil {
				require.Positive(s.t, size.FileBytes)
			}
			s.reopen()
		}
	}
	machines(0)
	s.store(grow("a", 0, 1), grow("b", 0, 1), grow("a", 1, 1))
	machines(2)
	s.commit(step(grow("c", 5, 1)), step(engine.Write{Machine: "d"})) // both refused
	machines(2)
	s.store(purge("a", 2), grow("e", 0, 1), purge("e", 1))
	machines(1)
	s.store(purge("b", 1), purge("b", 0))
	machines(0)
}
