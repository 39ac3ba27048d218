package bolt

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// indexWriter writes the index of the feed: for each position, the machine number
// and seq of its record.
//
// Bucket positions holds index pages. A page covers a range of consecutive
// positions and is stored under the first and the last of them; together the
// pages cover all positions of the buckets. They are written in the transaction
// that stores the records. The entries of a page are hints: records that were
// trimmed or purged since are still in it. A page that is lost or damaged costs
// time only: its entries are found in the events themselves (see positionRebuild).
//
// Bucket indexes holds the summary of each page that is large enough, under the
// page's key and written with it. A query reads the summaries of one page after the
// other, a few hundred for a million records, and then only the pages that may have
// a match. A summary that is missing or damaged costs a read of its page.
type indexWriter struct {
	buckets *bucketWriter
	pages   format.PageBuilder
	joiner  format.Joiner
	small   []indexPageKey // of mergeable
}

// pageSizes are the sizes at which the newest pages are merged into one. Small
// groups make small pages; on its way into a page of the largest size an entry is
// written again three times at most.
var pageSizes = [...]uint64{16, 256, format.MaxPageEntries}

// minSummarized is the size of the smallest page that has a summary.
const minSummarized = 256

// end drops what belongs to the transaction.
func (w *indexWriter) end() { w.joiner = format.Joiner{} }

// store stores the entries of the positions after from, up to last, merged with
// small pages before them, and those of restored events.
func (w *indexWriter) store(c *changes, from, last uint64) error {
	if err := w.storeRestored(c, from); err != nil {
		return err
	}
	first := from + 1
	if last < first {
		return nil
	}
	if len(c.restored) > 0 {
		return w.putPages(first, last, c.indexEntries)
	}
	entries, first, err := w.takeMergeable(first, last)
	if err != nil {
		return err
	}
	rest := c.indexEntries
	if n := min(len(rest), max(0, format.MaxPageEntries-len(entries))); len(entries) > 0 && n < len(rest) {
		entries, rest = append(entries, rest[:n]...), rest[n:]
		if err := w.putPages(first, entries[len(entries)-1].Pos, entries); err != nil {
			return err
		}
		first, entries = entries[len(entries)-1].Pos+1, nil
	}
	if len(entries) > 0 {
		rest = append(entries, rest...)
	}
	return w.putPages(first, last, rest)
}

// storeRestored inserts the entries of restored events into the pages that cover
// their positions, unless they are there already. Restored events of the group
// itself, after from, go into c.indexEntries. All pages are read before one is
// changed.
func (w *indexWriter) storeRestored(c *changes, from uint64) error {
	type changedPage struct {
		key     indexPageKey
		entries []format.IndexEntry
	}
	var changed []changedPage
	slices.SortStableFunc(c.restored, func(a, b format.IndexEntry) int { return cmp.Compare(a.Pos, b.Pos) }) // the last write wins
	for i := 0; i < len(c.restored); {
		if c.restored[i].Pos > from {
			c.indexEntries, _ = insertEntry(c.indexEntries, c.restored[i])
			i++
			continue
		}
		page, there := w.buckets.tx.indexPageAt(c.restored[i].Pos, from)
		entries, err := []format.IndexEntry(nil), error(nil)
		if there {
			entries, err = w.buckets.tx.readIndexPage(page, &w.joiner, nil)
		}
		dirty := false
		for ; i < len(c.restored) && c.restored[i].Pos <= min(page.last, from); i++ {
			var new bool
			entries, new = insertEntry(entries, c.restored[i])
			dirty = dirty || new
		}
		if there && err == nil && dirty { // a missing or damaged page is rebuilt from the events
			changed = append(changed, changedPage{page, entries})
		}
	}
	for _, c := range changed {
		if err := w.removePage(c.key); err != nil {
			return err
		}
		if err := w.putPages(c.key.first, c.key.last, c.entries); err != nil {
			return err
		}
	}
	return nil
}

// insertEntry makes e the entry of its position; new reports whether that changed
// the entries.
func insertEntry(entries []format.IndexEntry, e format.IndexEntry) (out []format.IndexEntry, new bool) {
	i, found := slices.BinarySearchFunc(entries, e.Pos, func(q format.IndexEntry, pos uint64) int { return cmp.Compare(q.Pos, pos) })
	switch {
	case !found:
		return slices.Insert(entries, i, e), true
	case entries[i] == e:
		return entries, false
	}
	entries[i] = e
	return entries, true
}

// removePage removes a page and its summary.
func (w *indexWriter) removePage(s indexPageKey) error {
	for _, t := range []*tree{&w.buckets.tx.positions, &w.buckets.tx.indexes} {
		if _, err := w.buckets.remove(t, s.first, s.last, s.last); err != nil {
			return err
		}
	}
	return nil
}

// putPages stores pages that together cover the positions from first to last.
func (w *indexWriter) putPages(first, last uint64, entries []format.IndexEntry) error {
	b := w.buckets
	for {
		part, end := entries, last
		if len(part) > format.MaxPageEntries {
			part = part[:format.MaxPageEntries]
			end = part[len(part)-1].Pos
		}
		b.payload = w.pages.Append(b.payload[:0], first, part)
		h := format.Header{Type: format.TypeIndexPage, Number: first, Seq: end}
		if err := b.put(&b.tx.positions, h, b.payload); err != nil {
			return err
		}
		if err := w.putSummary(indexPageKey{first, end}); err != nil {
			return err
		}
		if entries = entries[len(part):]; len(entries) == 0 && end == last {
			return nil
		}
		first = end + 1
	}
}

// putSummary stores the summary of the page that was built last, unless the page
// is too small to have one.
func (w *indexWriter) putSummary(s indexPageKey) error {
	if s.size() < minSummarized {
		return nil
	}
	b := w.buckets
	b.payload = w.pages.Summary(b.payload[:0])
	return b.put(&b.tx.indexes, format.Header{Type: format.TypePageSummary, Number: s.first, Seq: s.last}, b.payload)
}

// takeMergeable removes the small pages that end right before first and are to be
// merged with the positions from first to last. It returns their entries and
// their first position, or first if there are none.
func (w *indexWriter) takeMergeable(first, last uint64) (entries []format.IndexEntry, from uint64, err error) {
	pages := w.mergeable(first, last)
	found := make([][]format.IndexEntry, 0, len(pages))
	for _, s := range pages {
		some, err := w.buckets.tx.readIndexPage(s, &w.joiner, nil)
		if err != nil {
			break // this page stays as it is, and the pages before it
		}
		found = append(found, some)
	}
	for i := len(found) - 1; i >= 0; i-- {
		entries = append(entries, found[i]...)
		if err := w.removePage(pages[i]); err != nil {
			return nil, 0, err
		}
	}
	if len(found) > 0 {
		first = pages[len(found)-1].first
	}
	return entries, first, nil
}

// mergeable returns the pages, newest first, that end right before first and make
// a page of one of the pageSizes together with the positions from first to last.
// The result is valid until the next call.
func (w *indexWriter) mergeable(first, last uint64) []indexPageKey {
	small := w.small[:0]
	at, merged, size := first, 0, last-first+1
	cur := w.buckets.tx.positions.cursor()
	k, _ := cur.last()
	s, ok := parseIndexPageKey(k)
	for _, limit := range pageSizes {
		for ok && s.last+1 == at && s.size() < limit {
			small = append(small, s)
			at = s.first
			size += s.size()
			for done := s; ok && s == done; { // passes over all pieces of the page
				k, _ = cur.prev()
				s, ok = parseIndexPageKey(k)
			}
		}
		if size >= limit {
			merged = len(small)
		}
	}
	w.small = small
	return small[:merged]
}

// indexPageKey is the range of positions that an index page covers.
type indexPageKey struct{ first, last uint64 }

// size returns how many positions the page covers.
func (s indexPageKey) size() uint64 { return s.last - s.first + 1 }

// parseIndexPageKey parses the key of a page, or of one of its pieces.
func parseIndexPageKey(k []byte) (s indexPageKey, ok bool) {
	s.first, s.last, _, ok = splitValueKey(k)
	return s, ok && s.last >= s.first && s.first > 0
}

// joinIndexPage reads the page, or the summary, that is stored under s in t.
func joinIndexPage(t *tree, want format.Type, s indexPageKey, j *format.Joiner, limit int) ([]byte, error) {
	h, payload, err := joinPieces(t, j, s.first, s.last, limit)
	if err != nil {
		return nil, err
	}
	if h.Type != want || h.Number != s.first || h.Seq != s.last {
		return nil, fmt.Errorf("value is a %s of %d to %d", h.Type, h.Number, h.Seq)
	}
	payload, _, err = format.Decode(nil, h.Codec, payload, h.Raw)
	return payload, err
}

// readIndexPage appends the entries of a page to dst.
func (tx *txn) readIndexPage(s indexPageKey, j *format.Joiner, dst []format.IndexEntry) ([]format.IndexEntry, error) {
	payload, err := joinIndexPage(&tx.positions, format.TypeIndexPage, s, j, format.PageLimit)
	if err == nil {
		dst, err = format.ParsePage(payload, s.first, dst)
	}
	if err != nil {
		return dst, fmt.Errorf("positions %d to %d: %w", s.first, s.last, err)
	}
	return dst, nil
}

// readSummary reads the summary of a page into c; ok is false if the page has none.
func (tx *txn) readSummary(s indexPageKey, j *format.Joiner, c *format.PageSummary) (ok bool, err error) {
	if s.size() < minSummarized || !tx.indexes.there() {
		return false, nil
	}
	payload, err := joinIndexPage(&tx.indexes, format.TypePageSummary, s, j, format.SummaryLimit)
	if err == nil {
		err = c.Parse(payload)
	}
	return err == nil, err
}

// indexPageAt returns the page that covers pos. there is false if none does: then
// the result is the gap around pos, within 1 to last.
func (tx *txn) indexPageAt(pos, last uint64) (s indexPageKey, there bool) {
	s = indexPageKey{1, last}
	if !tx.positions.there() {
		return s, false
	}
	cur := tx.positions.cursor()
	key := appendValueAfter(nil, pos, engine.All)
	if k, _ := cur.before(key); k != nil {
		if before, ok := parseIndexPageKey(k); ok {
			if before.last >= pos {
				return before, true
			}
			s.first = before.last + 1
		}
	}
	if k, _ := cur.seek(key); k != nil {
		if next, ok := parseIndexPageKey(k); ok {
			s.last = min(last, next.first-1)
		}
	}
	return s, false
}
