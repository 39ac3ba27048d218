package bolt

import (
	"log/slog"
	"os"
	"time"

	"github.com/liap-tui/savepoint/internal/format"
)

// config is how a file is opened: the Options, and what only tests change.
type config struct {
	readOnly        bool
	lockTimeout     time.Duration // how long to wait for a file in use; 0 = 1 s
	noCompression   bool
	mode            os.FileMode  // of a new file; 0 = 0600
	version         string       // of the library, stored in the file
	logger          *slog.Logger // nil = silent
	maxStep         int          // most bytes of a step; 0 = the constant maxStep
	readBytes       int          // most stored bytes that a Load or Scan copies out per transaction; 0 = defaultReadBytes
	gathered        int          // most index entries that are collected from the events at once; 0 = rebuildEntries
	journalBytes    int64        // of the journal; 0 = direct mode: no journal, each group is one transaction
	journalMaxBytes int64        // up to which the journal may grow; 0 = it does not grow
	journalSegment  int64        // bytes of a segment of the journal; 0 = an eighth of the journal
	wholeCheck      int64        // 0 = wholeCheck
	dictionaryDue   int          // snapshots of a kind before its first dictionary; 0 = firstDue
	seams           seams
}

// seams are the places where a test injects faults; nil is the real thing.
type seams struct {
	openFile    func(name string, flag int, mode os.FileMode) (*os.File, error)
	commit      func(tx *txn) error
	read        func() // called in each read transaction, under the guard
	write       func() // called in each write transaction, under the guard
	syncFile    func(f *os.File) error
	readDisk    func(f *os.File, at int64, b []byte) error
	rename      func(from, to string) error
	journalFile func(path string, same os.FileInfo) (journalFile, error)
}

const (
	maxStep          = 256 << 20
	maxKey           = 1024 // bytes of a machine's key, or of a note's name
	defaultReadBytes = 4 << 20
	rebuildEntries   = 16 * format.MaxPageEntries
	// valueSlack is how much longer than a step a stored payload may be: it has the
	// numbers of a block or a head besides the bytes.
	valueSlack = 1 << 10
)

// maxValue returns the length of the longest stored payload.
func (o *config) maxValue() int { return o.maxStep + valueSlack }

// withDefaults returns o with defaults in place of zero fields.
func (o config) withDefaults() config {
	orDefault(&o.lockTimeout, time.Second)
	orDefault(&o.mode, 0o600)
	orDefault(&o.maxStep, maxStep)
	orDefault(&o.readBytes, defaultReadBytes)
	orDefault(&o.gathered, rebuildEntries)
	orDefault(&o.wholeCheck, wholeCheck)
	orDefault(&o.dictionaryDue, firstDue)
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	o.seams = o.seams.withDefaults()
	return o
}

// withDefaults returns s with the real functions in place of nil.
func (s seams) withDefaults() seams {
	if s.openFile == nil {
		s.openFile = os.OpenFile
	}
	if s.commit == nil {
		s.commit = (*txn).commit
	}
	if s.read == nil {
		s.read = func() {}
	}
	if s.write == nil {
		s.write = func() {}
	}
	if s.syncFile == nil {
		s.syncFile = (*os.File).Sync
	}
	if s.readDisk == nil {
		s.readDisk = readDisk
	}
	if s.rename == nil {
		s.rename = os.Rename
	}
	if s.journalFile == nil {
		s.journalFile = openJournalFile
	}
	return s
}

// orDefault sets a zero field to its default.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
