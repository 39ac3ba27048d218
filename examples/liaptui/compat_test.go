package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

var update = flag.Bool("update", false, "write the file of the present format again; never after a release")

// formats lists the released formats and the current one. Each has a file of two
// games, the second one unfinished.
var formats = []string{"format-1"}

const compatDir = "../../testdata/compat"

// TestCompat_FilesOfEveryFormatOpen opens the file of each format, replays its games, and continues them.
// row L6.
func TestCompat_FilesOfEveryFormatOpen(t *testing.T) {
	if *update {
		makeCompat(t, formats[len(formats)-1])
	}
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "games.db")
			f, err := os.Open(filepath.Join(compatDir, format+".db.gz"))
			require.NoError(t, err)
			defer f.Close()
			z, err := gzip.NewReader(f)
			require.NoError(t, err)
			b, err := io.ReadAll(z)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, b, 0o600))

			var out, errs bytes.Buffer
			require.Zero(t, run(t.Context(), []string{"-db", path, "-verify"}, &out, &errs), "%s%s", &out, &errs)
			assert.Regexp(t, `verified 2 machines, \d+ events, 0 divergences\n$`, out.String())
			out.Reset()
			require.Zero(t, run(t.Context(), []string{"-db", path, "-tables", "2", "-games", "1", "-seed", "7"}, &out, &errs), "%s%s", &out, &errs)
			assert.Contains(t, out.String(), "resumed")
			out.Reset()
			require.Zero(t, run(t.Context(), []string{"-db", path, "-verify"}, &out, &errs), "%s%s", &out, &errs)
			assert.Regexp(t, `verified 2 machines, \d+ events, 0 divergences\n$`, out.String())
		})
	}
}

func makeCompat(t *testing.T, format string) {
	path := filepath.Join(t.TempDir(), "games.db")
	var out, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-db", path, "-tables", "1", "-games", "1", "-seed", "7"}, &out, &errs), "%s%s", &out, &errs)
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	games, err := savepoint.Register(db, tableKind())
	require.NoError(t, err)
	_, err = games.Fork(t.Context(), gameID(1, 1), savepoint.AtSeq(150), gameID(2, 1))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	require.NoError(t, err)
	_, err = z.Write(b)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, os.MkdirAll(compatDir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(compatDir, format+".db.gz"), packed.Bytes(), 0o644))
}
