package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// File is what the ring is written to. After WriteAt and then Sync returned nil,
// the bytes are durable; where WriteAt alone does that, Sync does nothing.
// *os.File is one. Handle is the faster one. WriteAt and Sync are called by
// one goroutine at a time, ReadAt by any number meanwhile.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Handle is a descriptor of its own for the ring: on the local file systems of
// Linux that are known to keep O_DSYNC, one with that flag, so that a write
// syncs the written range only; else one with File.Sync after the write. Where
// it can it writes past the page cache, which saves a copy and the search for
// what of the range is to be synced. What ReadAt gives is in step with that.
type Handle struct {
	*os.File
	dsync  bool
	direct *os.File // for writing, with O_DIRECT and O_DSYNC; nil where that cannot be
}

// OpenHandle opens path for the ring. It must be the very file that same
// describes, from the descriptor that holds the file's lock: a file renamed
// meanwhile is refused.
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

// WriteAt writes whole blocks of Align bytes that begin at a multiple of it, in
// the file and in memory. Where the device wants more than that, the system
// refuses the first write before it begins, and the page cache is used from then on.
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

// Close frees the descriptors.
func (h *Handle) Close() error {
	err := h.File.Close()
	if h.direct != nil {
		err = errors.Join(err, h.direct.Close())
	}
	return err
}

// Sync does nothing where WriteAt was durable on return.
func (h *Handle) Sync() error {
	if h.dsync {
		return nil
	}
	return h.File.Sync()
}

// DSync says whether WriteAt is durable on return.
func (h *Handle) DSync() bool { return h.dsync }
