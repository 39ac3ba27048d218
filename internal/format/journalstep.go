package format

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// StepWrite is one machine's part of a step as the journal keeps it, with the
// machine number and the position it was given. Its slices are borrowed.
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

// AppendStepLen begins a step of so many writes.
func AppendStepLen(dst []byte, writes int) []byte {
	return binary.AppendUvarint(dst, uint64(writes))
}

// Append adds a write, its length first, so that it can be passed over.
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

var errStep = errors.New("step: fields do not fit its length")

// CutStepLen reads how many writes a step has.
func CutStepLen(b []byte) (writes int, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)) {
		return 0, nil, errStep
	}
	return int(n), b[k:], nil
}

// CutWrite takes one write off the front of b.
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

// Parse reads a write that CutWrite gave. It reuses w's slices.
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

// count reads a number of things that take a byte each at least.
func (r *reader) count() uint64 {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return n
}

// GroupHeader is what stands before the steps of a group: the engine's counters
// as they were before its first step. The steps follow until the bytes end.
type GroupHeader struct {
	Number   uint64 // last machine number given
	Pos      uint64 // last position given
	Machines uint64 // that exist
}

// stepShape is the first byte of a group. Numbers are part of the format and
// never used again.
const stepShape = 1

// Append begins a group.
func (g *GroupHeader) Append(dst []byte) []byte {
	b := append(dst, stepShape)
	b = binary.AppendUvarint(b, g.Number)
	b = binary.AppendUvarint(b, g.Pos)
	return binary.AppendUvarint(b, g.Machines)
}

// Cut reads the beginning of a group and gives the steps behind it.
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
