//go:build !unix || solaris || aix

package bolt

import "os"

// lockFile does nothing: on this system only bbolt locks the file.
func lockFile(*os.File, bool) error { return nil }

func unlockFile(*os.File) {}
