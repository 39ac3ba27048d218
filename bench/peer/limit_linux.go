package peer

import (
	"os"
	"syscall"
)

// syncFlag syncs each write's own range with it.
const syncFlag = syscall.O_DSYNC

func syncAfter(*os.File) error { return nil }
