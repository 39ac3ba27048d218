package peer

import (
	"encoding/binary"
	"errors"
)

// The entry of an event in a log holds its machine and seq, then the snapshot, then the event:
//
//	length of machine (uvarint) | machine | seq (uvarint) | snapshot (uvarint length, bytes) | event

func appendEntry(to []byte, a *Append) []byte {
	to = binary.AppendUvarint(to, uint64(len(a.Machine)))
	to = append(to, a.Machine...)
	to = binary.AppendUvarint(to, a.Seq)
	to = binary.AppendUvarint(to, uint64(len(a.State)))
	to = append(to, a.State...)
	return append(to, a.Event.Bytes...)
}

var errEntry = errors.New("entry of a log is damaged")

// readEntry returns the machine and seq of an entry.
func readEntry(b []byte) (machine string, seq uint64, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || uint64(len(b)-w) < n {
		return "", 0, errEntry
	}
	machine, b = string(b[w:w+int(n)]), b[w+int(n):]
	if seq, w = binary.Uvarint(b); w <= 0 {
		return "", 0, errEntry
	}
	return machine, seq, nil
}

// replay reads a log from its first entry to its last: without an index that is
// the only way to find the seq of each machine.
func (h *heads) replay(first, last uint64, read func(index uint64) ([]byte, error)) (n int64, err error) {
	if last == 0 {
		return 0, nil
	}
	for i := first; i <= last; i++ {
		b, err := read(i)
		if err != nil {
			return n, err
		}
		machine, seq, err := readEntry(b)
		if err != nil {
			return n, err
		}
		h.set(machine, seq)
		n++
	}
	return n, nil
}
