package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// TestMain makes the test binary the command too, for tests that kill it.
func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "acks":
		os.Exit(child())
	case "main":
		main()
	}
	os.Exit(m.Run())
}

// file returns the path of a file for one test. At the end of the test it must be undamaged.
func file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "games.db")
	t.Cleanup(func() {
		if _, err := os.Stat(path); err == nil && !t.Failed() {
			verified(t, path)
		}
	})
	return path
}

// command runs the command and returns what it printed.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// plays runs the command, which must succeed, and returns what it printed.
func plays(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := command(t, args...)
	require.Zero(t, code, "%s%s", out, errs)
	require.Empty(t, errs)
	return out
}

var lastLine = regexp.MustCompile(`(?:^|\n)verified (\d+) machines, (\d+) events, (\d+) divergences\n$`)

// verified runs -verify, which must find nothing, and returns its counts.
func verified(t *testing.T, path string) (machines, events int) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(context.Background(), []string{"-db", path, "-verify"}, &out, &errs)
	require.Zero(t, code, "%s%s", &out, &errs)
	m := lastLine.FindStringSubmatch(out.String())
	require.NotNil(t, m, "%s", &out)
	_, err := fmt.Sscan(m[1]+" "+m[2], &machines, &events)
	require.NoError(t, err)
	require.Equal(t, "0", m[3])
	return machines, events
}

// statesIn opens the file for reading and returns the state of each game in it.
func statesIn(t *testing.T, path string) map[string]savepoint.State[game.Game] {
	t.Helper()
	db, store, err := open(&config{db: path}, true, os.Stderr)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	states := map[string]savepoint.State[game.Game]{}
	for head, err := range store.List(t.Context(), savepoint.ListOptions{}) {
		require.NoError(t, err)
		st, err := store.Load(t.Context(), head.ID)
		require.NoError(t, err)
		require.Equal(t, head.Seq, st.Seq)
		states[head.ID] = st
	}
	return states
}

// pure plays a game without a store. It returns the game after the given number of
// moves, or at its end if that is earlier, and the number of its moves.
func pure(seed uint64, table, number int, moves uint64) (g game.Game, n uint64) {
	g = game.New()
	for ; n < moves; n++ {
		e := game.Next(&g, dice(seed, table, number, n+1))
		if e == nil {
			break
		}
		if err := g.Do(e); err != nil {
			panic(err)
		}
	}
	return g, n
}

// requirePure checks that stops and kills have changed nothing: each game is the one
// that is played with the seed without a store.
func requirePure(t *testing.T, seed uint64, states map[string]savepoint.State[game.Game]) {
	t.Helper()
	for id, st := range states {
		table, number, ok := parseID(id)
		require.True(t, ok, id)
		want, n := pure(seed, table, number, st.Seq)
		require.Equal(t, n, st.Seq, id)
		require.Equal(t, want, st.Value, id)
	}
}

func TestRun_PlaysAndVerifies(t *testing.T) {
	path := file(t)
	out := plays(t, "-db", path, "-tables", "4", "-games", "1", "-seed", "7")
	assert.Contains(t, out, "4 tables, four bots each, 1 game a table")
	assert.Contains(t, out, "\n4 games finished in ")
	assert.Regexp(t, `append +p50 \S+, p99 \S+ `, out)
	assert.NotContains(t, out, "resumed")
	machines, events := verified(t, path)
	assert.Equal(t, 4, machines)
	assert.Contains(t, out, "events     "+thousands(int64(events))+", ")

	states := statesIn(t, path)
	require.Len(t, states, 4)
	requirePure(t, 7, states)
	for id, st := range states {
		assert.Equal(t, game.GameOver, st.Phase, id)
	}

	out = plays(t, "-db", path, "-tables", "4", "-games", "1", "-seed", "7")
	assert.Contains(t, out, "found 4 games finished\n")
	assert.Contains(t, out, "\n0 games finished in ", "the games in the file count")
	out = plays(t, "-db", path, "-tables", "2", "-games", "2", "-seed", "7")
	assert.Contains(t, out, "found 2 games finished\nleft alone: 2 games of other tables\n")
	assert.Contains(t, out, "\n2 games finished in ")
	assert.Contains(t, statesIn(t, path), "t0002-g0002")
}

// Equal seeds result in equal games, whatever else the computer does meanwhile;
// another seed results in other games.
func TestRun_SeedDecides(t *testing.T) {
	var all []map[string]savepoint.State[game.Game]
	for _, seed := range []string{"3", "3", "4"} {
		path := file(t)
		plays(t, "-db", path, "-tables", "3", "-games", "1", "-seed", seed)
		all = append(all, statesIn(t, path))
	}
	for id := range all[0] {
		assert.Equal(t, all[0][id].Value, all[1][id].Value)
		assert.NotEqual(t, all[0][id].Value, all[2][id].Value)
	}
}

func TestRun_Memory(t *testing.T) {
	out := plays(t, "-db", savepoint.Memory, "-tables", "2", "-games", "1")
	assert.Contains(t, out, "\n2 games finished in ")
	assert.Contains(t, out, "nothing is kept")
	assert.NotContains(t, out, "  file ")
}

func TestRun_Errors(t *testing.T) {
	used := file(t)
	plays(t, "-db", used, "-tables", "1", "-games", "1")
	foreign := filepath.Join(t.TempDir(), "notes.txt")
	require.NoError(t, os.WriteFile(foreign, bytes.Repeat([]byte("not a database\n"), 4096), 0o600))
	none := filepath.Join(t.TempDir(), "none.db")
	db, err := savepoint.Open(used, nil)
	require.NoError(t, err)
	defer db.Close()
	for _, c := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"file in use", []string{"-db", used}, 1, []string{used, "in use", "name another file with -db"}},
		{"foreign file", []string{"-db", foreign}, 1, []string{foreign, "not a savepoint file", "-db"}},
		{"nothing to verify", []string{"-db", none, "-verify"}, 1, []string{none, "play first"}},
		{"no directory", []string{"-db", filepath.Join(none, "x.db")}, 1, []string{none, "directory"}},
		{"no tables", []string{"-tables", "0"}, 2, []string{"-tables is 0: use 1 to"}},
		{"games below zero", []string{"-games", "-1"}, 2, []string{"-games is -1"}},
		{"argument", []string{"games.db"}, 2, []string{`"games.db"`, "-help"}},
		{"unknown flag", []string{"-x"}, 2, []string{"-x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := command(t, c.args...)
			assert.Equal(t, c.code, code)
			assert.Empty(t, out)
			for _, s := range c.says {
				assert.Contains(t, errs, s)
			}
		})
	}
	code, out, errs := command(t, "-help")
	assert.Zero(t, code)
	assert.Empty(t, out)
	assert.Contains(t, errs, "-tables int")
}

func TestParseID(t *testing.T) {
	for _, c := range [][2]int{{1, 1}, {3, 12}, {9999, 9999}, {123456, 10000}} {
		table, number, ok := parseID(gameID(c[0], c[1]))
		assert.True(t, ok)
		assert.Equal(t, c, [2]int{table, number})
	}
	assert.Equal(t, "t0003-g0001", gameID(3, 1))
	for _, id := range []string{"", "lobby", "t1-g1", "t0001-g0000", "t0000-g0001", "t0001-g0001x", "t-001-g0001"} {
		_, _, ok := parseID(id)
		assert.False(t, ok, id)
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100", math.MaxInt32: "2,147,483,647"} {
		assert.Equal(t, want, thousands(n))
	}
	assert.Equal(t, "1 game", count(1, "game"))
	assert.Equal(t, "12,000 games", count(12000, "game"))
}
