package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWatch_LinesNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		stop := watch(&out, func() (float64, string) { return 0.5, "12 of 24 games" })
		time.Sleep(2*lineEvery + time.Second)
		stop()
		assert.Equal(t, "12 of 24 games\n12 of 24 games\n", out.String())
	})
}

func TestWatch_ShortRunSaysNothing(t *testing.T) {
	var out bytes.Buffer
	watch(&out, func() (float64, string) { return 0, "x" })()
	assert.Empty(t, out.String())
}

func TestDrawn(t *testing.T) {
	assert.Equal(t, "["+strings.Repeat(" ", barWidth)+"]", drawn(0))
	assert.Equal(t, "["+strings.Repeat("=", barWidth/2)+strings.Repeat(" ", barWidth/2)+"]", drawn(0.5))
	assert.Equal(t, "["+strings.Repeat("=", barWidth)+"]", drawn(1.5))
}

func TestIsTerminal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer f.Close()
	assert.False(t, isTerminal(f))
	assert.False(t, isTerminal(&bytes.Buffer{}))
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	assert.True(t, isTerminal(null))
}
