package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// File is the file that holds the ring. After WriteAt and then Sync returned nil,
// the bytes must be durable; Sync may do nothing if they are durable after WriteAt.
// *os.File is a File, and Handle is a faster one. WriteAt and Sync are called by
// one goroutine at a time, ReadAt by any number at the same time.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Handle is a file descriptor for the ring alone. On those local file systems of
// Linux that are known to honour O_DSYNC it has that flag, so that a write syncs
// the written range only; elsewhere Sync follows the write. If it can it writes
// bypassing the page cache, which saves copying the bytes and searching the range
// for dirty pages. ReadAt returns the written bytes in every case.
type Handle struct {
	*os.File
	dsync  bool
	direct *os.File // for writing, with O_DIRECT and O_DSYNC; nil if that is not supported
}

// OpenHandle opens path for the ring. same describes the file as its locked
// descriptor reports it. If path leads to another file, because the file was
// renamed, OpenHandle returns an error.
func OpenHandle(path string, same os.FileInfo) (*Handle, error) {
	h, err := openHandle(path)
	if err != nil {
		return nil, fmt.Errorf("journal: open: %w", err)
	}
	for _, f := range []*os.File{h.File, h.direct} {
		if f == nil || err != nil {
			continue
		}
		var have os.FileInfo
		if have, err = f.Stat(); err == nil && !os.SameFile(have, same) {
			err = fmt.Errorf("journal: %s is not the file that was locked", path)
		}
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// WriteAt writes whole blocks of Align bytes that start at a multiple of Align, in
// the file and in memory. If the device requires a larger alignment, the system
// refuses the first write, and WriteAt uses the page cache from then on.
func (h *Handle) WriteAt(b []byte, off int64) (int, error) {
	if h.direct != nil {
		n, err := h.direct.WriteAt(b, off)
		if n > 0 || !errors.Is(err, syscall.EINVAL) {
			return n, err
		}
		h.direct.Close()
		h.direct = nil
	}
	return h.File.WriteAt(b, off)
}

// Close closes the descriptors.
func (h *Handle) Close() error {
	err := h.File.Close()
	if h.direct != nil {
		err = errors.Join(err, h.direct.Close())
	}
	return err
}

// Sync makes the written bytes durable. It does nothing if DSync is true.
func (h *Handle) Sync() error {
	if h.dsync {
		return nil
	}
	return h.File.Sync()
}

// DSync reports whether the bytes of a WriteAt are durable when it returns.
func (h *Handle) DSync() bool { return h.dsync }
