package peer

import (
	"os"
	"syscall"
)

// syncFlag makes each write sync its own range of the file.
const syncFlag = syscall.O_DSYNC

func syncAfter(*os.File) error { return nil }
