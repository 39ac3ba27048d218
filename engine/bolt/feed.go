package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// positionCursor reads records in the order of their positions, in one direction,
// page by page: a page is copied out in one short transaction, or comes from
// groups of the ring, and is delivered outside of it. Each page is of one moment.
//
// Like every reader it takes the groups of the ring first and begins its
// transaction then (R10): what was folded in between the transaction has, and
// the position up to which it has everything says where the ring goes on.
type positionCursor struct {
	e      *Engine
	newest bool
	at     uint64       // all up to it is done; newest first: all from it on
	end    uint64       // the last position wanted, in the trail's direction
	filter *queryFilter // nil = all

	page      indexPageKey // that places were read from; last 0 = none
	entries   []format.IndexEntry
	machines  map[uint64]string // of a stretch gathered from the events
	collect   bool              // the stretch has to be gathered
	summaries format.PageSummary

	most    int // records of a page
	records []feedRecord
	buf     []byte
	wanted  []int // of page, by machine and seq
	joiner  format.Joiner
	scratch []byte
	write   format.StepWrite
	done    bool
}

// feedRecord is a record of a page.
type feedRecord struct {
	place    format.IndexEntry
	machine  string
	from, to int    // in buf
	bytes    []byte // of a record of the ring
	err      error
	gone     bool
}

const feedPage = 512

var _ engine.Feeder = (*Engine)(nil)

// Feed reads pages until there is nothing behind the last one.
func (e *Engine) Feed(ctx context.Context, after uint64, fn func(engine.Record) error) (uint64, error) {
	t := positionCursor{e: e, at: after, end: engine.All, most: feedPage}
	for !t.done {
		if err := t.next(ctx); err != nil {
			return after, err
		}
		for i := range t.records {
			if err := ctx.Err(); err != nil {
				return after, err
			}
			r, ok := t.record(i)
			if !ok {
				continue
			}
			err := fn(r)
			if err == nil || errors.Is(err, engine.Stop) {
				after = r.Pos
			}
			if errors.Is(err, engine.Stop) {
				return after, nil
			}
			if err != nil {
				return after, err
			}
		}
		after = max(after, t.at)
	}
	return after, nil
}

// record is one of the page; ok is false where there is none any more.
func (t *positionCursor) record(i int) (r engine.Record, ok bool) {
	f := &t.records[i]
	r = engine.Record{Machine: f.machine, Seq: f.place.Seq, Pos: f.place.Pos, Bytes: f.bytes, Err: f.err}
	if r.Bytes == nil && r.Err == nil {
		r.Bytes = t.buf[f.from:f.to:f.to]
	}
	return r, !f.gone
}

// next reads a page, which may be empty.
func (t *positionCursor) next(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.records, t.buf = t.records[:0], t.buf[:0]
	if t.collect {
		if t.newest { // what is done would come again where there is more than is gathered at once
			t.page.last = t.at - 1
		} else {
			t.page.first = t.at + 1
		}
		g, err := t.e.collectPositions(ctx, t.page, t.newest)
		if err != nil {
			return err
		}
		t.page, t.entries, t.machines, t.collect = g.within, g.entries, g.machines, false
	}
	var groups []journalEntry
	if t.newest {
		groups = t.e.memtable.groupsBefore(t.at, entriesAtOnce)
	} else {
		groups = t.e.memtable.groupsAfter(t.at, entriesAtOnce)
	}
	ring, last := false, uint64(0)
	err := t.e.view(func(tx *txn) (err error) {
		if last, err = t.e.stored(tx, groups); err != nil {
			return err
		}
		if ring = t.beyond(last); ring {
			return nil
		}
		return t.fromFile(tx, last)
	})
	if err != nil || !ring {
		return err
	}
	return t.fromMemtable(groups, last)
}

// stored is the last position that the buckets have.
func (e *Engine) stored(tx *txn, groups []journalEntry) (uint64, error) {
	c, err := parseCounters(tx.counters.get(countersLast))
	switch {
	case err == nil:
		return c.pos, nil
	case !e.opt.readOnly:
		return 0, err
	case len(groups) == 0: // rebuilt at open
		return e.counters.pos, nil
	}
	var head format.GroupHeader
	_, err = head.Cut(groups[0].payload)
	return head.Pos, err
}

// beyond tells whether what comes next is in the ring, if anywhere.
func (t *positionCursor) beyond(last uint64) bool {
	if t.newest {
		return t.at-1 > last
	}
	return t.at >= last
}

// fromFile makes a page of what the buckets have up to last.
func (t *positionCursor) fromFile(tx *txn, last uint64) error {
	for work := 0; work < pagesAtOnce; work++ {
		pos := t.at + 1
		if t.newest {
			pos = t.at - 1
		}
		if t.passed(pos) {
			t.done = true
			return nil
		}
		if !t.has(pos) {
			if t.find(tx, pos, last); t.collect {
				return nil
			}
			if len(t.entries) > 0 {
				work += readingCosts
			}
		}
		at := t.at
		if t.choose(); len(t.records) > 0 {
			if err := t.load(tx); err != nil {
				t.e.opt.logger.Warn("whose a machine number is, is damaged: read from the heads", "file", t.e.path, "error", err)
				t.records, t.at, t.collect = t.records[:0], at, true
			}
			return nil
		}
		if t.beyond(last) {
			return nil
		}
	}
	return nil
}

// A transaction that finds nothing passes over so many stretches, or reads fewer.
const (
	pagesAtOnce  = 256
	readingCosts = 15
)

// passed tells whether pos is not wanted any more.
func (t *positionCursor) passed(pos uint64) bool {
	if t.newest {
		return pos < t.end || pos == 0
	}
	return pos > t.end
}

func (t *positionCursor) has(pos uint64) bool {
	return t.page.last > 0 && t.page.first <= pos && pos <= t.page.last
}

// find reads the stretch that has pos, or asks for it to be gathered.
func (t *positionCursor) find(tx *txn, pos, last uint64) {
	var there bool
	t.page, there = tx.indexPageAt(pos, last)
	t.entries, t.machines = t.entries[:0], nil
	if there {
		if t.filter != nil {
			ok, err := tx.readSummary(t.page, &t.joiner, &t.summaries)
			if ok && !t.filter.matchesSummary(&t.summaries) {
				return
			}
			if err != nil {
				t.e.opt.logger.Debug("an index is missing or damaged: the records are read", "file", t.e.path, "error", err)
			}
		}
		var err error
		if t.entries, err = tx.readIndexPage(t.page, &t.joiner, t.entries); err == nil {
			return
		}
		t.e.opt.logger.Warn("the order of records is damaged: read from the events", "file", t.e.path, "error", err)
	}
	t.collect = true
}

// choose takes the next places of the stretch into the page, and t.at behind
// them.
func (t *positionCursor) choose() {
	at := t.page.last
	if t.newest {
		at = t.page.first
	}
	for i := range t.entries {
		p := &t.entries[i]
		if t.newest {
			p = &t.entries[len(t.entries)-1-i]
		}
		if t.newest && p.Pos >= t.at || !t.newest && p.Pos <= t.at {
			continue
		}
		if t.passed(p.Pos) {
			break
		}
		if t.filter != nil && !t.filter.matchesEntry(p) {
			continue
		}
		if len(t.records) == t.most {
			at = t.records[t.most-1].place.Pos
			break
		}
		t.records = append(t.records, feedRecord{place: *p})
	}
	t.at = at
}

// load copies the events of the page. A page that is too large becomes a
// smaller one.
func (t *positionCursor) load(tx *txn) error {
	for {
		fits, err := t.loadAll(tx)
		if err != nil || fits {
			return err
		}
		t.most = max(1, len(t.records)/2)
		t.records = t.records[:t.most]
		t.at = t.records[t.most-1].place.Pos
	}
}

func (t *positionCursor) loadAll(tx *txn) (fits bool, err error) {
	t.wanted, t.buf = t.wanted[:0], t.buf[:0]
	for i := range t.records {
		t.wanted = append(t.wanted, i)
	}
	slices.SortFunc(t.wanted, func(a, b int) int {
		p, q := &t.records[a].place, &t.records[b].place
		return cmp.Or(cmp.Compare(p.Number, q.Number), cmp.Compare(p.Seq, q.Seq))
	})
	var number uint64
	var machine string
	r := feedBlockReader{t: t, tx: tx}
	for _, i := range t.wanted {
		f := &t.records[i]
		if f.place.Number != number {
			number = f.place.Number
			if machine, err = t.machineOf(tx, number); err != nil {
				return false, err
			}
		}
		*f = feedRecord{place: f.place, machine: machine, gone: machine == ""}
		if f.gone {
			continue
		}
		if r.read(f); len(t.buf) >= t.e.opt.readBytes && len(t.records) > 1 {
			return false, nil
		}
	}
	return true, nil
}

func (t *positionCursor) machineOf(tx *txn, number uint64) (string, error) {
	if t.machines != nil {
		return t.machines[number], nil
	}
	return tx.machineOf(number)
}

// feedBlockReader reads events that come sorted by machine and seq, each block
// once.
type feedBlockReader struct {
	t       *positionCursor
	tx      *txn
	number  uint64
	first   uint64
	entries []format.Entry
	err     error // of the block
}

// read copies one event, or says why there is none.
func (r *feedBlockReader) read(f *feedRecord) {
	number, seq := f.place.Number, f.place.Seq
	if n := len(r.entries); r.number != number || n == 0 || seq > r.entries[n-1].Seq {
		if !r.find(number, seq) {
			f.err, f.gone = engine.ErrTrimmed, r.purged(f)
			return
		}
	}
	if r.err != nil {
		f.err = &engine.Damage{Machine: f.machine, Part: "event", Seq: seq, Why: r.err}
		return
	}
	i, ok := slices.BinarySearchFunc(r.entries, seq, func(e format.Entry, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	if !ok || r.entries[i].Pos != f.place.Pos {
		f.err, f.gone = engine.ErrTrimmed, r.purged(f)
		return
	}
	f.from = len(r.t.buf)
	r.t.buf = append(r.t.buf, r.entries[i].Bytes...)
	f.to = len(r.t.buf)
}

// find reads the block that has seq, if one has.
func (r *feedBlockReader) find(number, seq uint64) bool {
	k, _ := r.tx.events.cursor().before(appendValueAfter(nil, number, seq))
	n, first, _, ok := splitValueKey(k)
	if !ok || n != number {
		return false
	}
	if r.number == number && r.first == first && r.err == nil {
		return true
	}
	r.number, r.first, r.entries, r.err = number, first, r.entries[:0], nil
	var b wholeBlock
	b, r.t.scratch, r.err = readBlock(r.tx, &r.t.joiner, r.t.scratch, number, first, r.t.e.opt.maxStep+valueSlack)
	if r.err == nil {
		for e, ok := b.Next(); ok; e, ok = b.Next() {
			r.entries = append(r.entries, e)
		}
	}
	return true
}

// purged tells whether the machine is another one now, or gone.
func (r *feedBlockReader) purged(f *feedRecord) bool {
	h, err := parseHead(r.tx.machines.get([]byte(f.machine)), []byte(f.machine), r.t.e.opt.maxStep+valueSlack)
	return err == nil && h.number != f.place.Number
}

// entriesAtOnce is how many groups of the ring make a page at most.
const entriesAtOnce = 64

// fromMemtable makes a page of groups that are in the ring only, the oldest first.
// Without any the trail goes on in the buckets, or is at its end.
func (t *positionCursor) fromMemtable(groups []journalEntry, last uint64) error {
	before, lowest := t.at, last
	for i, g := range groups {
		var head format.GroupHeader
		rest, err := head.Cut(g.payload)
		if i == 0 {
			lowest = head.Pos
		}
		for err == nil && len(rest) > 0 {
			var writes int
			for writes, rest, err = format.CutStepLen(rest); err == nil && writes > 0; writes-- {
				var b []byte
				if b, rest, err = format.CutWrite(rest); err == nil {
					err = t.memtableWrite(b)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("%w: record %d of the journal: %w", engine.ErrCorrupt, g.lsn, err)
		}
	}
	if t.newest {
		t.at = lowest + 1
		slices.Reverse(t.records)
		return nil
	}
	t.done = t.at == before // the newest group may be one that was read
	return nil
}

// memtableWrite takes the wanted events of one write into the page.
func (t *positionCursor) memtableWrite(b []byte) error {
	if err := t.write.Parse(b); err != nil {
		return err
	}
	w := &t.write
	machine := ""
	for i := range w.Events {
		back := uint64(len(w.Events) - 1 - i)
		p := format.IndexEntry{Pos: w.Pos - back, Number: w.Number, Seq: w.Seq - back, Time: w.Events[i].Time}
		if t.newest && p.Pos >= t.at || !t.newest && p.Pos <= t.at || t.passed(p.Pos) {
			continue
		}
		if t.filter != nil && !t.filter.matchesEvent(w.Kind, p.Time, w.Events[i].Bytes) {
			continue
		}
		if machine == "" {
			machine = string(w.Machine)
		}
		t.records = append(t.records, feedRecord{place: p, machine: machine, bytes: w.Events[i].Bytes})
	}
	if !t.newest {
		t.at = max(t.at, w.Pos)
	}
	return nil
}
