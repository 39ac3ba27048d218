package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// renamed is joined with another Apply: its players have other names.
type renamed game.Joined

func (e renamed) Apply(g *game.Game, m meta) error {
	e.Name = "Old " + e.Name
	return joined(e).Apply(g, m)
}

// cut is declared with another Apply: it reduces a number that is too large.
type cut game.Declared

func (e cut) Apply(g *game.Game, m meta) error {
	e.Piles = min(e.Piles, 8)
	return declared(e).Apply(g, m)
}

// by writes a file with a game that was started by a program with other events.
func by(t *testing.T, events savepoint.Events[game.Game], write func(s *savepoint.Store[game.Game])) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "games.db")
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	kind := tableKind()
	for name, e := range events {
		kind.Events[name] = e
	}
	s, err := savepoint.Register(db, kind)
	require.NoError(t, err)
	write(s)
	return path
}

func TestVerify_FindsAnotherApply(t *testing.T) {
	path := by(t, savepoint.Events[game.Game]{"joined": renamed{}}, func(s *savepoint.Store[game.Game]) {
		_, err := s.Append(t.Context(), "t0001-g0001", renamed{Seat: 0, Name: "Ann"})
		require.NoError(t, err)
		_, err = s.Append(t.Context(), "t0001-g0001", renamed{Seat: 1, Name: "Bob"})
		require.NoError(t, err)
	})
	code, out, errs := command(t, "-db", path, "-verify")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `^t0001-g0001: record 2 \(joined\): a replay differs from the stored snapshot 2`, out)
	m := lastLine.FindStringSubmatch(out)
	require.NotNil(t, m, out)
	assert.Equal(t, []string{"1", "2"}, m[1:3])
	assert.NotEqual(t, "0", m[3])
	assert.Contains(t, errs, path+": the file differs from a replay of its games\n")
	assert.Contains(t, errs, "an Apply has changed")
}

func TestVerify_AsksTheRules(t *testing.T) {
	path := by(t, savepoint.Events[game.Game]{"declared": cut{}}, func(s *savepoint.Store[game.Game]) {
		ctx, id := t.Context(), "t0001-g0001"
		for over := false; !over; {
			_, err := s.Update(ctx, id, func(m *savepoint.Machine[game.Game]) error {
				g := m.State()
				if g.Phase == game.Declaration {
					over = true
					return m.Append(cut{Seat: g.ToMove, Piles: 99})
				}
				return m.Append(stored(game.Next(g, dice(1, 1, 1, m.Head().Seq+1))))
			})
			require.NoError(t, err)
		}
	})
	code, out, _ := command(t, "-db", path, "-verify")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `record \d+ \(declared\): the rules refuse the state after it: `, out)
	assert.NotRegexp(t, `, 0 divergences\n$`, out)
}

func TestVerify_EmptyFile(t *testing.T) {
	path := by(t, nil, func(*savepoint.Store[game.Game]) {})
	assert.Equal(t, "verified 0 machines, 0 events, 0 divergences\n", plays(t, "-db", path, "-verify"))
}
