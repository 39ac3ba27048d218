package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/bench/measure"
)

// A run over few machines prints a table and a RATIO line of each scenario, and
// writes its files.
func TestRun(t *testing.T) {
	dir, err := os.MkdirTemp(".", ".data-test-") // beside the code: not in memory
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	if _, memory := measure.Device(dir); memory {
		t.Skip("the module lies in memory")
	}
	out := filepath.Join(dir, "results")
	var stdout, stderr bytes.Buffer
	err = run(context.Background(), []string{"-dir", dir, "-out", out, "-peers", "pebble,limit", "-machines", "20", "-writers", "1,30",
		"-rounds", "1", "-duration", "20ms", "-sustained", "20ms", "-wait", "0s", "-only", "typed,durable,sustained,async,hybrid,load,open"}, &stdout, &stderr)
	require.NoError(t, err, stderr.String())
	for _, want := range []string{"RATIO durable-engine-20 1 pebble ", "RATIO durable-api-20 30 limit ", "RATIO sustained-20 30 pebble ",
		"RATIO async 1 limit ", "RATIO hybrid-100 30 pebble ", "RATIO load-warm 1 pebble ", "RATIO load-cold 1 pebble ", "rebuild / plain loop"} {
		require.Contains(t, stdout.String(), want)
	}
	text, err := os.ReadFile(filepath.Join(out, "compare.md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "durable--games--20-machines.svg")
	require.FileExists(t, filepath.Join(out, "durable--games--20-machines.svg"))
}

// The load of the original's author is run in its three shapes, and each
// operation's latency is printed beside its target.
// rows L4, L5.
func TestRun_Author(t *testing.T) {
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	err := run(context.Background(), []string{"-dir", dir, "-machines", "20", "-rounds", "1", "-sustained", "300ms", "-wait", "0s", "-only", "author"}, &stdout, &stderr)
	require.NoError(t, err, stderr.String())
	for _, shape := range []string{"steady", "burst", "wave"} { // row L5
		require.Regexp(t, `(?m)^\| `+shape+` +\| +save \|.* 50ms \| `, stdout.String()) // row L4
		require.Regexp(t, shape+`: [1-9]\d* of [1-9]\d* operations done`, stdout.String())
	}
}

func TestRun_Refuses(t *testing.T) {
	for _, args := range [][]string{{"-only", "nothing"}, {"-peers", "nobody"}, {"-writers", "0"}, {"-machines", "x"}} {
		require.Error(t, run(context.Background(), args, new(bytes.Buffer), new(bytes.Buffer)))
	}
}
