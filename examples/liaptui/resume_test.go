package main

import (
	"bytes"
	"context"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// until plays, and ends the context, as Ctrl-C does, at the given number of durable
// moves.
func until(t *testing.T, c config, moves int64) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	c.acked = func(string, uint64) {
		if n.Add(1) == moves {
			cancel()
		}
	}
	var out bytes.Buffer
	require.NoError(t, play(ctx, &c, &out, os.Stderr), out.String())
	return out.String()
}

// Numbered guarantees: (1) after the end of its context a run ends without an error,
// with every move that was started on disk; (2) the next run resumes each table's game
// at its head and prints so; (3) stopped and resumed games are those of a run that was
// never stopped; (4) each table ends with the number of games that -games sets.
func TestPlay_StoppedAndResumed(t *testing.T) {
	path := file(t)
	c := config{db: path, tables: 4, games: 2, seed: 5}
	for _, moves := range []int64{1, 150, 700} {
		out := until(t, c, moves)
		assert.Contains(t, out, "stopped: ")
		before := statesIn(t, path)
		requirePure(t, c.seed, before)
		verified(t, path)

		var next bytes.Buffer
		db, store, err := open(&c, false, os.Stderr)
		require.NoError(t, err)
		_, f, err := seat(t.Context(), &c, store)
		require.NoError(t, err)
		f.print(&next)
		require.NoError(t, db.Close())
		for id, st := range before {
			if st.Phase != game.GameOver {
				assert.Contains(t, next.String(), "  "+id+" at move "+thousands(int64(st.Seq))+"\n")
			}
		}
	}
	out := plays(t, "-db", path, "-tables", "4", "-games", "2", "-seed", "5")
	assert.Contains(t, out, "resumed ")
	states := statesIn(t, path)
	require.Len(t, states, 8)
	requirePure(t, c.seed, states)
	for id, st := range states {
		assert.Equal(t, game.GameOver, st.Phase, id)
	}
}

// With -games 0 a run ends only when it is stopped.
func TestPlay_UntilStopped(t *testing.T) {
	path := file(t)
	out := until(t, config{db: path, tables: 2, seed: 1}, 2500)
	assert.Contains(t, out, "until stopped")
	states := statesIn(t, path)
	assert.Greater(t, len(states), 2, "more than one game a table")
	requirePure(t, 1, states)
}

// Many resumed games are printed in one line.
func TestFound_PrintsManyInOneLine(t *testing.T) {
	f := &found{finished: 1, others: 2, damaged: []string{"t0001-g0001: head"}}
	for n := range 20 {
		f.resumed = append(f.resumed, &table{number: n + 1, resume: 2, at: uint64(100 + (n+5)%20)})
	}
	var out bytes.Buffer
	f.print(&out)
	assert.Equal(t, `found 1 game finished
resumed 20 unfinished games with 2,190 moves: from move 100 (t0016-g0002) to move 119 (t0015-g0002)
left alone: 2 games of other tables
left alone: t0001-g0001: head
`, out.String())
}

// A deleted game is not resumed, and its number is not used again; an older
// unfinished game is resumed.
func TestSeat_DeletedAndOther(t *testing.T) {
	s, ctx := store(t), t.Context()
	for _, id := range []string{"t0001-g0001", "t0001-g0002", "t0002-g0004", "lobby"} {
		_, err := s.Append(ctx, id, joined{Seat: 0, Name: "Ann"})
		require.NoError(t, err)
	}
	_, err := s.Delete(ctx, "t0001-g0002")
	require.NoError(t, err)
	tables, f, err := seat(ctx, &config{tables: 3, games: 1}, s)
	require.NoError(t, err)
	assert.Equal(t, 1, f.others)
	assert.Equal(t, 3, f.toPlay)
	assert.Equal(t, []*table{tables[0], tables[1]}, f.resumed)
	assert.Equal(t, []int{2, 1, 4, 4}, []int{tables[0].newest, tables[0].resume, tables[1].newest, tables[1].resume})

	// Other players have taken seats: the bots take the free ones.
	var y tally
	require.NoError(t, playAll(ctx, tables, &y))
	assert.EqualValues(t, 3, y.games.Load())
	st, err := s.Load(ctx, "t0001-g0001")
	require.NoError(t, err)
	assert.Equal(t, "Ann", st.Value.Players[0].Name)
	assert.Equal(t, game.GameOver, st.Phase)
	_, err = s.Load(ctx, "t0001-g0003")
	assert.ErrorIs(t, err, savepoint.ErrNotFound)
}

// The error of a table that fails names the table, and the other tables play on.
func TestPlayAll_OneFails(t *testing.T) {
	s, ctx := store(t), t.Context()
	c := &config{tables: 2, games: 1}
	tables, _, err := seat(ctx, c, s)
	require.NoError(t, err)
	tables[0].resume = 9 // no such machine
	var y tally
	err = playAll(ctx, tables, &y)
	require.ErrorIs(t, err, savepoint.ErrNotFound)
	assert.ErrorContains(t, err, "table 1: ")
	assert.EqualValues(t, 1, y.games.Load())
}
