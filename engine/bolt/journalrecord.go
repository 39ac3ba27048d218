package bolt

import (
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
	"github.com/liap-tui/savepoint/internal/format"
)

// journalRecord builds the journal record of one group. Its buffers are reused for
// the next group.
type journalRecord struct {
	payload []byte        // as the memtable keeps it
	group   journal.Group // as it is written: the payload, or its compressed form
	spans   []writeSpan   // where each write is in payload
	write   format.StepWrite
	chunk   []byte // memory that keep copies payloads to
}

// build takes the steps in the ledger and appends the accepted ones to the payload.
func (r *journalRecord) build(l *ledger, steps []engine.Step, out []engine.Result) {
	if cap(r.payload) > maxKept {
		r.payload = nil
	}
	r.spans = r.spans[:0]
	head := format.GroupHeader{Number: l.counters.number, Pos: l.counters.pos, Machines: l.counters.machines}
	b := head.Append(r.payload[:0])
	sw := r.write // for its buffers
	for i := range steps {
		s := &steps[i]
		if out[i].Err = l.take(s); out[i].Err != nil {
			continue
		}
		out[i].Pos = l.positions(s)
		b = format.AppendStepLen(b, len(s.Writes))
		for k := range s.Writes {
			w := &s.Writes[k]
			m := l.owners[k]
			h := &m.head
			sw = format.StepWrite{Machine: append(sw.Machine[:0], w.Machine...), Kind: w.Kind, Schema: w.Schema,
				Number: h.number, Pos: h.pos, Expect: w.Expect, Seq: w.Seq, Token: w.Token[:], Head: w.Head,
				Drop: w.Drop, Events: sw.Events[:0], Snaps: sw.Snaps[:0]}
			for n := range w.Events {
				sw.Events = append(sw.Events, format.StepEvent{Time: w.Events[n].Terms.Time, Bytes: w.Events[n].Bytes})
			}
			for n := range w.Snapshots {
				sw.Snaps = append(sw.Snaps, format.StepSnapshot{Seq: w.Snapshots[n].Seq, Bytes: w.Snapshots[n].Bytes})
			}
			from := len(b)
			b = sw.Append(b)
			r.spans = append(r.spans, writeSpan{w.Machine, m.mem, from + 4, len(b)})
		}
	}
	clear(sw.Events[:cap(sw.Events)]) // they hold the caller's bytes
	clear(sw.Snaps[:cap(sw.Snaps)])
	r.write = format.StepWrite{Machine: sw.Machine, Events: sw.Events, Snaps: sw.Snaps}
	r.payload = b
}

// pack makes the payload a record: compressed if that takes fewer blocks of the
// journal, for whole blocks are what the disk writes.
func (r *journalRecord) pack(noCompression bool, segment int64) {
	if len(r.group.Payload()) > maxKept {
		r.group = journal.Group{}
	}
	r.group.Reset()
	if n := len(r.payload); !noCompression && journal.Span(n) > journal.Align && int64(n) <= segment {
		r.group.Build(func(dst []byte) []byte { return format.PackGroup(dst, r.payload) })
		if journal.Span(r.group.Len()) < journal.Span(n) {
			return
		}
		r.group.Reset()
	}
	r.group.Write(r.payload)
}

// keep copies the payload to memory that stays until the group is checkpointed.
func (r *journalRecord) keep() []byte {
	const chunk = 256 << 10
	if len(r.payload) > chunk/4 {
		return append([]byte(nil), r.payload...)
	}
	if cap(r.chunk)-len(r.chunk) < len(r.payload) {
		r.chunk = make([]byte, 0, chunk)
	}
	at := len(r.chunk)
	r.chunk = append(r.chunk, r.payload...)
	return r.chunk[at:len(r.chunk):len(r.chunk)]
}
