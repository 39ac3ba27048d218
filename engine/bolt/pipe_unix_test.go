//go:build unix

package bolt

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// makePipe makes a named pipe at path.
func makePipe(t *testing.T, path string) {
	require.NoError(t, syscall.Mkfifo(path, 0o600))
}
