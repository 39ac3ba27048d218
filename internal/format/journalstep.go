package format

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// StepWrite is one machine's part of a step as the journal stores it, with the
// machine number and the position that were assigned to it. Its slices are borrowed.
type StepWrite struct {
	Machine []byte
	Kind    uint32
	Schema  uint64
	Number  uint64 // of the machine
	Pos     uint64 // of the record Seq
	Expect  uint64
	Seq     uint64
	Token   []byte // 16 bytes
	Head    []byte
	Drop    []uint64
	Events  []StepEvent
	Snaps   []StepSnapshot
}

// StepEvent is one record in a step.
type StepEvent struct {
	Time  int64
	Bytes []byte
}

// StepSnapshot is one snapshot in a step.
type StepSnapshot struct {
	Seq   uint64
	Bytes []byte
}

// AppendStepLen appends the start of a step: its number of writes.
func AppendStepLen(dst []byte, writes int) []byte {
	return binary.AppendUvarint(dst, uint64(writes))
}

// Append appends the write, its length first, so that a reader can skip it.
func (w *StepWrite) Append(dst []byte) []byte {
	at := len(dst)
	b := append(dst, 0, 0, 0, 0)
	b = appendBytes(b, w.Machine)
	b = binary.AppendUvarint(b, uint64(w.Kind))
	b = binary.AppendUvarint(b, w.Schema)
	b = binary.AppendUvarint(b, w.Number)
	b = binary.AppendUvarint(b, w.Pos)
	b = binary.AppendUvarint(b, w.Expect)
	b = binary.AppendUvarint(b, w.Seq-w.Expect)
	b = append(b, w.Token[:16]...)
	b = appendBytes(b, w.Head)
	b = binary.AppendUvarint(b, uint64(len(w.Drop)))
	for _, seq := range w.Drop {
		b = binary.AppendUvarint(b, seq)
	}
	b = binary.AppendUvarint(b, uint64(len(w.Events)))
	for i := range w.Events {
		b = binary.AppendVarint(b, w.Events[i].Time)
		b = appendBytes(b, w.Events[i].Bytes)
	}
	b = binary.AppendUvarint(b, uint64(len(w.Snaps)))
	for i := range w.Snaps {
		b = binary.AppendUvarint(b, w.Snaps[i].Seq)
		b = appendBytes(b, w.Snaps[i].Bytes)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

var errStep = errors.New("step: its fields do not match its length")

// CutStepLen reads the number of writes of the step at the start of b.
func CutStepLen(b []byte) (writes int, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)) {
		return 0, nil, errStep
	}
	return int(n), b[k:], nil
}

// CutWrite splits the first write off b. Both results are parts of b.
func CutWrite(b []byte) (write, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errStep
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, errStep
	}
	return b[4 : 4+n], b[4+n:], nil
}

// Parse reads a write that CutWrite returned. It reuses w's slices; the bytes in
// them are parts of b.
func (w *StepWrite) Parse(b []byte) error {
	r := reader{b: b}
	*w = StepWrite{Drop: w.Drop[:0], Events: w.Events[:0], Snaps: w.Snaps[:0]}
	w.Machine = r.bytes()
	w.Kind = uint32(r.uvarint())
	w.Schema = r.uvarint()
	w.Number = r.uvarint()
	w.Pos = r.uvarint()
	w.Expect = r.uvarint()
	w.Seq = w.Expect + r.uvarint()
	w.Token = r.take(16)
	w.Head = r.bytes()
	for n := r.count(); n > 0; n-- {
		w.Drop = append(w.Drop, r.uvarint())
	}
	for n := r.count(); n > 0; n-- {
		w.Events = append(w.Events, StepEvent{Time: r.varint(), Bytes: r.bytes()})
	}
	for n := r.count(); n > 0; n-- {
		w.Snaps = append(w.Snaps, StepSnapshot{Seq: r.uvarint(), Bytes: r.bytes()})
	}
	if r.bad || len(r.b) > 0 {
		return errStep
	}
	return nil
}

// count reads the number of elements of a list. Each element occupies at least one
// byte.
func (r *reader) count() uint64 {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return n
}

// GroupHeader is the start of a group: the engine's counters before the group's
// first step. The steps follow it, up to the end of the group's bytes.
type GroupHeader struct {
	Number   uint64 // last machine number assigned
	Pos      uint64 // last position assigned
	Machines uint64 // number of machines that exist
}

// stepShape is the first byte of a group. A number is part of the format and is
// never used for another shape.
const stepShape = 1

// Append appends the header.
func (g *GroupHeader) Append(dst []byte) []byte {
	b := append(dst, stepShape)
	b = binary.AppendUvarint(b, g.Number)
	b = binary.AppendUvarint(b, g.Pos)
	return binary.AppendUvarint(b, g.Machines)
}

// Cut reads the header of the group b and returns the steps after it.
func (g *GroupHeader) Cut(b []byte) (steps []byte, err error) {
	r := reader{b: b}
	if shape := r.byte(); shape != stepShape && !r.bad {
		return nil, fmt.Errorf("%w: group of shape %d", ErrNewer, shape)
	}
	*g = GroupHeader{Number: r.uvarint(), Pos: r.uvarint(), Machines: r.uvarint()}
	if r.bad {
		return nil, errStep
	}
	return r.b, nil
}
