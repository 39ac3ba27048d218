package bolt

import (
	"log/slog"
	"time"
)

// Options change how a file is opened. Nil and the zero value of each field mean the default.
type Options struct {
	ReadOnly      bool          // for reading only; several processes may do so at once
	LockTimeout   time.Duration // how long to wait for a file in use; default 1 s
	NoCompression bool          // store values as they are
	Journal       int64         // bytes of the write-ahead ring; 0 = the default, below 0 = none
	Version       string        // of the library, kept in the file
	Logger        *slog.Logger  // default: silent
}

// Open opens the file at path, or makes it. Its errors match engine.ErrLocked, ErrForeign, ErrCorrupt,
// ErrNewer, ErrDiskFull, or those of io/fs.
func Open(path string, opts *Options) (*Engine, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	first, most := journalSizes(o.Journal)
	return openWith(path, config{readOnly: o.ReadOnly, lockTimeout: o.LockTimeout, noCompression: o.NoCompression,
		version: o.Version, logger: o.Logger, journalBytes: first, journalMaxBytes: most})
}
