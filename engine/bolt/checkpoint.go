package bolt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// runCheckpointer folds whenever it is woken and a fold is still due: the groups that came
// during the last one woke it, too, and by themselves are too few to be worth
// it. After a full disk it waits a little.
func (r *journalWriter) runCheckpointer() {
	defer close(r.ended)
	for {
		select {
		case <-r.quit:
			return
		case <-r.wake:
		}
		if !r.checkpointDue() {
			continue
		}
		err := r.e.checkpoint(nil)
		if err == nil {
			continue
		}
		if r.e.stopped.Load() != nil || r.e.dead.Load() != nil {
			return
		}
		r.e.opt.logger.Warn("the journal cannot be folded now", "file", r.e.path, "error", err)
		select {
		case <-r.quit:
			return
		case <-time.After(checkpointPause):
			r.wakeCheckpointer()
		}
	}
}

// checkpointPause is the time between two tries to fold on a full disk.
const checkpointPause = time.Second

// wakeCheckpointer wakes the folder.
func (r *journalWriter) wakeCheckpointer() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// stopCheckpointer ends the folder and waits for a fold under way.
func (r *journalWriter) stopCheckpointer() {
	if r == nil {
		return
	}
	r.once.Do(func() { close(r.quit) })
	<-r.ended
}

// checkpointDue tells whether the ring has less than a quarter of its segments left
// beside the one being filled: so folds are large, and there is room for what
// comes meanwhile. Groups that compress well fill memory before they fill the
// ring: then it is due when they do.
func (r *journalWriter) checkpointDue() bool {
	s := r.journal.Load().State()
	young, _ := r.e.memtable.bytes()
	return s.Free < max(1, s.Segments/4) || young >= r.checkpointBytes.Load()
}

// overBudget tells whether so much is in memory that the next group waits for the
// fold under way, as it does for a full ring.
func (r *journalWriter) overBudget() bool {
	_, all := r.e.memtable.bytes()
	return all >= 2*r.checkpointBytes.Load()
}

// checkpointThreshold is how many bytes of groups in memory make a fold due, for a ring of that
// size: what is folded at once is what an opening after a crash has to fold.
func checkpointThreshold(size int64) int64 { return size / 4 * 5 }

// checkpoint stores what is in the ring only, in one transaction with the lsn of its
// last group (R11), and what also puts, if it is not nil. Without a ring it is
// an update with also.
func (e *Engine) checkpoint(also func(tx *txn) error) error {
	r := e.journal
	if r == nil {
		return e.update(also)
	}
	r.checkpointing.Lock()
	defer r.checkpointing.Unlock()
	groups, generations := e.memtable.freeze()
	if len(groups) == 0 && also == nil {
		return nil
	}
	wanted := r.measure()
	g := &r.checkpoint
	defer g.end()
	err := e.update(func(tx *txn) error {
		if len(groups) > 0 {
			if err := g.checkpoint(tx, groups, e); err != nil {
				return err
			}
			if err := g.store(); err != nil {
				return err
			}
			if err := putJournalState(tx, groups[len(groups)-1].lsn, r.place.salt); err != nil {
				return err
			}
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if stopped := e.stopped.Load(); stopped != nil { // the ring, meanwhile
			return opaqueError{*stopped}
		}
		return nil
	})
	if err != nil || len(groups) == 0 {
		return err
	}
	if err := r.journal.Load().Checkpointed(groups[len(groups)-1].lsn); err != nil {
		e.halt(err)
		return err
	}
	e.memtable.release(generations)
	r.targetSize.Store(wanted)
	return nil
}

// checkpoint takes all groups into a transaction. What does not follow on what the
// file holds ends all writing: the file is not what was appended to.
func (g *batch) checkpoint(tx *txn, groups []journalEntry, e *Engine) error {
	c, err := parseCounters(tx.counters.get(countersLast))
	if err == nil {
		g.begin(c)
		g.tx = tx
		err = g.replay(groups)
	}
	if err != nil {
		err = fmt.Errorf("fold the journal: %w", err)
		e.halt(err)
	}
	return err
}

// recountMachines takes the counters from the first group where those of the file are lost.
func (g *batch) recountMachines(groups []journalEntry) error {
	if len(groups) == 0 {
		return nil
	}
	var head format.GroupHeader
	if _, err := head.Cut(groups[0].payload); err != nil {
		return fmt.Errorf("%w: record %d: %w", errJournalDiffers, groups[0].lsn, err)
	}
	g.begin(fileCounters{head.Number, head.Pos, head.Machines})
	return nil
}

// replay takes the steps of groups again, in order. Each must get what it got
// when it was appended: same numbers, same positions (R4, R11).
func (g *batch) replay(groups []journalEntry) error {
	p := stepReader{g: g}
	n := recordsIn(groups)
	g.events, g.indexEntries = slices.Grow(g.events, n), slices.Grow(g.indexEntries, n)
	for _, group := range groups {
		if err := p.group(group.payload); err != nil {
			if !errors.Is(err, format.ErrNewer) {
				err = fmt.Errorf("%w: %w", errJournalDiffers, err)
			}
			return fmt.Errorf("record %d of the journal: %w", group.lsn, err)
		}
	}
	return nil
}

// recordsIn is about how many records the groups have, without those of the last:
// room for them is made at once.
func recordsIn(groups []journalEntry) int {
	if len(groups) < 2 {
		return 0
	}
	var first, last format.GroupHeader
	_, err := first.Cut(groups[0].payload)
	if _, err2 := last.Cut(groups[len(groups)-1].payload); err != nil || err2 != nil || last.Pos < first.Pos {
		return 0
	}
	bytes := 0
	for i := range groups {
		bytes += len(groups[i].payload)
	}
	return int(min(last.Pos-first.Pos, uint64(bytes)))
}

// stepReader takes payloads apart. Its room is used again for each step.
type stepReader struct {
	g       *batch
	w       format.StepWrite
	writes  []engine.Write
	numbers []uint64
	pos     []uint64
	events  []engine.Event
	snaps   []engine.Snapshot
	drops   []uint64
}

func (p *stepReader) group(payload []byte) error {
	var head format.GroupHeader
	rest, err := head.Cut(payload)
	if err != nil {
		return err
	}
	if want := (fileCounters{head.Number, head.Pos, head.Machines}); p.g.counters != want {
		return fmt.Errorf("it was appended at %+v, not at %+v", want, p.g.counters)
	}
	for len(rest) > 0 {
		n, tail, err := format.CutStepLen(rest)
		if err != nil {
			return err
		}
		if rest, err = p.step(n, tail); err != nil {
			return err
		}
	}
	return nil
}

func (p *stepReader) step(n int, rest []byte) ([]byte, error) {
	p.writes, p.numbers, p.pos = p.writes[:0], p.numbers[:0], p.pos[:0]
	p.events, p.snaps, p.drops = p.events[:0], p.snaps[:0], p.drops[:0]
	for range n {
		var b []byte
		var err error
		if b, rest, err = format.CutWrite(rest); err != nil {
			return nil, err
		}
		if err := p.w.Parse(b); err != nil {
			return nil, err
		}
		p.write()
	}
	s := engine.Step{Writes: p.writes}
	if err := p.g.take(&s); err != nil {
		return nil, err
	}
	for i, pos := range p.g.positions(&s) {
		if m := p.g.owners[i]; pos != p.pos[i] || m.head.number != p.numbers[i] {
			return nil, fmt.Errorf("machine %q gets number %d and position %d, not %d and %d", m.key, m.head.number, pos, p.numbers[i], p.pos[i])
		}
	}
	return rest, nil
}

// write turns the write parsed last into the engine's. Its bytes are borrowed
// from the payload.
func (p *stepReader) write() {
	w := &p.w
	m := p.g.machines[string(w.Machine)]
	if m == nil {
		m = p.g.machine(string(w.Machine))
		p.g.adoptHead(m, w)
	}
	events, snaps, drops := len(p.events), len(p.snaps), len(p.drops)
	for _, ev := range w.Events {
		p.events = append(p.events, engine.Event{Bytes: ev.Bytes, Terms: engine.Terms{Time: ev.Time}})
	}
	for _, s := range w.Snaps {
		p.snaps = append(p.snaps, engine.Snapshot{Seq: s.Seq, Bytes: s.Bytes})
	}
	p.drops = append(p.drops, w.Drop...)
	ew := engine.Write{Machine: m.key, Kind: w.Kind, Schema: w.Schema, Expect: w.Expect, Seq: w.Seq, Head: w.Head,
		Events: p.events[events:], Snapshots: p.snaps[snaps:], Drop: p.drops[drops:]}
	copy(ew.Token[:], w.Token)
	p.writes = append(p.writes, ew)
	p.numbers, p.pos = append(p.numbers, w.Number), append(p.pos, w.Pos)
}

// adoptHead puts a machine whose head in the file is damaged where the ring says it
// was: a head was right when the write was taken, and this write replaces it.
func (g *batch) adoptHead(m *machineState, w *format.StepWrite) {
	damaged := m.refuse == nil && m.lost || m.refuse != nil && !errors.Is(m.refuse, format.ErrNewer)
	if !damaged || w.Expect == 0 {
		return
	}
	g.e.opt.logger.Warn("a damaged head is replaced by the journal's", "file", g.e.path, "machine", m.key)
	m.head = storedHead{number: w.Number, seq: w.Expect, pos: w.Pos - (w.Seq - w.Expect), trims: rand.Uint32(), edits: rand.Uint32()}
	m.before, m.lost, m.refuse = m.head, false, nil
}
