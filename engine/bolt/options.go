package bolt

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options change how a file is opened. A nil *Options, and the zero value of each
// field, mean the defaults.
type Options struct {
	ReadOnly      bool          // open for reading only; several processes may do so at once
	LockTimeout   time.Duration // time to wait for a file that is in use; default 1 s
	NoCompression bool          // store values uncompressed; compressed values can be read nevertheless
	Journal       int64         // size of the write-ahead journal in bytes; 0 = the default, below 0 = no journal
	Version       string        // version of the library, stored in the file
	Logger        *slog.Logger  // default: nothing is logged
}

// Open opens the file at path and, unless opts.ReadOnly is set, creates it if it
// does not exist. The Engine can be used directly, or passed to savepoint.Open as
// Options.Engine, which then closes it; otherwise the caller must close it. Errors match engine.ErrLocked, engine.ErrForeign, engine.ErrCorrupt,
// engine.ErrNewer, engine.ErrDiskFull or an error of io/fs.
func Open(path string, opts *Options) (*Engine, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if path == "" {
		return nil, errors.New("bolt: open: the path is empty: name a file")
	}
	if o.LockTimeout < 0 {
		return nil, fmt.Errorf("bolt: open %s: Options.LockTimeout is %v: use a time above zero, or 0 for the default", path, o.LockTimeout)
	}
	first, most := journalSizes(o.Journal)
	return openWith(path, config{readOnly: o.ReadOnly, lockTimeout: o.LockTimeout, noCompression: o.NoCompression,
		version: o.Version, logger: o.Logger, journalBytes: first, journalMaxBytes: most})
}
