package savepoint

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/liap-tui/savepoint/engine/bolt"
	"github.com/liap-tui/savepoint/internal/record"
)

// libraryVersion is kept in the file, for whoever looks at it later.
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
	for i := range len(id) { // the usual id needs no closer look
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

// keyOf returns the engine's key of a machine.
func keyOf(kind, id string) string { return record.MachineKey(kind, id) }

// splitKey is the opposite of keyOf.
func splitKey(key string) (kind, id string, ok bool) { return record.SplitMachineKey(key) }
