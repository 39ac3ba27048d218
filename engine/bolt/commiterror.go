package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/liap-tui/savepoint/engine"
)

// classifyCommitError returns what an error of a bbolt transaction's commit means.
// untouched reports whether both of the file's meta pages are valid and neither
// belongs to that transaction; without that proof no error means that nothing is
// stored.
//
//	full at a plain write or at growing, untouched   nothing is stored; try again
//	everything else, every sync                      in doubt; writing ends for good
//
// After a failed sync the pages it was for count as clean, and a later sync says
// nothing about them. So a disk that is full at a sync is not treated as full.
func classifyCommitError(err error, untouched func() bool) error {
	if fullAtWrite(err) && untouched() {
		return fmt.Errorf("%w: %w: %w", engine.ErrDiskFull, engine.ErrNothingStored, err)
	}
	return fmt.Errorf("%w: %w", engine.ErrInDoubt, err)
}

// fullAtWrite reports whether err is one of the two ways in which bbolt reports a
// full disk outside of a sync: the error of a positioned write, as the os package
// returns it (its syncs return a bare errno), and the error of growing the file,
// flattened to text.
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

// fullDisk reports whether a disk, or a quota, is full.
func fullDisk(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
