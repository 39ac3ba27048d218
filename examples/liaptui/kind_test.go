package main

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
	"github.com/liap-tui/savepoint/savepointtest"
)

func store(t *testing.T) *savepoint.Store[game.Game] {
	t.Helper()
	db, err := savepoint.Open(savepoint.Memory, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	s, err := savepoint.Register(db, tableKind())
	require.NoError(t, err)
	return s
}

// The kind has each event of the game, under its name.
func TestKind_Events(t *testing.T) {
	kind := tableKind()
	require.Len(t, kind.Events, len(game.Events))
	for name, e := range game.Events {
		assert.Equal(t, kind.Events[name], stored(e), name)
	}
}

// Numbered guarantees, over many games: (1) every event comes back as it was
// appended; (2) every state comes back as it was saved; (3) every state of a replay
// equals the one that the game without a store had at that move.
func TestKind_SurvivesItsEncoding(t *testing.T) {
	s, ctx := store(t), t.Context()
	seen := map[string]int{}
	for number := 1; number <= 12; number++ {
		id, saved := gameID(1, number), "saved-"+gameID(1, number)
		g := game.New()
		var events []savepoint.Event[game.Game]
		var states []game.Game
		for {
			e := game.Next(&g, dice(11, 1, number, uint64(len(events)+1)))
			if e == nil {
				break
			}
			require.NoError(t, g.Do(e))
			seen[game.Name(e)]++
			events, states = append(events, stored(e)), append(states, g.Clone())
			_, err := s.Append(ctx, id, stored(e))
			require.NoError(t, err)

			_, err = s.Save(ctx, saved, g)
			require.NoError(t, err)
			st, err := s.Load(ctx, saved)
			require.NoError(t, err)
			if !reflect.DeepEqual(g, st.Value) {
				require.Equal(t, g, st.Value, "state after move %d", len(events))
			}
		}
		n := 0
		for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
			require.NoError(t, err)
			if !reflect.DeepEqual(events[n], rec.Event) {
				require.Equal(t, events[n], rec.Event, "event %d", rec.Seq)
			}
			n++
		}
		require.Equal(t, len(events), n)
		for seq := uint64(1); seq <= uint64(n); seq += 7 {
			st, err := s.At(ctx, id, savepoint.AtSeq(seq))
			require.NoError(t, err)
			require.Equal(t, states[seq-1], st.Value, "at %d", seq)
		}
	}
	assert.Len(t, seen, len(game.Events), "every type of event occurs")
}

// A move that the rules forbid is refused and stores nothing.
func TestKind_RulesRefuse(t *testing.T) {
	s, ctx := store(t), t.Context()
	_, err := s.Append(ctx, "t0001-g0001", played{Seat: 0, Pieces: []game.Piece{game.RedGeneral}})
	require.ErrorContains(t, err, "t0001-g0001")
	_, err = s.Load(ctx, "t0001-g0001")
	require.ErrorIs(t, err, savepoint.ErrNotFound)
	h, err := s.Append(ctx, "t0001-g0001", joined{Seat: 0, Name: "Ann"})
	require.NoError(t, err)
	_, err = s.Append(ctx, "t0001-g0001", joined{Seat: 0, Name: "Bob"})
	require.Error(t, err)
	st, err := s.Load(ctx, "t0001-g0001")
	require.NoError(t, err)
	assert.Equal(t, h, st.Head)
}

// Games on disk can be read after the kind is changed.
func TestKind_Golden(t *testing.T) { savepointtest.Golden(t, tableKind()) }

// Bots play a game in which every event occurs.
func TestKind_Exercise(t *testing.T) {
	savepointtest.Exercise(t, tableKind(), func(ctx context.Context, s *savepoint.Store[game.Game], id string) error {
		g := game.New()
		for n := uint64(1); ; n++ {
			e := game.Next(&g, dice(11, 1, 1, n))
			if e == nil {
				return nil
			}
			if err := g.Do(e); err != nil {
				return err
			}
			if _, err := s.Append(ctx, id, stored(e)); err != nil {
				return err
			}
		}
	})
}
