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
	joiner   format.Joiner
	scratch  []byte
}

// collectPositions finds the entries from within.first to within.last. If there are
// more than the option gathered, it finds the first of them, or the newest, and
// reduces within accordingly.
func (e *Engine) collectPositions(ctx context.Context, within indexPageKey, newest bool) (*positionRebuild, error) {
	g := &positionRebuild{e: e, within: within, newest: newest, machines: map[uint64]string{}}
	err := e.Scan(ctx, "", "", 0, func(machine string, h engine.Head) error {
		g.machines[h.Number] = machine // the number of a damaged head is 0, which no block has
		return nil
	})
	for from := []byte{0}; err == nil && from != nil; {
		if err = ctx.Err(); err == nil {
			err = e.view(func(tx *txn) error { from = g.round(tx, from); return nil })
		}
	}
	if err != nil {
		return nil, err
	}
	g.keep()
	return g, nil
}

// round reads blocks up to the option readBytes, and returns the key from which to
// continue, nil at the end. It skips damaged blocks, which Load reports.
func (g *positionRebuild) round(tx *txn, from []byte) []byte {
	read := 0
	cur := tx.events.cursor()
	for k, v := cur.seek(from); k != nil; k, v = cur.next() {
		number, seq, piece, ok := splitValueKey(k)
		if !ok || piece > 0 {
			continue
		}
		if read >= g.e.opt.readBytes {
			return append([]byte(nil), k...)
		}
		read += len(v)
		g.block(tx, number, seq)
	}
	return nil
}

func (g *positionRebuild) block(tx *txn, number, seq uint64) {
	b, scratch, err := readBlock(tx, &g.joiner, g.scratch, number, seq, g.e.opt.maxStep+valueSlack)
	g.scratch = scratch
	if err != nil || b.LastPos < g.within.first || b.FirstPos > g.within.last {
		return
	}
	for ev, ok := b.Next(); ok; ev, ok = b.Next() {
		if ev.Pos >= g.within.first && ev.Pos <= g.within.last {
			g.entries = append(g.entries, format.IndexEntry{Pos: ev.Pos, Number: number, Seq: ev.Seq, Time: ev.Time, Terms: hashesOf(b.header.Kind, ev.Bytes)})
		}
	}
	if len(g.entries) > 2*g.e.opt.gathered {
		g.keep()
	}
}

// keep sorts the entries and removes those above the largest number.
func (g *positionRebuild) keep() {
	slices.SortFunc(g.entries, func(a, b format.IndexEntry) int { return cmp.Compare(a.Pos, b.Pos) })
	limit := g.e.opt.gathered
	over := len(g.entries) - limit
	switch {
	case over <= 0:
	case g.newest:
		g.entries = slices.Delete(g.entries, 0, over)
		g.within.first = g.entries[0].Pos
	default:
		g.entries = g.entries[:limit]
		g.within.last = g.entries[limit-1].Pos
	}
}

// repairPositions stores the index pages and summaries that are missing. It runs
// while the file is opened, before any write is accepted; after a crash the next
// opening continues. If the disk is full, positions without an index page remain,
// and readers collect their entries from the events.
func (e *Engine) repairPositions() error {
	numbers := false
	for at := uint64(1); at <= e.counters.pos; {
		var s indexPageKey
		var there bool
		indexed := true
		err := e.view(func(tx *txn) error {
			if s, there = tx.indexPageAt(at, e.counters.pos); there && s.size() >= minSummarized {
				k, _ := tx.indexes.cursor().seek(appendValueKey(nil, s.first, s.last))
				have, ok := parseIndexPageKey(k)
				indexed = ok && have == s
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !indexed {
			err = e.repairSummary(s)
		}
		if !there {
			if !numbers {
				e.opt.logger.Info("an index page is missing: storing the order of records", "file", e.path, "from", s.first, "to", s.last)
				err = e.repairNumbers()
				numbers = true
			}
			if err == nil {
				s, err = e.repairIndexPage(s)
			}
		}
		if errors.Is(err, engine.ErrDiskFull) {
			e.opt.logger.Warn("the disk is too full to store the order of records: reading in that order is slow", "file", e.path, "error", err)
			return nil
		}
		if err != nil {
			return err
		}
		if s.last == engine.All {
			return nil
		}
		at = s.last + 1
	}
	return nil
}

// repairIndexPage stores index pages for positions that no page covers, and returns
// the positions that they cover.
func (e *Engine) repairIndexPage(hole indexPageKey) (indexPageKey, error) {
	found, err := e.collectPositions(context.Background(), hole, false)
	if err != nil {
		return hole, err
	}
	covered := found.within
	g := &e.group
	defer g.end()
	return covered, e.update(func(tx *txn) error {
		g.tx = tx
		for { // remove summaries of lost index pages
			k, _ := tx.indexes.cursor().seek(appendValueKey(nil, covered.first, 0))
			s, ok := parseIndexPageKey(k)
			if !ok || s.first > covered.last {
				break
			}
			if err := g.removeIndexPage(s); err != nil {
				return err
			}
		}
		return g.putIndexPages(covered.first, covered.last, found.entries)
	})
}

// repairSummary stores an index page again, with its summary. A damaged page is
// left as it is.
func (e *Engine) repairSummary(s indexPageKey) error {
	g := &e.group
	defer g.end()
	return e.update(func(tx *txn) error {
		g.tx = tx
		entries, err := tx.readIndexPage(s, &g.joiner, nil)
		if err != nil {
			return nil
		}
		return errors.Join(g.removeIndexPage(s), g.putIndexPages(s.first, s.last, entries))
	})
}

// repairNumbers stores the key of each machine under its number.
func (e *Engine) repairNumbers() error {
	const atOnce = 10_000
	for after := ""; ; {
		var keys []string
		var numbers []uint64
		err := e.Scan(context.Background(), "", after, atOnce, func(machine string, h engine.Head) error {
			keys, numbers = append(keys, machine), append(numbers, h.Number)
			return nil
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		g := &e.group
		err = e.update(func(tx *txn) error {
			g.tx = tx
			for i, key := range keys {
				if numbers[i] == 0 { // the head is damaged
					continue
				}
				if err := g.putNumber(numbers[i], key); err != nil {
					return err
				}
			}
			return nil
		})
		g.end()
		if err != nil {
			return err
		}
		after = keys[len(keys)-1]
	}
}
