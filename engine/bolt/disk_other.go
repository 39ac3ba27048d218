//go:build !linux

package bolt

import (
	"errors"
	"os"
)

// readDisk has no way to read past the system's memory here.
func readDisk(*os.File, int64, []byte) error { return errors.ErrUnsupported }
