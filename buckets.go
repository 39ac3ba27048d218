package savepoint

import (
	"context"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt"
	"github.com/liap-tui/savepoint/internal/record"
)

// libraryVersion is stored in a new file, for those who examine the file later.
const libraryVersion = "0.1.0"

// openFile opens the engine of the file at path with those options that concern the file.
func openFile(path string, o *Options) (*bolt.Engine, error) {
	e, err := bolt.Open(path, &bolt.Options{ReadOnly: o.ReadOnly, LockTimeout: o.LockTimeout, NoCompression: o.NoCompression,
		Logger: o.Logger, Version: libraryVersion, Journal: o.Journal})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return e, nil
}

// maxID is the longest id and the longest name of a kind, in bytes.
const maxID = 255

// checkName says what is wrong with a name or an id.
func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("it is empty")
	case len(s) > maxID:
		return fmt.Errorf("it has %d bytes, more than %d", len(s), maxID)
	case !utf8.ValidString(s):
		return errors.New("it is not valid UTF-8")
	}
	for i, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("it has the control character %U at byte %d", r, i)
		}
	}
	return nil
}

func checkID(id string) error {
	for i := range len(id) { // an id of printable ASCII needs no further check
		if c := id[i]; c < 0x20 || c >= 0x7f {
			return badID(id)
		}
	}
	if id == "" || len(id) > maxID {
		return badID(id)
	}
	return nil
}

func badID(id string) error {
	if err := checkName(id); err != nil {
		return fmt.Errorf("%w: %.60q: %w", ErrBadID, id, err)
	}
	return nil
}

// Notes are the few values that the database keeps beside its machines. These
// are all names of notes.
const (
	noteAges  = "ages"  // how old records are, see ages
	noteKinds = "kinds" // the last number that a kind got
	noteKind  = "kind/" // what the file knows of a kind, by its name
	noteFeed  = "feed/" // the position of a reader of the feed, by its name
)

func kindNoteName(kind string) string { return noteKind + kind }

// longestFeedName bounds the name of a feed's position.
const longestFeedName = 255

func feedNoteName(name string) (string, error) {
	if name == "" || len(name) > longestFeedName {
		return "", fmt.Errorf("%w: the name of a feed's position has %d bytes, not 1 to %d", ErrBadID, len(name), longestFeedName)
	}
	return noteFeed + name, nil
}

// keyOf returns the engine's key of a machine.
func keyOf(kind, id string) string { return record.MachineKey(kind, id) }

// splitKey is the opposite of keyOf.
func splitKey(key string) (kind, id string, ok bool) { return record.SplitMachineKey(key) }

// Buckets returns what takes the space of the database: for each bucket of the
// file the number of its entries, the bytes of their keys and values as they are
// stored, and its pages; the free pages, the length of the file; and what is
// stored in the journal only.
//
// It reads the pages of the file, about as fast as the disk does, in short read
// transactions between which writes go on and free pages are used again. So each
// bucket is of about one moment, and the sums are exact if nothing is written
// meanwhile. A ctx that ends, ends it with its error. It works in a file opened
// for reading, too. In memory the buckets are those of package engine/memory, and
// there are no pages. If Options.Engine is not an [engine.Bucketer], the error is
// ErrUnsupported; pages that are damaged are ErrCorrupt.
func (db *DB) Buckets(ctx context.Context) (engine.Usage, error) {
	if db.closed.Load() {
		return engine.Usage{}, ErrClosed
	}
	b, ok := db.eng.(engine.Bucketer)
	if !ok {
		return engine.Usage{}, fmt.Errorf("buckets of %s: %w: the engine does not know what takes its space", db.path, ErrUnsupported)
	}
	u, err := b.Buckets(ctx)
	if err != nil {
		return engine.Usage{}, fmt.Errorf("buckets of %s: %w", db.path, err)
	}
	return u, nil
}
