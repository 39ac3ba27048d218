package bolt

import (
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// appendNote appends a stored note to dst. Its payload is the CRC-32C of its name,
// big-endian, and the note.
func appendNote(dst []byte, name string, value []byte) []byte {
	sum := keySum([]byte(name))
	part := []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}
	return format.AppendValue(dst, &format.Header{Type: format.TypeNote, Raw: uint32(len(part) + len(value))}, part, value)
}

// parseNote returns the note in b, of at most limit bytes; it is a part of b.
func parseNote(b []byte, name string, limit int) ([]byte, error) {
	h, payload, err := format.ParseValue(b, limit)
	switch sum := keySum([]byte(name)); {
	case errors.Is(err, format.ErrNewer):
		return nil, fmt.Errorf("%w: note %q: %w", engine.ErrNewer, name, err)
	case err != nil:
		return nil, fmt.Errorf("%w: note %q: %w", engine.ErrCorrupt, name, err)
	case h.Type != format.TypeNote || len(payload) < 4:
		return nil, fmt.Errorf("%w: note %q is a %s of %d bytes", engine.ErrCorrupt, name, h.Type, len(payload))
	case payload[0] != byte(sum>>24) || payload[1] != byte(sum>>16) || payload[2] != byte(sum>>8) || payload[3] != byte(sum):
		return nil, fmt.Errorf("%w: the value of note %q belongs to another name", engine.ErrCorrupt, name)
	}
	return payload[4:], nil
}

// noteKey returns the key of a note in bucket meta.
func noteKey(name string) []byte { return []byte(metaNote + name) }
