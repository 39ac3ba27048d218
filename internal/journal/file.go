package journal

import (
	"fmt"
	"io"
	"os"
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
// syncs the written range only; else one with File.Sync after the write.
type Handle struct {
	*os.File
	dsync bool
}

// OpenHandle opens path for the ring. It must be the very file that same
// describes, from the descriptor that holds the file's lock: a file renamed
// meanwhile is refused.
func OpenHandle(path string, same os.FileInfo) (*Handle, error) {
	h, err := openHandle(path)
	if err != nil {
		return nil, fmt.Errorf("journal: open: %w", err)
	}
	have, err := h.Stat()
	if err == nil && !os.SameFile(have, same) {
		err = fmt.Errorf("journal: %s is not the file that was locked", path)
	}
	if err != nil {
		h.File.Close()
		return nil, err
	}
	return h, nil
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
