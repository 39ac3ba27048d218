package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/liap-tui/savepoint/engine"
)

// classifyCommitError says what an error of a bbolt transaction's commit means. untouched
// tells whether both of the file's meta pages are valid and neither is of
// that transaction; without that proof no error leaves nothing behind.
//
//	full at a plain write or at growing, untouched   nothing is stored; try again
//	all else, any sync among it                      in doubt; stop for good
//
// After a failed sync the pages it was for count as clean, and a later sync
// says nothing about them; so a disk that is full at a sync is no plain fullness.
func classifyCommitError(err error, untouched func() bool) error {
	if fullAtWrite(err) && untouched() {
		return fmt.Errorf("%w: %w: %w", engine.ErrDiskFull, engine.ErrNothingStored, err)
	}
	return fmt.Errorf("%w: %w", engine.ErrInDoubt, err)
}

// fullAtWrite finds the two ways bbolt tells of a full disk outside a sync: the
// error of a positioned write as the os package gives it (its syncs give a bare
// errno), and the error of growing the file, flattened to text.
func fullAtWrite(err error) bool {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return (path.Op == "write" || path.Op == "truncate") && fullDisk(path.Err)
	}
	text, grow := strings.CutPrefix(err.Error(), "file resize error: ")
	if !grow {
		return false
	}
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if strings.HasSuffix(text, full.Error()) {
			return true
		}
	}
	return false
}

func fullDisk(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
