//go:build unix && !solaris && !aix

package bolt

import (
	"errors"
	"os"
	"syscall"

	"github.com/liap-tui/savepoint/engine"
)

// lockFile takes the same lock as bbolt without waiting, or returns
// engine.ErrLocked. The lock belongs to the open file, so that two opens in one
// process exclude each other, and ends with the process.
func lockFile(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return engine.ErrLocked
		case err != nil:
			return os.NewSyscallError("flock", err)
		}
		return nil
	}
}

func unlockFile(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // after an error, closing the file still releases the lock
}
