package bolt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
	"github.com/liap-tui/savepoint/internal/format"
)

// The application and the format of the file. The format number increases with each
// change after which an older program must not open the file.
const (
	fileApp    = "liap-tui/savepoint"
	fileFormat = 1
)

// putFile stores the application, the format and a new id of the file. The payload,
// big-endian: length of the application id 1, application id, format 4, file id 16,
// time of creation in microseconds since 1970 8, version of the library.
func putFile(tx *txn, version string) error {
	b := append([]byte{byte(len(fileApp))}, fileApp...)
	b = binary.BigEndian.AppendUint32(b, fileFormat)
	var id [16]byte
	rand.Read(id[:])
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixMicro()))
	b = append(b, version...)
	return tx.meta.put(metaFile, format.AppendValue(nil, &format.Header{Type: format.TypeFile, Raw: uint32(len(b))}, b, nil))
}

// putMark stores whether the file is closed. The payload, big-endian: 1 for closed,
// otherwise 0; microseconds since 1970 8; version of the library.
func putMark(tx *txn, clean bool, version string) error {
	b := []byte{0}
	if clean {
		b[0] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixMicro()))
	b = append(b, version...)
	return tx.meta.put(metaMark, format.AppendValue(nil, &format.Header{Type: format.TypeMark, Raw: uint32(len(b))}, b, nil))
}

// longestMeta is the largest payload of the values that describe the file.
const longestMeta = 1 << 10

// fileState holds what is read from a file while it is opened. clean and the id of
// the journal are known before bbolt opens the file.
type fileState struct {
	clean        bool
	counters     fileCounters
	lostCounters error // why counters had to be rebuilt
	versions     versionCounts
	journal      journalState
}

// read reads everything that is read in a transaction. It rebuilds damaged counters
// in memory.
func (found *fileState) read(tx *txn) error {
	if name := tx.missing(); name != "" {
		return fmt.Errorf("%w: bucket %s is missing", engine.ErrCorrupt, name)
	}
	b := tx.counters.get(countersLast)
	if b == nil {
		found.lostCounters = errors.New("they are missing")
	} else {
		found.counters, found.lostCounters = parseCounters(b)
	}
	if errors.Is(found.lostCounters, format.ErrNewer) {
		return fmt.Errorf("%w: counters: %w", engine.ErrNewer, found.lostCounters)
	}
	if found.lostCounters == nil && found.counters.number < lastNumber(tx) {
		found.lostCounters = fmt.Errorf("the last machine number is %d, but %d is in use", found.counters.number, lastNumber(tx))
	}
	if found.lostCounters != nil {
		found.counters = recount(tx)
	}
	found.versions = foundVersions(tx, nil, found.counters.machines)
	return found.journal.read(tx, found.clean)
}

// parseFile reads the value of metaFile, nil if it is missing: it returns the id of
// the file, or an error if the file was not made by savepoint, or has another
// format. hasMagic reports whether other values in the file are savepoint's.
func parseFile(b []byte, hasMagic func() bool) (id journal.ID, err error) {
	if len(b) < format.HeaderLen || !bytes.HasPrefix(b, format.Magic()) {
		if hasMagic() {
			return id, fmt.Errorf("%w: the mark of the file is missing or damaged", engine.ErrCorrupt)
		}
		return id, fmt.Errorf("%w: it is another program's bbolt file", engine.ErrForeign)
	}
	h, payload, err := format.ParseValue(b, longestMeta)
	switch {
	case errors.Is(err, format.ErrNewer):
		return id, fmt.Errorf("%w: %w", engine.ErrNewer, err)
	case err != nil:
		return id, fmt.Errorf("%w: the mark of the file: %w", engine.ErrCorrupt, err)
	case h.Type != format.TypeFile || len(payload) < 1 || len(payload) < 1+int(payload[0])+28:
		return id, fmt.Errorf("%w: the mark of the file is a %s of %d bytes", engine.ErrCorrupt, h.Type, len(payload))
	}
	app, rest := payload[1:1+payload[0]], payload[1+payload[0]:]
	if string(app) != fileApp {
		return id, fmt.Errorf("%w: it belongs to %q", engine.ErrForeign, app)
	}
	if format := binary.BigEndian.Uint32(rest); format > fileFormat {
		return id, fmt.Errorf("%w: file format %d, this program knows up to %d", engine.ErrNewer, format, fileFormat)
	}
	return journal.ID(rest[4:20]), nil
}

// markClean reports whether the mark b is that of a closed file. A damaged mark
// counts as not closed.
func markClean(b []byte) bool {
	h, payload, err := format.ParseValue(b, longestMeta)
	return err == nil && h.Type == format.TypeMark && len(payload) > 0 && payload[0] == 1
}

// lastNumber returns the highest machine number that has events or snapshots.
func lastNumber(tx *txn) uint64 {
	var last uint64
	for _, t := range []*tree{&tx.events, &tx.snapshots} {
		if k, _ := t.cursor().last(); k != nil {
			if n, _, _, ok := splitValueKey(k); ok {
				last = max(last, n)
			}
		}
	}
	return last
}

// counterSlack is added to rebuilt counters: purged machines may have used numbers
// and positions above the highest ones that are found.
const counterSlack = 1 << 40

// recount rebuilds the counters from the heads and the keys of events and snapshots.
func recount(tx *txn) fileCounters {
	c := fileCounters{number: lastNumber(tx)}
	cur := tx.machines.cursor()
	for k, v := cur.first(); k != nil; k, v = cur.next() {
		c.machines++
		if h, err := parseHead(v, k, maxStep+valueSlack); err == nil {
			c.number, c.pos = max(c.number, h.number), max(c.pos, h.pos)
		}
	}
	c.number += counterSlack
	c.pos += counterSlack
	return c
}
