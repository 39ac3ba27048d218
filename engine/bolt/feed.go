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
// page by page: a page is copied from the buckets in one short transaction, or is
// taken from groups of the journal, and is delivered outside of the transaction.
// Each page is of one moment.
//
// Like every reader it takes the journal's groups first and starts its transaction
// afterwards (R10): a group that is checkpointed in between is in the buckets then,
// and the last position in the buckets is where the journal's records continue.
type positionCursor struct {
	e      *Engine
	newest bool
	at     uint64       // all positions up to it are read; with newest, all from it on
	end    uint64       // the last position wanted, in the cursor's direction
	filter *queryFilter // nil = all records
	done   bool

	index indexWindow
	page  feedPage

	joiner format.Joiner
	blocks blockReader
	write  format.StepWrite
}

// indexWindow holds the entries of the index page at which a cursor is, or entries
// that were collected from the events because there is no such page.
type indexWindow struct {
	covers   indexPageKey // positions; last is 0 before the first page
	entries  []format.IndexEntry
	machines map[uint64]string // keys by machine number, of entries that were collected
	collect  bool              // the entries for covers have to be collected
	summary  format.PageSummary
}

// feedPage holds the records that are delivered next.
type feedPage struct {
	limit   int // largest number of records
	records []feedRecord
	buf     []byte // events copied from the buckets
	order   []int  // indexes of records, by machine number and seq
}

// feedRecord is a record of a page.
type feedRecord struct {
	entry    format.IndexEntry
	machine  string
	from, to int    // of the event in the page's buf
	bytes    []byte // of an event in the journal
	err      error
	gone     bool // its machine was purged
}

// maxFeedPage is the largest number of records of a page.
const maxFeedPage = 512

// newFeed returns a cursor that reads all records after a position.
func newFeed(e *Engine, after uint64) *positionCursor {
	return &positionCursor{e: e, at: after, end: engine.All, page: feedPage{limit: maxFeedPage}, blocks: blockReader{limit: e.opt.maxValue()}}
}

// feed is [Engine.Feed].
func (t *positionCursor) feed(ctx context.Context, fn func(engine.Record) error) (uint64, error) {
	after := t.at
	for !t.done {
		if err := t.next(ctx); err != nil {
			return after, err
		}
		for i := range t.page.records {
			if err := ctx.Err(); err != nil {
				return after, err
			}
			r, ok := t.page.record(i)
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

// record returns record i; ok is false if its machine was purged.
func (p *feedPage) record(i int) (r engine.Record, ok bool) {
	f := &p.records[i]
	r = engine.Record{Machine: f.machine, Seq: f.entry.Seq, Pos: f.entry.Pos, Bytes: f.bytes, Err: f.err}
	if r.Bytes == nil && r.Err == nil {
		r.Bytes = p.buf[f.from:f.to:f.to]
	}
	return r, !f.gone
}

// next reads a page, which may be empty.
func (t *positionCursor) next(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.page.records, t.page.buf = t.page.records[:0], t.page.buf[:0]
	if t.index.collect {
		if err := t.collectIndex(ctx); err != nil {
			return err
		}
	}
	var groups []journalEntry
	if t.newest {
		groups = t.e.memtable.entriesBefore(t.at, entriesAtOnce)
	} else {
		groups = t.e.memtable.entriesAfter(t.at, entriesAtOnce)
	}
	inJournal, last := false, uint64(0)
	err := t.e.view(func(tx *txn) (err error) {
		if last, err = t.lastInBuckets(tx, groups); err != nil {
			return err
		}
		if inJournal = t.isPast(last); inJournal {
			return nil
		}
		return t.fromBuckets(tx, last)
	})
	if err != nil || !inJournal {
		return err
	}
	return t.fromMemtable(groups, last)
}

// collectIndex finds the entries of the index window in the events themselves. It
// starts at the cursor, since positions that are read already must not take up
// part of the entries that are collected at once.
func (t *positionCursor) collectIndex(ctx context.Context) error {
	within := t.index.covers
	if t.newest {
		within.last = t.at - 1
	} else {
		within.first = t.at + 1
	}
	found, err := collectPositions(ctx, t.e, within, t.newest)
	if err != nil {
		return err
	}
	t.index.covers, t.index.entries, t.index.machines, t.index.collect = found.within, found.entries, found.machines, false
	return nil
}

// lastInBuckets returns the last position that the buckets hold.
func (t *positionCursor) lastInBuckets(tx *txn, groups []journalEntry) (uint64, error) {
	c, err := parseCounters(tx.counters.get(countersLast))
	switch {
	case err == nil:
		return c.pos, nil
	case !t.e.opt.readOnly:
		return 0, err
	case len(groups) == 0: // damaged in the file, rebuilt in memory
		return t.e.counters.pos, nil
	}
	var head format.GroupHeader
	_, err = head.Cut(groups[0].payload)
	return head.Pos, err
}

// isPast reports whether the next position is after last, the last one in the
// buckets: then it is in the journal, if it exists.
func (t *positionCursor) isPast(last uint64) bool {
	if t.newest {
		return t.at-1 > last
	}
	return t.at >= last
}

// isRead reports whether pos was read already.
func (t *positionCursor) isRead(pos uint64) bool {
	if t.newest {
		return pos >= t.at
	}
	return pos <= t.at
}

// isBeyondEnd reports whether pos and all later ones are not wanted.
func (t *positionCursor) isBeyondEnd(pos uint64) bool {
	if t.newest {
		return pos < t.end || pos == 0
	}
	return pos > t.end
}

// fromBuckets makes a page of the records in the buckets, up to position last.
func (t *positionCursor) fromBuckets(tx *txn, last uint64) error {
	for work := 0; work < pagesAtOnce; work++ {
		pos := t.at + 1
		if t.newest {
			pos = t.at - 1
		}
		if t.isBeyondEnd(pos) {
			t.done = true
			return nil
		}
		if !t.index.has(pos) {
			if t.readIndex(tx, pos, last); t.index.collect {
				return nil
			}
			if len(t.index.entries) > 0 {
				work += readingCosts
			}
		}
		at := t.at
		if t.choose(); len(t.page.records) > 0 {
			if err := t.load(tx); err != nil {
				t.e.opt.logger.Warn("the entry of a machine number is damaged: reading from the heads", "file", t.e.path, "error", err)
				t.page.records, t.at, t.index.collect = t.page.records[:0], at, true
			}
			return nil
		}
		if t.isPast(last) {
			return nil
		}
	}
	return nil
}

// The work of one transaction that finds no record: it skips at most pagesAtOnce
// index pages. Reading one counts as readingCosts more than skipping one.
const (
	pagesAtOnce  = 256
	readingCosts = 15
)

func (w *indexWindow) has(pos uint64) bool {
	return w.covers.last > 0 && w.covers.first <= pos && pos <= w.covers.last
}

// readIndex reads the index page that covers pos, unless its summary shows that
// nothing in it matches. If there is no good one, the entries have to be collected.
func (t *positionCursor) readIndex(tx *txn, pos, last uint64) {
	w := &t.index
	var there bool
	w.covers, there = tx.indexPageAt(pos, last)
	w.entries, w.machines = w.entries[:0], nil
	if !there {
		w.collect = true
		return
	}
	if t.filter != nil {
		ok, err := tx.readSummary(w.covers, &t.joiner, &w.summary)
		if ok && !t.filter.matchesSummary(&w.summary) {
			return
		}
		if err != nil {
			t.e.opt.logger.Debug("a page summary is missing or damaged: reading the index page", "file", t.e.path, "error", err)
		}
	}
	var err error
	if w.entries, err = tx.readIndexPage(w.covers, &t.joiner, w.entries); err != nil {
		t.e.opt.logger.Warn("an index page is damaged: reading the order of records from the events", "file", t.e.path, "error", err)
		w.collect = true
	}
}

// choose takes the next matching entries of the index window into the page, and
// moves t.at past them.
func (t *positionCursor) choose() {
	entries, page := t.index.entries, &t.page
	at := t.index.covers.last
	if t.newest {
		at = t.index.covers.first
	}
	for i := range entries {
		p := &entries[i]
		if t.newest {
			p = &entries[len(entries)-1-i]
		}
		if t.isRead(p.Pos) {
			continue
		}
		if t.isBeyondEnd(p.Pos) {
			break
		}
		if t.filter != nil && !t.filter.matchesEntry(p) {
			continue
		}
		if len(page.records) == page.limit {
			at = page.lastPos()
			break
		}
		page.records = append(page.records, feedRecord{entry: *p})
	}
	t.at = at
}

func (p *feedPage) lastPos() uint64 { return p.records[len(p.records)-1].entry.Pos }

// load copies the events of the page. As long as they are too large for one
// transaction, it halves the page.
func (t *positionCursor) load(tx *txn) error {
	page := &t.page
	for {
		fits, err := t.loadAll(tx)
		if err != nil || fits {
			return err
		}
		page.limit = max(1, len(page.records)/2)
		page.records = page.records[:page.limit]
		t.at = page.lastPos()
	}
}

// loadAll copies the events of the page in the order in which they are stored;
// fits is false if they are too large.
func (t *positionCursor) loadAll(tx *txn) (fits bool, err error) {
	page := &t.page
	page.sort()
	page.buf = page.buf[:0]
	var number uint64
	var machine string
	r := feedBlockReader{t: t, tx: tx}
	for _, i := range page.order {
		f := &page.records[i]
		if f.entry.Number != number {
			number = f.entry.Number
			if machine, err = t.machineOf(tx, number); err != nil {
				return false, err
			}
		}
		*f = feedRecord{entry: f.entry, machine: machine, gone: machine == ""}
		if f.gone {
			continue
		}
		if r.read(f); len(page.buf) >= t.e.opt.readBytes && len(page.records) > 1 {
			return false, nil
		}
	}
	return true, nil
}

// sort sets the page's order.
func (p *feedPage) sort() {
	p.order = p.order[:0]
	for i := range p.records {
		p.order = append(p.order, i)
	}
	slices.SortFunc(p.order, func(a, b int) int {
		x, y := &p.records[a].entry, &p.records[b].entry
		return cmp.Or(cmp.Compare(x.Number, y.Number), cmp.Compare(x.Seq, y.Seq))
	})
}

// machineOf returns the key of a machine number, "" if the machine was purged.
func (t *positionCursor) machineOf(tx *txn, number uint64) (string, error) {
	if t.index.machines != nil {
		return t.index.machines[number], nil
	}
	return tx.machineOf(number)
}

// feedBlockReader copies events, called in the order of machine number and seq, so
// that it reads each block once.
type feedBlockReader struct {
	t       *positionCursor
	tx      *txn
	number  uint64
	first   uint64
	entries []format.Entry
	err     error // of reading the block
}

// read copies the event of f into the page, or sets f.err.
func (r *feedBlockReader) read(f *feedRecord) {
	number, seq := f.entry.Number, f.entry.Seq
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
	if !ok || r.entries[i].Pos != f.entry.Pos {
		f.err, f.gone = engine.ErrTrimmed, r.purged(f)
		return
	}
	page := &r.t.page
	f.from = len(page.buf)
	page.buf = append(page.buf, r.entries[i].Bytes...)
	f.to = len(page.buf)
}

// find reads the block that may hold seq, and reports whether there is one.
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
	b, r.err = r.t.blocks.read(r.tx, number, first)
	if r.err == nil {
		for e, ok := b.Next(); ok; e, ok = b.Next() {
			r.entries = append(r.entries, e)
		}
	}
	return true
}

// purged reports whether the machine was purged after the record was stored: it has
// another number now, or does not exist. If its head is damaged, this is not known,
// and the record counts as trimmed.
func (r *feedBlockReader) purged(f *feedRecord) bool {
	h, err := parseHead(r.tx.machines.get([]byte(f.machine)), []byte(f.machine), r.t.e.opt.maxValue())
	return err == nil && h.number != f.entry.Number
}

// entriesAtOnce is the largest number of groups of the journal in one page.
const entriesAtOnce = 64

// fromMemtable makes a page of groups that are in the journal only, which come
// oldest first. Without any, the cursor continues in the buckets, or is at its end.
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
		slices.Reverse(t.page.records)
		return nil
	}
	t.done = t.at == before // the groups may hold nothing new
	return nil
}

// memtableWrite takes the matching events of one write into the page.
func (t *positionCursor) memtableWrite(b []byte) error {
	if err := t.write.Parse(b); err != nil {
		return err
	}
	w := &t.write
	machine := ""
	for i := range w.Events {
		back := uint64(len(w.Events) - 1 - i)
		p := format.IndexEntry{Pos: w.Pos - back, Number: w.Number, Seq: w.Seq - back, Time: w.Events[i].Time}
		if t.isRead(p.Pos) || t.isBeyondEnd(p.Pos) {
			continue
		}
		if t.filter != nil && !t.filter.matchesEvent(w.Kind, p.Time, w.Events[i].Bytes) {
			continue
		}
		if machine == "" {
			machine = string(w.Machine)
		}
		t.page.records = append(t.page.records, feedRecord{entry: p, machine: machine, bytes: w.Events[i].Bytes})
	}
	if !t.newest {
		t.at = max(t.at, w.Pos)
	}
	return nil
}
