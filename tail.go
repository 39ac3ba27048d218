package savepoint

import "slices"

// tail holds the records since an encoded state, in one piece of memory: a
// machine in memory has many, and so they are one thing to the garbage
// collector.
type tail struct {
	bytes []byte
	ends  []int
}

// add copies a record.
func (t *tail) add(b []byte) []byte {
	from := len(t.bytes)
	t.bytes = append(t.bytes, b...)
	t.ends = append(t.ends, len(t.bytes))
	return t.bytes[from:]
}

// record is the i-th one.
func (t *tail) record(i int) []byte {
	from, end := 0, t.ends[i]
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.bytes[from:end:end]
}

// reset keeps only the room.
func (t *tail) reset() { t.bytes, t.ends = t.bytes[:0], t.ends[:0] }

// clone is a copy without spare room.
func (t *tail) clone() tail {
	return tail{slices.Clip(slices.Clone(t.bytes)), slices.Clip(slices.Clone(t.ends))}
}

// size is what it occupies.
func (t *tail) size() int64 { return int64(cap(t.bytes) + 8*cap(t.ends)) }
