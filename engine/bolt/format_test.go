package bolt

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/internal/format"
)

// TestFormat_Example checks the worked example of docs/FORMAT.md.
func TestFormat_Example(t *testing.T) {
	page, err := os.ReadFile("../../docs/FORMAT.md")
	require.NoError(t, err)
	_, text, found := strings.Cut(string(page), "## A worked example")
	require.True(t, found)
	_, text, _ = strings.Cut(text, "```\n")
	text, _, _ = strings.Cut(text, "```")
	var want []byte
	for line := range strings.Lines(text) {
		columns := strings.ReplaceAll(line[:min(28, len(line))], " ", "")
		b, err := hex.DecodeString(strings.TrimSpace(columns))
		require.NoError(t, err, line)
		want = append(want, b...)
	}
	entries := []format.Entry{
		{Seq: 17, Pos: 1000, Time: 1_700_000_000_000_000, Bytes: []byte("7H")},
		{Seq: 18, Pos: 1002, Time: 1_700_000_000_250_000, Bytes: []byte("QS")},
	}
	b := format.AppendBlock(nil, entries)
	got := format.AppendValue(nil, &format.Header{Type: format.TypeBlock, Kind: 1, Number: 42, Seq: 17, Schema: 2, Raw: uint32(len(b))}, b, nil)
	assert.Equal(t, hex.EncodeToString(want), hex.EncodeToString(got))
	assert.True(t, bytes.Equal(appendValueKey(nil, 42, 17), []byte{0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 17}))
}
