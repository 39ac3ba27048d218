package bolt

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// positionRebuild finds index entries in the events themselves, for positions that
// no index page covers: the file is older than index pages, or a page is lost or
// damaged. It reads all blocks, in short transactions, and keeps a bounded number of
// entries, those with the lowest positions, or with newest the highest.
type positionRebuild struct {
	e        *Engine
	within   indexPageKey // the positions that entries cover
	newest   bool
	machines map[uint64]string // keys by machine number
	entries  []format.IndexEntry
	blocks   blockReader
}

// collectPositions finds the entries from within.first to within.last. If there are
// more than the option gathered, it finds the first of them, or the newest, and
// reduces within accordingly.
func collectPositions(ctx context.Context, e *Engine, within indexPageKey, newest bool) (*positionRebuild, error) {
	r := &positionRebuild{e: e, within: within, newest: newest, machines: map[uint64]string{}, blocks: blockReader{limit: e.opt.maxValue()}}
	err := e.Scan(ctx, "", "", 0, func(machine string, h engine.Head) error {
		r.machines[h.Number] = machine // the number of a damaged head is 0, which no block has
		return nil
	})
	for from := []byte{0}; err == nil && from != nil; {
		if err = ctx.Err(); err == nil {
			err = e.view(func(tx *txn) error { from = r.round(tx, from); return nil })
		}
	}
	if err != nil {
		return nil, err
	}
	r.keep()
	return r, nil
}

// round reads blocks up to the option readBytes, and returns the key from which to
// continue, nil at the end. It skips damaged blocks, which Load reports.
func (r *positionRebuild) round(tx *txn, from []byte) []byte {
	read := 0
	cur := tx.events.cursor()
	for k, v := cur.seek(from); k != nil; k, v = cur.next() {
		number, seq, piece, ok := splitValueKey(k)
		if !ok || piece > 0 {
			continue
		}
		if read >= r.e.opt.readBytes {
			return append([]byte(nil), k...)
		}
		read += len(v)
		r.block(tx, number, seq)
	}
	return nil
}

func (r *positionRebuild) block(tx *txn, number, seq uint64) {
	b, err := r.blocks.read(tx, number, seq)
	if err != nil || b.LastPos < r.within.first || b.FirstPos > r.within.last {
		return
	}
	for ev, ok := b.Next(); ok; ev, ok = b.Next() {
		if ev.Pos >= r.within.first && ev.Pos <= r.within.last {
			r.entries = append(r.entries, format.IndexEntry{Pos: ev.Pos, Number: number, Seq: ev.Seq, Time: ev.Time, Terms: hashesOf(b.header.Kind, ev.Bytes)})
		}
	}
	if len(r.entries) > 2*r.e.opt.gathered {
		r.keep()
	}
}

// keep sorts the entries and removes those above the largest number.
func (r *positionRebuild) keep() {
	slices.SortFunc(r.entries, func(a, b format.IndexEntry) int { return cmp.Compare(a.Pos, b.Pos) })
	limit := r.e.opt.gathered
	over := len(r.entries) - limit
	switch {
	case over <= 0:
	case r.newest:
		r.entries = slices.Delete(r.entries, 0, over)
		r.within.first = r.entries[0].Pos
	default:
		r.entries = r.entries[:limit]
		r.within.last = r.entries[limit-1].Pos
	}
}

// repairIndex stores the index pages and summaries that are missing. It runs before
// any write is accepted; after a crash the next opening continues. If the disk is
// full, positions without an index page remain, and readers collect their entries
// from the events.
func (o *opening) repairIndex() error {
	r := indexRepair{e: o.e}
	last := r.e.counters.pos
	for at := uint64(1); at <= last; {
		covered, err := r.repairAt(at, last)
		if errors.Is(err, engine.ErrDiskFull) {
			r.e.opt.logger.Warn("the disk is too full to store the order of records: reading in that order is slow", "file", r.e.path, "error", err)
			return nil
		}
		if err != nil {
			return err
		}
		if covered.last == engine.All {
			return nil
		}
		at = covered.last + 1
	}
	return nil
}

// indexRepair stores missing index pages, summaries and machine numbers.
type indexRepair struct {
	e       *Engine
	numbers bool // the machine numbers are stored
}

// repairAt makes sure that a page with a summary covers the position at, and
// returns the range of that page.
func (r *indexRepair) repairAt(at, last uint64) (covered indexPageKey, err error) {
	var there bool
	summarized := true
	err = r.e.view(func(tx *txn) error {
		if covered, there = tx.indexPageAt(at, last); there && covered.size() >= minSummarized {
			k, _ := tx.indexes.cursor().seek(appendValueKey(nil, covered.first, covered.last))
			have, ok := parseIndexPageKey(k)
			summarized = ok && have == covered
		}
		return nil
	})
	switch {
	case err != nil:
		return covered, err
	case !there:
		return r.storePage(covered)
	case !summarized:
		return covered, r.storeSummary(covered)
	}
	return covered, nil
}

// storePage stores the entries that it finds for a gap, and returns the range that
// they cover.
func (r *indexRepair) storePage(gap indexPageKey) (indexPageKey, error) {
	if !r.numbers {
		r.e.opt.logger.Info("an index page is missing: storing the order of records", "file", r.e.path, "from", gap.first, "to", gap.last)
		if err := r.storeNumbers(); err != nil {
			return gap, err
		}
		r.numbers = true
	}
	found, err := collectPositions(context.Background(), r.e, gap, false)
	if err != nil {
		return gap, err
	}
	covered := found.within
	return covered, r.update(func(tx *txn, b *batch) error {
		for { // summaries of pages that are lost
			k, _ := tx.indexes.cursor().seek(appendValueKey(nil, covered.first, 0))
			s, ok := parseIndexPageKey(k)
			if !ok || s.first > covered.last {
				break
			}
			if err := b.index.removePage(s); err != nil {
				return err
			}
		}
		return b.index.putPages(covered.first, covered.last, found.entries)
	})
}

// storeSummary stores a page again with its summary. A damaged page stays without one.
func (r *indexRepair) storeSummary(s indexPageKey) error {
	return r.update(func(tx *txn, b *batch) error {
		entries, err := tx.readIndexPage(s, &b.index.joiner, nil)
		if err != nil {
			return nil
		}
		return errors.Join(b.index.removePage(s), b.index.putPages(s.first, s.last, entries))
	})
}

// storeNumbers stores the keys of all machines under their numbers.
func (r *indexRepair) storeNumbers() error {
	const atOnce = 10_000
	for after := ""; ; {
		var keys []string
		var numbers []uint64
		err := r.e.Scan(context.Background(), "", after, atOnce, func(machine string, h engine.Head) error {
			keys, numbers = append(keys, machine), append(numbers, h.Number)
			return nil
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		err = r.update(func(_ *txn, b *batch) error {
			for i, key := range keys {
				if numbers[i] == 0 { // its head is damaged
					continue
				}
				if err := b.buckets.putNumber(numbers[i], key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		after = keys[len(keys)-1]
	}
}

// update runs fn in a write transaction with the engine's batch, whose ledger it
// does not use.
func (r *indexRepair) update(fn func(tx *txn, b *batch) error) error {
	b := &r.e.batch
	defer b.end()
	return r.e.update(func(tx *txn) error {
		b.begin(tx, r.e.counters)
		return fn(tx, b)
	})
}
