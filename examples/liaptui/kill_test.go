package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/examples/liaptui/game"
	"github.com/liap-tui/savepoint/internal/long"
)

// childEnv is the variable that makes the test binary the command: "main" unchanged,
// "acks" with a line for each durable move.
const childEnv = "LIAPTUI_CHILD"

// child prints "ack id seq" for each durable move, in one write, so that a kill
// loses no line that was begun.
func child() int {
	c, err := parse(os.Args[1:], os.Stderr)
	if err == nil {
		c.acked = func(id string, seq uint64) { fmt.Fprintf(os.Stdout, "ack %s %d\n", id, seq) }
		err = play(context.Background(), &c, os.Stdout, os.Stderr)
	}
	if err != nil {
		complain(os.Stderr, &c, err)
		return 1
	}
	return 0
}

// killed runs the command and kills it some time after its first durable moves. It
// returns the last durable move of each game that the command printed, and what the
// command printed at the start.
func killed(t *testing.T, after time.Duration, args ...string) (acked map[string]uint64, head string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), childEnv+"=acks")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	acked = map[string]uint64{}
	var lines strings.Builder
	n := 0
	for scan := bufio.NewScanner(out); scan.Scan(); {
		var id string
		var seq uint64
		if _, err := fmt.Sscanf(scan.Text(), "ack %s %d", &id, &seq); err != nil {
			fmt.Fprintln(&lines, scan.Text())
			continue
		}
		if last := acked[id]; last != 0 && seq != last+1 {
			t.Errorf("%s: move %d was acknowledged after %d", id, seq, last)
		}
		acked[id] = seq
		if n++; n == 50 {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
	}
	require.Error(t, cmd.Wait(), "it ended by itself: %s", &lines)
	require.Equal(t, -1, cmd.ProcessState.ExitCode(), "something else than the kill ended it: %s%s", &lines, &errs)
	require.Empty(t, errs.String())
	return acked, lines.String()
}

// Numbered guarantees, over kills at random moments: (1) no acknowledged move is
// lost; (2) no game has fewer moves than after an earlier kill; (3) -verify
// finds nothing, before and after the next run; (4) the next run resumes each
// table's unfinished game at its head; (5) the games are those of a run that was
// never killed.
func TestKill_LosesNothing(t *testing.T) {
	rounds := long.N(t, 3, 8)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	path := file(t)
	heads := map[string]uint64{}
	var unfinished []string // lines the next run must print
	for round := 1; round <= rounds; round++ {
		after := time.Duration(r.IntN(300_000)) * time.Microsecond
		acked, said := killed(t, after, "-db", path, "-tables", "6", "-games", "0", "-seed", "9")
		for _, line := range unfinished {
			require.Contains(t, said, line, "round %d", round)
		}
		require.Equal(t, len(unfinished), strings.Count(said, " at move "), said)
		verified(t, path)
		states := statesIn(t, path)
		for id, seq := range acked {
			require.GreaterOrEqual(t, states[id].Seq, seq, "round %d: an acknowledged move of %s is lost", round, id)
		}
		for id, seq := range heads {
			require.GreaterOrEqual(t, states[id].Seq, seq, "round %d: %s went back", round, id)
		}
		requirePure(t, 9, states)
		total := uint64(0)
		unfinished = nil
		for id, st := range states {
			heads[id] = st.Seq
			total += st.Seq
			if st.Phase != game.GameOver {
				unfinished = append(unfinished, fmt.Sprintf("  %s at move %d\n", id, st.Seq))
			}
		}
		t.Logf("round %d: killed %v after the first moves; %d games, %d moves", round, after, len(states), total)
	}
	out := until(t, config{db: path, tables: 6, seed: 9}, 200)
	for _, line := range unfinished {
		require.Contains(t, out, line)
	}
	requirePure(t, 9, statesIn(t, path))
}

// After a signal the process ends without an error and prints so, and the next run continues.
func TestMain_EndsWellOnSIGTERM(t *testing.T) {
	path := file(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-db", path, "-tables", "2", "-games", "0")
	cmd.Env = append(os.Environ(), childEnv+"=main")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var lines []string
	for scan := bufio.NewScanner(out); scan.Scan(); {
		if lines = append(lines, scan.Text()); len(lines) == 1 {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	require.NoError(t, cmd.Wait(), "%q", lines)
	require.Equal(t, "stopped: all moves are on disk; run the same command again to continue", lines[1])
	requirePure(t, 1, statesIn(t, path))
}
