package bolt

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/liap-tui/savepoint/engine"
)

// create creates an empty file at path: it writes the file completely under a
// temporary name in the same directory, closes, syncs and renames it, and syncs the
// directory. After a crash the file is complete or does not exist, apart from a
// temporary file that the next creation removes. made is false if another process
// created the file first.
//
// The directory is locked meanwhile, so that of two processes the second one finds
// the file of the first instead of replacing it.
func create(path string, o *config) (made bool, err error) {
	dirName, base := filepath.Split(path)
	if dirName == "" {
		dirName = "."
	}
	dir, err := os.Open(dirName)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if err := lockUntil(dir, true, time.Now().Add(o.lockTimeout)); err != nil {
		return false, fmt.Errorf("lock the directory of %s to create it: %w", path, err)
	}
	defer unlockFile(dir)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	removeLeftovers(dirName, base)
	temp := filepath.Join(dirName, tempName(base))
	if err := writeEmpty(temp, o); err != nil {
		os.Remove(temp)
		return false, fmt.Errorf("create %s: %w", path, err)
	}
	if err := o.seams.rename(temp, path); err != nil {
		os.Remove(temp)
		return false, err
	}
	if err := o.seams.syncFile(dir); err != nil {
		return false, fmt.Errorf("sync the directory of %s: %w", path, err)
	}
	return true, nil
}

const tempMark = ".savepoint-new-"

func tempName(base string) string {
	var unique [8]byte
	rand.Read(unique[:])
	return "." + base + tempMark + hex.EncodeToString(unique[:])
}

// removeLeftovers removes the temporary files of creations that ended with a crash.
// No creation is running, since the caller holds the directory's lock.
func removeLeftovers(dir, base string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	prefix := "." + base + tempMark
	for _, e := range entries {
		if n := e.Name(); len(n) == len(prefix)+16 && n[:len(prefix)] == prefix && e.Type().IsRegular() {
			os.Remove(filepath.Join(dir, n))
		}
	}
}

// writeEmpty creates and syncs a file with all buckets and without machines.
func writeEmpty(path string, o *config) error {
	err := guarded(func() error {
		create := func(name string, flag int, mode os.FileMode) (*os.File, error) {
			return o.seams.openFile(name, flag|os.O_EXCL, mode)
		}
		h, err := openHandle(path, false, o.mode, 0, create)
		if err != nil {
			return err
		}
		// Two transactions, so that all buckets are reached from either meta page.
		if err = writeOnce(h, o, fillEmpty); err == nil {
			err = writeOnce(h, o, markEmpty)
		}
		return errors.Join(err, h.close())
	})
	if err != nil {
		if fullDisk(err) || fullAtWrite(err) {
			err = fmt.Errorf("%w: %w", engine.ErrDiskFull, err)
		}
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(o.seams.syncFile(f), f.Close())
}

// writeOnce runs fill in a write transaction.
func writeOnce(h *handle, o *config, fill func(tx *txn, o *config) error) error {
	tx, err := h.begin(true)
	if err != nil {
		return err
	}
	if err := fill(tx, o); err != nil {
		return errors.Join(err, tx.rollback())
	}
	return o.seams.commit(tx)
}

func fillEmpty(tx *txn, o *config) error {
	if err := tx.create(); err != nil {
		return err
	}
	if err := putFile(tx, o.version); err != nil {
		return err
	}
	return errors.Join(markEmpty(tx, o), tx.counters.put(countersLast, new(fileCounters).append(nil)))
}

func markEmpty(tx *txn, o *config) error { return putMark(tx, true, o.version) }
