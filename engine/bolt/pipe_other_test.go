//go:build !unix

package bolt

import "testing"

// makePipe skips the test, for this system has no files that are pipes.
func makePipe(t *testing.T, _ string) {
	t.Skip("not on this system: a file that is a pipe")
}
