package journal

import "slices"

// Read copies the payload of record lsn into buf, which grows if need be, and
// returns it. It checks lsn and checksums after copying, so that it holds no lock
// and pins no segment while a writer goes round the ring.
//
// ErrCheckpointed: the record is folded and its place was taken. Records that are
// folded may be read a while longer. Who looks at the ring first (State), then
// begins a read transaction over what was folded, and gets ErrCheckpointed for a
// record that the transaction does not have, begins again. ErrNoRecord: lsn is
// not acknowledged. ErrCorrupt and errors of the file do not stop the journal.
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
	// Moved to the front, so that the caller can give the whole buffer again.
	return buf[:copy(buf, buf[headerSize:])], nil
}
