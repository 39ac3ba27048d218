package journal

import "slices"

// Read copies the payload of record lsn into buf, which grows if necessary, and
// returns it. It checks lsn and checksums after copying, so that it needs no lock
// and a writer may overwrite the record meanwhile.
//
// It returns ErrCheckpointed if the record is checkpointed and was overwritten;
// until then a checkpointed record can still be read. A caller that reads State
// first, then starts a read transaction where checkpoints are stored, and gets
// ErrCheckpointed for a record that the transaction does not have, starts again.
// ErrNoRecord is returned for an lsn that is not acknowledged. ErrCorrupt and errors
// of the file do not stop the journal.
func (j *Journal) Read(lsn uint64, buf []byte) ([]byte, error) {
	j.mu.Lock()
	last, s := j.last, j.slots[lsn%uint64(len(j.slots))]
	j.mu.Unlock()
	if lsn == 0 || lsn > last {
		return nil, ErrNoRecord
	}
	p := Place{LSN: lsn, Offset: j.ring.base + int64(s.block)*Align, Length: int(s.length)}
	n := headerSize + p.Length
	buf = slices.Grow(buf[:0], n)[:n]
	if err := j.ring.read(j.file, buf, p); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		if lsn <= j.checkpointed {
			return nil, ErrCheckpointed
		}
		return nil, err
	}
	// The payload moves to the front, so that the caller can pass the whole buffer
	// to the next call.
	return buf[:copy(buf, buf[headerSize:])], nil
}
