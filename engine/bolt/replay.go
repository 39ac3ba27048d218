package bolt

import (
	"errors"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// errJournalDiffers is matched when the journal was not written after what the buckets hold.
var errJournalDiffers = fmt.Errorf("%w: the journal does not follow the writes in the buckets", engine.ErrDamaged)

// recountedFrom returns the counters that the first entry was appended at, for a
// file whose own counters are lost; c if there are no entries.
func recountedFrom(entries []journalEntry, c fileCounters) (fileCounters, error) {
	if len(entries) == 0 {
		return c, nil
	}
	var head format.GroupHeader
	if _, err := head.Cut(entries[0].payload); err != nil {
		return c, fmt.Errorf("%w: record %d: %w", errJournalDiffers, entries[0].lsn, err)
	}
	return fileCounters{head.Number, head.Pos, head.Machines}, nil
}

// replay takes the steps of entries again, in order. Each step must get the numbers
// and positions that it got when it was appended (R4, R11).
func (b *batch) replay(entries []journalEntry) error {
	r := stepReader{b: b}
	n := recordsIn(entries)
	b.changes.events, b.changes.indexEntries = slices.Grow(b.changes.events, n), slices.Grow(b.changes.indexEntries, n)
	for _, entry := range entries {
		if err := r.group(entry.payload); err != nil {
			if !errors.Is(err, format.ErrNewer) {
				err = fmt.Errorf("%w: %w", errJournalDiffers, err)
			}
			return fmt.Errorf("record %d of the journal: %w", entry.lsn, err)
		}
	}
	return nil
}

// recordsIn estimates how many events the entries have, without the last entry, so
// that memory for them is allocated once.
func recordsIn(entries []journalEntry) int {
	if len(entries) < 2 {
		return 0
	}
	var first, last format.GroupHeader
	_, err := first.Cut(entries[0].payload)
	if _, err2 := last.Cut(entries[len(entries)-1].payload); err != nil || err2 != nil || last.Pos < first.Pos {
		return 0
	}
	bytes := 0
	for i := range entries {
		bytes += len(entries[i].payload)
	}
	return int(min(last.Pos-first.Pos, uint64(bytes)))
}

// stepReader parses the payloads of journal entries and passes their steps to
// a batch. Its buffers are reused for each step.
type stepReader struct {
	b       *batch
	w       format.StepWrite
	writes  []engine.Write
	numbers []uint64 // machine numbers, one per write, as they were when the step was appended
	pos     []uint64 // positions, likewise
	events  []engine.Event
	snaps   []engine.Snapshot
	drops   []uint64
}

// group takes all steps of one entry.
func (r *stepReader) group(payload []byte) error {
	var head format.GroupHeader
	rest, err := head.Cut(payload)
	if err != nil {
		return err
	}
	if have, want := r.b.ledger.counters, (fileCounters{head.Number, head.Pos, head.Machines}); have != want {
		return fmt.Errorf("it was appended at %+v, not at %+v", want, have)
	}
	for len(rest) > 0 {
		n, tail, err := format.CutStepLen(rest)
		if err != nil {
			return err
		}
		if rest, err = r.step(n, tail); err != nil {
			return err
		}
	}
	return nil
}

// step takes a step of n writes and returns what follows it in rest.
func (r *stepReader) step(n int, rest []byte) ([]byte, error) {
	r.writes, r.numbers, r.pos = r.writes[:0], r.numbers[:0], r.pos[:0]
	r.events, r.snaps, r.drops = r.events[:0], r.snaps[:0], r.drops[:0]
	for range n {
		var b []byte
		var err error
		if b, rest, err = format.CutWrite(rest); err != nil {
			return nil, err
		}
		if err := r.w.Parse(b); err != nil {
			return nil, err
		}
		r.addWrite()
	}
	s := engine.Step{Writes: r.writes}
	if err := r.b.take(&s); err != nil {
		return nil, err
	}
	for i, pos := range r.b.ledger.positions(&s) {
		if m := r.b.ledger.owners[i]; pos != r.pos[i] || m.head.number != r.numbers[i] {
			return nil, fmt.Errorf("machine %q gets number %d and position %d, not %d and %d", m.key, m.head.number, pos, r.numbers[i], r.pos[i])
		}
	}
	return rest, nil
}

// addWrite adds the write that was parsed last to the step. Its bytes are those of
// the payload.
func (r *stepReader) addWrite() {
	w, l := &r.w, &r.b.ledger
	m := l.machines[string(w.Machine)]
	if m == nil {
		m = l.machine(string(w.Machine))
		l.adoptHead(m, w)
	}
	events, snaps, drops := len(r.events), len(r.snaps), len(r.drops)
	for _, ev := range w.Events {
		r.events = append(r.events, engine.Event{Bytes: ev.Bytes, Terms: engine.Terms{Time: ev.Time}})
	}
	for _, s := range w.Snaps {
		r.snaps = append(r.snaps, engine.Snapshot{Seq: s.Seq, Bytes: s.Bytes})
	}
	r.drops = append(r.drops, w.Drop...)
	ew := engine.Write{Machine: m.key, Kind: w.Kind, Schema: w.Schema, Expect: w.Expect, Seq: w.Seq, Head: w.Head,
		Events: r.events[events:], Snapshots: r.snaps[snaps:], Drop: r.drops[drops:]}
	copy(ew.Token[:], w.Token)
	r.writes = append(r.writes, ew)
	r.numbers, r.pos = append(r.numbers, w.Number), append(r.pos, w.Pos)
}
