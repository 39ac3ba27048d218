//go:build !unix || solaris || aix

package bolt

import "os"

// lockFile leaves the locking to bbolt, which has its own ways here.
func lockFile(*os.File, bool) error { return nil }

func unlockFile(*os.File) {}
