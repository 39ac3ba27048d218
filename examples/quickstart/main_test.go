package main

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain_Remembers runs the quick start as its reader would, twice.
func TestMain_Remembers(t *testing.T) {
	t.Chdir(t.TempDir())
	assert.Equal(t, "move 1: [card 1], before it: []\n", output(t))
	assert.Equal(t, "move 2: [card 1 card 2], before it: [card 1]\n", output(t))
}

func output(t *testing.T) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	old := os.Stdout
	os.Stdout = w
	main()
	os.Stdout = old
	require.NoError(t, w.Close())
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}
