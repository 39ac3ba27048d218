package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/liap-tui/savepoint/engine"
)

// openFile opens the file for bbolt: it creates the file if it does not exist,
// locks it, checks its pages and heals its meta page. It starts again if the file
// at path is another one by then.
func openFile(path string, o *config, found *fileState, rep *engine.OpenReport) (*os.File, error) {
	deadline := time.Now().Add(o.lockTimeout)
	for {
		made, err := ensureFile(path, o)
		if err != nil {
			return nil, err
		}
		f, err := lockedFile(path, o, deadline)
		if err != nil {
			return nil, err
		}
		*found, *rep = fileState{}, engine.OpenReport{Created: made}
		same, err := stillAt(path, f)
		if err == nil && same {
			if err = checkFile(f, o, found, rep); err == nil {
				same, err = stillAt(path, f) // checking can take long
			} else {
				err = fmt.Errorf("%s: %w", path, err)
			}
		}
		if err == nil && same {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		if time.Now().After(deadline) { // the file was replaced each time
			return nil, fmt.Errorf("%w: %s is being replaced by another process", engine.ErrLocked, path)
		}
	}
}

// ensureFile creates the file if it does not exist, and returns an error if path is
// something other than a regular file.
func ensureFile(path string, o *config) (made bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if o.readOnly {
			return false, fmt.Errorf("%s does not exist, and opening with ReadOnly does not make it: %w", path, err)
		}
		if dir, err := os.Stat(filepath.Dir(path)); err != nil {
			return false, fmt.Errorf("the directory of %s: %w: make it first", path, err)
		} else if !dir.IsDir() {
			return false, fmt.Errorf("%s is not a directory", filepath.Dir(path))
		}
		return create(path, o)
	case err != nil:
		return false, err
	case info.IsDir():
		return false, fmt.Errorf("%w: %s is a directory: name a file in it", engine.ErrForeign, path)
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%w: %s is not a regular file", engine.ErrForeign, path)
	}
	return false, nil
}

// lockPause is the time between two attempts to lock a file.
const lockPause = 10 * time.Millisecond

// lockedFile opens the file and locks it, waiting until the deadline if necessary.
// The lock is shared if the file is opened for reading only, otherwise exclusive.
func lockedFile(path string, o *config, deadline time.Time) (*os.File, error) {
	flag := os.O_RDWR
	if o.readOnly {
		flag = os.O_RDONLY
	}
	f, err := o.seams.openFile(path, flag, o.mode)
	if errors.Is(err, fs.ErrPermission) && !o.readOnly {
		return nil, fmt.Errorf("%w: to read a file that may not be written, open it with ReadOnly", err)
	}
	if err != nil {
		return nil, err
	}
	if err := lockUntil(f, !o.readOnly, deadline); err != nil {
		f.Close()
		if errors.Is(err, engine.ErrLocked) {
			return nil, fmt.Errorf("%w: %s is open in %s", engine.ErrLocked, path, lockHolder(path))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// lockUntil locks f, trying again until the deadline while another process has it.
func lockUntil(f *os.File, exclusive bool, deadline time.Time) error {
	for {
		err := lockFile(f, exclusive)
		if !errors.Is(err, engine.ErrLocked) {
			return err
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(lockPause)
	}
}

// stillAt reports whether f is the file at path. It may have been renamed, removed
// or replaced before it was locked; then another process could open another file at
// the same path, and both would write.
func stillAt(path string, f *os.File) (bool, error) {
	at, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return sameFile(at, f)
}

func sameFile(info os.FileInfo, f *os.File) (bool, error) {
	open, err := f.Stat()
	return err == nil && os.SameFile(info, open), err
}
