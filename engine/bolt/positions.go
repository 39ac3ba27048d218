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

// stretchSteps are the sizes at which stretches at the end are made into one:
// small groups make small stretches, and each record is stored anew three times
// at most on its way into a large one.
var stretchSteps = [...]uint64{16, 256, format.LongestStretch}

// storePlaces stores the stretches of the group, joined with short ones before it.
func (g *batch) storePlaces() error {
	if err := g.storeOlder(); err != nil {
		return err
	}
	first, last := g.from+1, g.counters.pos
	if last < first {
		return nil
	}
	if len(g.older) > 0 {
		return g.putStretches(first, last, g.places)
	}
	places, first, err := g.joinable(first, last)
	if err != nil {
		return err
	}
	rest := g.places
	if n := min(len(rest), max(0, format.LongestStretch-len(places))); len(places) > 0 && n < len(rest) {
		places, rest = append(places, rest[:n]...), rest[n:]
		if err := g.putStretches(first, places[len(places)-1].Pos, places); err != nil {
			return err
		}
		first, places = places[len(places)-1].Pos+1, nil
	}
	if len(places) > 0 {
		rest = append(places, rest...)
	}
	return g.putStretches(first, last, rest)
}

// storeOlder puts the places of events that were put back into the stretches
// that have their positions, if they are not there as they are now. It reads them
// all before it changes one.
func (g *batch) storeOlder() error {
	type changed struct {
		key    stretchKey
		places []format.Place
	}
	var all []changed
	slices.SortStableFunc(g.older, func(a, b format.Place) int { return cmp.Compare(a.Pos, b.Pos) }) // the last word counts
	for i := 0; i < len(g.older); {
		if g.older[i].Pos > g.from {
			g.places, _ = putPlace(g.places, g.older[i])
			i++
			continue
		}
		s, there := g.tx.stretchAt(g.older[i].Pos, g.from)
		places, err := []format.Place(nil), error(nil)
		if there {
			places, err = g.tx.readStretch(s, &g.joiner, nil)
		}
		dirty := false
		for ; i < len(g.older) && g.older[i].Pos <= min(s.last, g.from); i++ {
			var new bool
			places, new = putPlace(places, g.older[i])
			dirty = dirty || new
		}
		if there && err == nil && dirty { // else it is found in the events
			all = append(all, changed{s, places})
		}
	}
	for _, c := range all {
		if err := g.removeStretch(c.key); err != nil {
			return err
		}
		if err := g.putStretches(c.key.first, c.key.last, c.places); err != nil {
			return err
		}
	}
	return nil
}

// putPlace makes p the place of its position; new says that it was not. The kind
// is that of the write that put it back, like that of the block.
func putPlace(places []format.Place, p format.Place) (out []format.Place, new bool) {
	i, found := slices.BinarySearchFunc(places, p.Pos, func(q format.Place, pos uint64) int { return cmp.Compare(q.Pos, pos) })
	switch {
	case !found:
		return slices.Insert(places, i, p), true
	case places[i] == p:
		return places, false
	}
	places[i] = p
	return places, true
}

func (g *batch) removeStretch(s stretchKey) error {
	for _, t := range []*tree{&g.tx.positions, &g.tx.indexes} {
		if _, err := g.remove(t, s.first, s.last, s.last); err != nil {
			return err
		}
	}
	return nil
}

// putStretches covers the positions from first to last.
func (g *batch) putStretches(first, last uint64, places []format.Place) error {
	for {
		part, end := places, last
		if len(part) > format.LongestStretch {
			part = part[:format.LongestStretch]
			end = part[len(part)-1].Pos
		}
		g.block = g.maker.Append(g.block[:0], first, part)
		h := format.Header{Type: format.TypeStretch, Number: first, Seq: end}
		if err := g.put(&g.tx.positions, h, g.block); err != nil {
			return err
		}
		if err := g.putContents(stretchKey{first, end}); err != nil {
			return err
		}
		if places = places[len(part):]; len(places) == 0 && end == last {
			return nil
		}
		first = end + 1
	}
}

// joinable takes short stretches that end right before first out of the bucket,
// so that they and what comes become one, and tells where they begin.
func (g *batch) joinable(first, last uint64) (places []format.Place, from uint64, err error) {
	var short []stretchKey // newest first
	at, join, size := first, 0, last-first+1
	cur := g.tx.positions.cursor()
	k, _ := cur.last()
	s, ok := splitStretchKey(k)
	for _, step := range stretchSteps {
		for ok && s.last+1 == at && s.size() < step {
			short = append(short, s)
			at = s.first
			size += s.size()
			for done := s; ok && s == done; { // all its pieces
				k, _ = cur.prev()
				s, ok = splitStretchKey(k)
			}
		}
		if size >= step {
			join = len(short)
		}
	}
	found := make([][]format.Place, 0, join)
	for _, s := range short[:join] {
		some, err := g.tx.readStretch(s, &g.joiner, nil)
		if err != nil {
			break // it stays as it is, and what is before it
		}
		found = append(found, some)
	}
	for i := len(found) - 1; i >= 0; i-- {
		places = append(places, found[i]...)
		if err := g.removeStretch(short[i]); err != nil {
			return nil, 0, err
		}
	}
	if len(found) > 0 {
		first = short[len(found)-1].first
	}
	return places, first, nil
}

// stretchKey is what a stretch covers.
type stretchKey struct{ first, last uint64 }

func (s stretchKey) size() uint64 { return s.last - s.first + 1 }

func splitStretchKey(k []byte) (s stretchKey, ok bool) {
	s.first, s.last, _, ok = splitValueKey(k)
	return s, ok && s.last >= s.first && s.first > 0
}

// joinStretch reads the value of a stretch, of at most limit bytes, in one of
// the two buckets that have one.
func joinStretch(t *tree, want format.Type, s stretchKey, j *format.Joiner, limit int) ([]byte, error) {
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

// readStretch adds the places of a stretch to dst.
func (tx *txn) readStretch(s stretchKey, j *format.Joiner, dst []format.Place) ([]format.Place, error) {
	payload, err := joinStretch(&tx.positions, format.TypeStretch, s, j, format.StretchLimit)
	if err == nil {
		dst, err = format.ParseStretch(payload, s.first, dst)
	}
	if err != nil {
		return dst, fmt.Errorf("positions %d to %d: %w", s.first, s.last, err)
	}
	return dst, nil
}

// stretchAt finds the stretch that has pos; there is false where none does, then
// the answer is the hole around it, as far as it is within 1 to last.
func (tx *txn) stretchAt(pos, last uint64) (s stretchKey, there bool) {
	s = stretchKey{1, last}
	if !tx.positions.there() {
		return s, false
	}
	cur := tx.positions.cursor()
	key := appendValueAfter(nil, pos, engine.All)
	if k, _ := cur.before(key); k != nil {
		if before, ok := splitStretchKey(k); ok {
			if before.last >= pos {
				return before, true
			}
			s.first = before.last + 1
		}
	}
	if k, _ := cur.seek(key); k != nil {
		if next, ok := splitStretchKey(k); ok {
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
	value := format.AppendValue(g.arena[len(g.arena):], &h, []byte(machine), nil)
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
