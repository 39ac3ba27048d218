//go:build !linux

package bolt

import (
	"errors"
	"os"
)

// readDisk is not implemented on this system.
func readDisk(*os.File, int64, []byte) error { return errors.ErrUnsupported }
