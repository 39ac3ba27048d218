package bolt

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// Bucket positions has a stretch for each run of consecutive positions, under
// its first and last one; together they cover all positions there are in the
// buckets. Bucket numbers has the key of each machine under its number. Both are
// written in the transaction that stores the records. What a stretch says is a
// hint: records that were trimmed or purged are still in it. A stretch that is
// lost or damaged is no loss: what it said is found in the events themselves.

// pageSizes are the sizes at which stretches at the end are made into one:
// small groups make small stretches, and each record is stored anew three times
// at most on its way into a large one.
var pageSizes = [...]uint64{16, 256, format.MaxPageEntries}

// storeIndex stores the stretches of the group, joined with short ones before it.
func (g *batch) storeIndex() error {
	if err := g.storeRestored(); err != nil {
		return err
	}
	first, last := g.from+1, g.counters.pos
	if last < first {
		return nil
	}
	if len(g.restored) > 0 {
		return g.putIndexPages(first, last, g.indexEntries)
	}
	places, first, err := g.mergeable(first, last)
	if err != nil {
		return err
	}
	rest := g.indexEntries
	if n := min(len(rest), max(0, format.MaxPageEntries-len(places))); len(places) > 0 && n < len(rest) {
		places, rest = append(places, rest[:n]...), rest[n:]
		if err := g.putIndexPages(first, places[len(places)-1].Pos, places); err != nil {
			return err
		}
		first, places = places[len(places)-1].Pos+1, nil
	}
	if len(places) > 0 {
		rest = append(places, rest...)
	}
	return g.putIndexPages(first, last, rest)
}

// storeRestored puts the places of events that were put back into the stretches
// that have their positions, if they are not there as they are now. It reads them
// all before it changes one.
func (g *batch) storeRestored() error {
	type changed struct {
		key    indexPageKey
		places []format.IndexEntry
	}
	var all []changed
	slices.SortStableFunc(g.restored, func(a, b format.IndexEntry) int { return cmp.Compare(a.Pos, b.Pos) }) // the last word counts
	for i := 0; i < len(g.restored); {
		if g.restored[i].Pos > g.from {
			g.indexEntries, _ = insertEntry(g.indexEntries, g.restored[i])
			i++
			continue
		}
		s, there := g.tx.indexPageAt(g.restored[i].Pos, g.from)
		places, err := []format.IndexEntry(nil), error(nil)
		if there {
			places, err = g.tx.readIndexPage(s, &g.joiner, nil)
		}
		dirty := false
		for ; i < len(g.restored) && g.restored[i].Pos <= min(s.last, g.from); i++ {
			var new bool
			places, new = insertEntry(places, g.restored[i])
			dirty = dirty || new
		}
		if there && err == nil && dirty { // else it is found in the events
			all = append(all, changed{s, places})
		}
	}
	for _, c := range all {
		if err := g.removeIndexPage(c.key); err != nil {
			return err
		}
		if err := g.putIndexPages(c.key.first, c.key.last, c.places); err != nil {
			return err
		}
	}
	return nil
}

// insertEntry makes p the place of its position; new says that it was not. The kind
// is that of the write that put it back, like that of the block.
func insertEntry(places []format.IndexEntry, p format.IndexEntry) (out []format.IndexEntry, new bool) {
	i, found := slices.BinarySearchFunc(places, p.Pos, func(q format.IndexEntry, pos uint64) int { return cmp.Compare(q.Pos, pos) })
	switch {
	case !found:
		return slices.Insert(places, i, p), true
	case places[i] == p:
		return places, false
	}
	places[i] = p
	return places, true
}

func (g *batch) removeIndexPage(s indexPageKey) error {
	for _, t := range []*tree{&g.tx.positions, &g.tx.indexes} {
		if _, err := g.remove(t, s.first, s.last, s.last); err != nil {
			return err
		}
	}
	return nil
}

// putIndexPages covers the positions from first to last.
func (g *batch) putIndexPages(first, last uint64, places []format.IndexEntry) error {
	for {
		part, end := places, last
		if len(part) > format.MaxPageEntries {
			part = part[:format.MaxPageEntries]
			end = part[len(part)-1].Pos
		}
		g.block = g.pages.Append(g.block[:0], first, part)
		h := format.Header{Type: format.TypeIndexPage, Number: first, Seq: end}
		if err := g.put(&g.tx.positions, h, g.block); err != nil {
			return err
		}
		if err := g.putSummary(indexPageKey{first, end}); err != nil {
			return err
		}
		if places = places[len(part):]; len(places) == 0 && end == last {
			return nil
		}
		first = end + 1
	}
}

// mergeable takes short stretches that end right before first out of the bucket,
// so that they and what comes become one, and tells where they begin.
func (g *batch) mergeable(first, last uint64) (places []format.IndexEntry, from uint64, err error) {
	var short []indexPageKey // newest first
	at, join, size := first, 0, last-first+1
	cur := g.tx.positions.cursor()
	k, _ := cur.last()
	s, ok := parseIndexPageKey(k)
	for _, step := range pageSizes {
		for ok && s.last+1 == at && s.size() < step {
			short = append(short, s)
			at = s.first
			size += s.size()
			for done := s; ok && s == done; { // all its pieces
				k, _ = cur.prev()
				s, ok = parseIndexPageKey(k)
			}
		}
		if size >= step {
			join = len(short)
		}
	}
	found := make([][]format.IndexEntry, 0, join)
	for _, s := range short[:join] {
		some, err := g.tx.readIndexPage(s, &g.joiner, nil)
		if err != nil {
			break // it stays as it is, and what is before it
		}
		found = append(found, some)
	}
	for i := len(found) - 1; i >= 0; i-- {
		places = append(places, found[i]...)
		if err := g.removeIndexPage(short[i]); err != nil {
			return nil, 0, err
		}
	}
	if len(found) > 0 {
		first = short[len(found)-1].first
	}
	return places, first, nil
}

// indexPageKey is what a stretch covers.
type indexPageKey struct{ first, last uint64 }

func (s indexPageKey) size() uint64 { return s.last - s.first + 1 }

func parseIndexPageKey(k []byte) (s indexPageKey, ok bool) {
	s.first, s.last, _, ok = splitValueKey(k)
	return s, ok && s.last >= s.first && s.first > 0
}

// joinIndexPage reads the value of a stretch, of at most limit bytes, in one of
// the two buckets that have one.
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

// readIndexPage adds the places of a stretch to dst.
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

// indexPageAt finds the stretch that has pos; there is false where none does, then
// the answer is the hole around it, as far as it is within 1 to last.
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

func appendNumberKey(b []byte, number uint64) []byte { return binary.BigEndian.AppendUint64(b, number) }

// putNumber stores whose a machine number is.
func (g *batch) putNumber(number uint64, machine string) error {
	g.key = appendNumberKey(g.key[:0], number)
	g.reserve(format.HeaderLen + len(machine))
	h := format.Header{Type: format.TypeNumber, Number: number, Raw: uint32(len(machine))}
	value := format.AppendValue(g.values[len(g.values):], &h, []byte(machine), nil)
	return g.tx.numbers.put(g.key, g.keep(value))
}

// machineOf tells whose a number is, "" if it is nobody's any more: then there
// are no events under it either.
func (tx *txn) machineOf(number uint64) (string, error) {
	var b []byte
	if tx.numbers.there() {
		b = tx.numbers.get(appendNumberKey(nil, number))
	}
	if b == nil {
		k, _ := tx.events.cursor().seek(appendValueKey(nil, number, 0))
		if n, _, _, ok := splitValueKey(k); ok && n == number {
			return "", fmt.Errorf("machine number %d: nothing says whose it is", number)
		}
		return "", nil
	}
	h, payload, err := format.ParseValue(b, maxKey)
	if err == nil && (h.Type != format.TypeNumber || h.Number != number) {
		err = fmt.Errorf("value is a %s %d", h.Type, h.Number)
	}
	if err != nil {
		return "", fmt.Errorf("machine number %d: %w", number, err)
	}
	return string(payload), nil
}
