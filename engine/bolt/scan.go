package bolt

import (
	"bytes"
	"context"
	"errors"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// headScan reads heads in the order of their keys. It merges two sources: the heads
// of the file, and the machines of the memtable, whose writes are newer. A
// machine that is in both comes from the memtable, unless the transaction of the
// file's heads has its newest write already (R10).
//
// It reads in rounds. A round copies the newest writes of the memtable's next
// machines first, and then heads of the file in one transaction. It ends where one
// of the two sources is cut off: what comes next in that source is not known before
// the next round, so nothing after that key may be delivered from the other one.
type headScan struct {
	e      *Engine
	prefix string
	from   []byte // the next round starts at this key
	file   fileHeads
	mem    memtableHeads
}

// scanAtOnce is the most heads that a round takes from each source.
const scanAtOnce = 1000

func newHeadScan(e *Engine, prefix, after string) *headScan {
	s := &headScan{e: e, prefix: prefix, from: []byte(prefix)}
	if after != "" && after >= prefix {
		s.from = append([]byte(after), 0)
	}
	s.mem.machines = e.memtable.keys(prefix, string(s.from))
	return s
}

// run calls fn for the heads, for at most limit of them if limit is above 0.
func (s *headScan) run(ctx context.Context, limit int, fn func(machine string, h engine.Head) error) error {
	for given := 0; limit <= 0 || given < limit; {
		if err := ctx.Err(); err != nil {
			return err
		}
		most := scanAtOnce
		if limit > 0 {
			most = min(most, limit-given)
		}
		if err := s.start(most); err != nil {
			return err
		}
		n, err := s.round(ctx, most, fn)
		if errors.Is(err, engine.Stop) {
			return nil
		}
		if err != nil {
			return err
		}
		if given += n; s.file.end() && s.mem.end() {
			return nil
		}
	}
	return nil
}

// start fills both sources for the next round, with at most limit heads each.
func (s *headScan) start(limit int) error {
	s.mem.start(s.e.memtable, s.from, limit)
	return s.e.view(func(tx *txn) (err error) {
		if len(s.mem.refs) > 0 {
			if s.mem.checkpointed, _, err = parseJournalState(tx); err != nil {
				return err
			}
		}
		s.file.copy(tx, s.prefix, s.from, limit, s.e.opt.readBytes)
		return nil
	})
}

// round calls fn for at most limit heads, up to where a source was cut off, and
// returns how many they were.
func (s *headScan) round(ctx context.Context, limit int, fn func(machine string, h engine.Head) error) (given int, err error) {
	for given < limit {
		machine, h, ok, err := s.next()
		if err != nil || !ok {
			return given, err
		}
		s.from = append(append(s.from[:0], machine...), 0)
		if h.Number == 0 && h.Err == nil { // it was purged after its key was taken
			continue
		}
		if err := ctx.Err(); err != nil {
			return given, err
		}
		if err := fn(machine, h); err != nil {
			return given, err
		}
		given++
	}
	return given, nil
}

// next returns the machine with the lowest key of both sources; ok is false if none
// of the round is left.
func (s *headScan) next() (machine string, h engine.Head, ok bool, err error) {
	if s.file.cutOff() || s.mem.cutOff() || s.file.end() && s.mem.end() {
		return "", engine.Head{}, false, nil
	}
	inFile := !s.mem.has() || s.file.has() && string(s.file.key()) <= s.mem.key()
	inMem := !s.file.has() || s.mem.has() && s.mem.key() <= string(s.file.key())
	if inFile {
		machine, h = s.file.take(s.e.opt.maxValue())
	} else {
		machine = s.mem.key()
	}
	if inMem {
		if newer, ok, err := s.mem.take(); err != nil {
			return "", engine.Head{}, false, err
		} else if ok {
			h = newer
		}
	}
	return machine, h, true, nil
}

// fileHeads are heads that were copied from the file in one transaction.
type fileHeads struct {
	heads []storedKey
	at    int // the first head that is left
	buf   []byte
	more  bool // the file has heads after these
}

// storedKey is a key and the value stored under it, both in fileHeads.buf.
type storedKey struct{ key, value []byte }

// copy copies heads from a key on: at most limit of them, and none after maxBytes.
func (f *fileHeads) copy(tx *txn, prefix string, from []byte, limit, maxBytes int) {
	f.heads, f.at, f.buf, f.more = f.heads[:0], 0, f.buf[:0], false
	cur := tx.machines.cursor()
	for k, v := cur.seek(from); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = cur.next() {
		if len(f.heads) == limit || len(f.buf) >= maxBytes {
			f.more = true
			return
		}
		at := len(f.buf)
		f.buf = append(append(f.buf, k...), v...)
		f.heads = append(f.heads, storedKey{f.buf[at : at+len(k)], f.buf[at+len(k):]})
	}
}

// has reports whether a head is left. If none is, the source is cut off, or at its end.
func (f *fileHeads) has() bool    { return f.at < len(f.heads) }
func (f *fileHeads) cutOff() bool { return !f.has() && f.more }
func (f *fileHeads) end() bool    { return !f.has() && !f.more }
func (f *fileHeads) key() []byte  { return f.heads[f.at].key }

// take returns the next head, parsed with a limit for its length.
func (f *fileHeads) take(limit int) (machine string, head engine.Head) {
	stored := f.heads[f.at]
	f.at++
	machine = string(stored.key)
	h, err := parseHead(stored.value, stored.key, limit)
	head = h.public()
	if err != nil {
		head.Err = &engine.Damage{Machine: machine, Part: "head", Why: err}
	}
	return machine, head
}

// memtableHeads are the machines that the memtable had when the scan started.
type memtableHeads struct {
	machines     []string   // those that are left when the round starts
	refs         []entryRef // the newest writes of the first machines, which are those of the round
	at           int        // the first machine that is left now
	checkpointed uint64     // the LSN up to which the file has all writes
}

// start drops the machines before from and copies the newest writes of at most limit
// machines.
func (m *memtableHeads) start(t *memtable, from []byte, limit int) {
	for len(m.machines) > 0 && m.machines[0] < string(from) {
		m.machines = m.machines[1:]
	}
	m.refs, m.at = t.newestOf(m.machines[:min(limit, len(m.machines))], m.refs[:0]), 0
}

// has reports whether a machine of the round is left. If none is, the source is cut
// off, or at its end.
func (m *memtableHeads) has() bool    { return m.at < len(m.refs) }
func (m *memtableHeads) cutOff() bool { return !m.has() && m.at < len(m.machines) }
func (m *memtableHeads) end() bool    { return m.at == len(m.machines) }
func (m *memtableHeads) key() string  { return m.machines[m.at] }

// take passes over the next machine. It returns its head if that is newer than what
// the file has.
func (m *memtableHeads) take() (h engine.Head, newer bool, err error) {
	ref := m.refs[m.at]
	m.at++
	if ref.lsn <= m.checkpointed {
		return engine.Head{}, false, nil
	}
	var w format.StepWrite
	if err := w.Parse(ref.write); err != nil {
		return engine.Head{}, false, err
	}
	head := headOfWrite(&w)
	return head.public(), true, nil
}
