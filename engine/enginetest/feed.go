package enginetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// placed is an event in the order of positions.
type placed struct {
	machine  string
	seq, pos uint64
	bytes    string
}

// feeder returns the engine as a Feeder, or skips the test if it is not one.
func (s *subject) feeder() engine.Feeder {
	f, ok := s.e.(engine.Feeder)
	if !ok {
		s.t.Skip("the engine is no Feeder")
	}
	return f
}

// feed returns the events after position after, without trimmed ones.
func (s *subject) feed(after uint64) (got []placed, upTo uint64) {
	s.t.Helper()
	got, upTo, err := feed(s.ctx(), s.feeder(), after)
	require.NoError(s.t, err, "feed after %d", after)
	return got, upTo
}

func feed(ctx context.Context, f engine.Feeder, after uint64) (got []placed, upTo uint64, err error) {
	last := after
	upTo, err = f.Feed(ctx, after, func(r engine.Record) error {
		if r.Pos <= last {
			return fmt.Errorf("position %d is delivered after %d", r.Pos, last)
		}
		if last = r.Pos; errors.Is(r.Err, engine.ErrTrimmed) {
			return nil
		}
		if r.Err != nil {
			return r.Err
		}
		got = append(got, placed{r.Machine, r.Seq, r.Pos, string(bytes.Clone(r.Bytes))})
		return nil
	})
	if err == nil && upTo < last {
		err = fmt.Errorf("the returned position is %d, the last record has %d", upTo, last)
	}
	return got, upTo, err
}

// placed returns the model's events after position after, in order.
func (m *model) placed(after uint64) (all []placed) {
	for machine, mm := range m.machines {
		for _, it := range mm.events {
			if it.pos > after {
				all = append(all, placed{machine, it.seq, it.pos, it.bytes})
			}
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Compare(a.pos, b.pos) })
	return all
}

// requireFeed compares one Feed with the model, if the engine is a Feeder.
func (m *model) requireFeed(s *subject, after uint64) {
	s.t.Helper()
	if _, ok := s.e.(engine.Feeder); !ok {
		return
	}
	want := m.placed(after)
	got, upTo := s.feed(after)
	if !slices.Equal(want, got) {
		require.Equal(s.t, want, got, "feed after %d", after)
	}
	require.LessOrEqual(s.t, upTo, max(after, m.pos))
	rest, _ := s.feed(upTo)
	require.Empty(s.t, rest, "after the end of the feed")
}

func testFeed(s *subject) {
	got, upTo := s.feed(0)
	require.Empty(s.t, got)
	require.Zero(s.t, upTo)
	pos := s.store(grow("a", 0, 2), grow("b", 0, 1), growTo("a", 2, 9, 3), growTo("c", 0, 4, 0), grow("b", 1, 1), purge("b", 2), grow("b", 0, 1))
	want := []placed{}
	for _, a := range []struct {
		machine   string
		seq, last uint64
		pos       uint64
	}{{"a", 1, 2, pos[0]}, {"a", 7, 9, pos[2]}, {"b", 1, 1, pos[6]}} {
		for seq := a.seq; seq <= a.last; seq++ {
			want = append(want, placed{a.machine, seq, a.pos - (a.last - seq), string(eventBytes(a.machine, seq))})
		}
	}
	for range 2 {
		for after := range pos[6] + 3 {
			got, upTo := s.feed(after)
			from := slices.IndexFunc(want, func(p placed) bool { return p.pos > after })
			if from < 0 {
				from = len(want)
			}
			require.ElementsMatch(s.t, want[from:], got, "after %d", after)
			require.Equal(s.t, max(after, pos[6]), upTo)
		}
		s.reopen()
	}
	got, _ = s.feed(engine.All)
	require.Empty(s.t, got)
}

func testFeedStop(s *subject) {
	for seq := range uint64(40) {
		s.store(grow("a", seq, 1), grow("b", seq, 1))
	}
	f := s.feeder()
	var all []uint64
	for at := uint64(0); ; {
		n := 0
		upTo, err := f.Feed(s.ctx(), at, func(r engine.Record) error {
			all = append(all, r.Pos)
			if n++; n == 7 {
				return engine.Stop
			}
			return nil
		})
		require.NoError(s.t, err)
		if n == 0 {
			break
		}
		require.Equal(s.t, all[len(all)-1], upTo)
		at = upTo
	}
	require.Len(s.t, all, 80)
	mine := errors.New("mine")
	at, err := f.Feed(s.ctx(), all[3], func(engine.Record) error { return mine })
	require.ErrorIs(s.t, err, mine)
	require.Equal(s.t, all[3], at)
	over, cancel := context.WithCancel(s.ctx())
	_, err = f.Feed(over, 0, func(r engine.Record) error { cancel(); return nil })
	require.ErrorIs(s.t, err, context.Canceled)
}

func testFeedTrimmed(s *subject) {
	s.store(grow("a", 0, 20), grow("b", 0, 3))
	before, _ := s.feed(0)
	s.store(engine.Write{Machine: "a", Expect: 20, Seq: 20, TrimTo: 15})
	after, _ := s.feed(0)
	require.Equal(s.t, before[15:], after)
	f := s.feeder()
	var gone []uint64
	_, err := f.Feed(s.ctx(), 0, func(r engine.Record) error {
		if errors.Is(r.Err, engine.ErrTrimmed) {
			require.Equal(s.t, "a", r.Machine)
			require.Nil(s.t, r.Bytes)
			gone = append(gone, r.Seq)
		}
		return nil
	})
	require.NoError(s.t, err)
	require.True(s.t, len(gone) == 0 || len(gone) == 15, "trimmed: %v", gone)
}

// testFeedWhileWriting follows a writer: no event is skipped or delivered twice.
func testFeedWhileWriting(s *subject) {
	const writes = 300
	f := s.feeder()
	failed := make(chan error, 1)
	go func() {
		for seq := range uint64(writes) {
			out, err := commit(s.ctx(), s.e, []engine.Step{step(grow("a", seq, 1)), step(grow("b", 2*seq, 2))})
			if err = cmp.Or(err, out[0].Err, out[1].Err); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	var got []placed
	for at, ended := uint64(0), false; ; {
		if !ended {
			select {
			case err := <-failed:
				require.NoError(s.t, err)
				ended = true
			default:
			}
		}
		some, upTo, err := feed(s.ctx(), f, at)
		require.NoError(s.t, err)
		if got, at = append(got, some...), upTo; ended {
			break
		}
	}
	require.Len(s.t, got, 3*writes)
	seqs := map[string]uint64{}
	for _, p := range got {
		require.Equal(s.t, seqs[p.machine]+1, p.seq, "machine %s", p.machine)
		seqs[p.machine] = p.seq
	}
}
