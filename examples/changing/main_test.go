package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func TestMigrations_ThereAndBack(t *testing.T) {
	state := savepoint.Doc{"Turn": 1, "Table": []any{"card 1"}}
	require.NoError(t, savepoint.CheckMigration(Cards.Migrations[0], state))
	require.NoError(t, savepoint.CheckMigration(Cards.Migrations[1], savepoint.Doc{"Seat": 0, "Card": "card 1"}))
}

// TestMain_TheWholeStory runs the commands of docs/CHANGING.md: the quick start plays,
// this program continues, and then the quick start again after a migration back.
func TestMain_TheWholeStory(t *testing.T) {
	dir := t.TempDir()
	build := func(name, pkg string) string {
		path := filepath.Join(dir, name)
		out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return path
	}
	quickstart, changing := build("quickstart", "../quickstart"), build("changing", ".")
	run := func(want, path string, args ...string) {
		t.Helper()
		cmd := exec.Command(path, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, want, string(out))
	}
	run("move 1: [card 1], before it: []\n", quickstart)
	run("move 2: [card 1 card 2], before it: [card 1]\n", quickstart)
	run("version 1.0.0: 1 games\n"+
		"game-1: [Moves: (absent) != 2 Table[0]: \"card 1\" != (map of 2) Table[1]: \"card 2\" != (map of 2)]\n"+
		"1 of 1 games migrated\n", changing, "-all")
	run("version 2.0.0, upcast false: {Turn:0 Table:[{Seat:0 Number:1} {Seat:1 Number:2}] Moves:2}\n"+
		"version 2.0.0, record 4\n", changing)
	run("1 games back in version 1.0.0\n", changing, "-back")
	run("move 6: [card 1 card 2 card 3 card 4], before it: [card 1 card 2 card 3]\n", quickstart)
	run("version 1.0.0, upcast true: {Turn:0 Table:[{Seat:0 Number:1} {Seat:1 Number:2} {Seat:0 Number:3} {Seat:1 Number:4}] Moves:4}\n"+
		"version 2.0.0, record 8\n", changing)
}
