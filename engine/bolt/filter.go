package bolt

import (
	"math"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

// Bucket indexes has the contents of each stretch that is worth it, under the
// stretch's key and written with it. A query reads the contents of one stretch
// after the other, which is a few hundred of them for a million records, and only
// those stretches that may have what it looks for. An entry that is missing or
// damaged costs a look at its stretch, nothing else.

// indexedStretch is the smallest stretch with contents of its own.
const indexedStretch = 256

// putContents stores what the stretch made last has.
func (g *batch) putContents(s stretchKey) error {
	if s.size() < indexedStretch {
		return nil
	}
	g.block = g.maker.Contents(g.block[:0])
	return g.put(&g.tx.indexes, format.Header{Type: format.TypeContents, Number: s.first, Seq: s.last}, g.block)
}

// readContents reads what a stretch has; ok is false where nobody knows.
func (tx *txn) readContents(s stretchKey, j *format.Joiner, c *format.Contents) (ok bool, err error) {
	if s.size() < indexedStretch || !tx.indexes.there() {
		return false, nil
	}
	payload, err := joinStretch(&tx.indexes, format.TypeContents, s, j, format.ContentsLimit)
	if err == nil {
		err = c.Parse(payload)
	}
	return err == nil, err
}

// queryFilter is a query and the sums of its terms.
type queryFilter struct {
	q    engine.Query
	sums format.Sums
	low  int64
	high int64
}

func newFilter(q engine.Query) *queryFilter {
	f := &queryFilter{q: q, low: q.MinTime, high: q.MaxTime}
	if f.low == 0 && f.high == 0 {
		f.low, f.high = math.MinInt64, math.MaxInt64
	}
	f.sums = format.Sums{Name: format.TermSum([]byte(q.Name)), From: format.TermSum([]byte(q.From)),
		To: format.TermSum([]byte(q.To)), Actor: format.ActorSum([]byte(q.Actor))}
	return f
}

// terms tells whether a record with these sums may be meant, but for its actor
// and time.
func (f *queryFilter) terms(s *format.Sums) bool {
	q := &f.q
	if q.Kind != 0 && q.Kind != s.Kind {
		return false
	}
	return !s.Known || (q.Name == "" || s.Name == f.sums.Name) && (q.From == "" || s.From == f.sums.From) &&
		(q.To == "" || s.To == f.sums.To) && (q.Origin == 0 || s.Origin == q.Origin)
}

// place tells whether the record of a place may be meant.
func (f *queryFilter) place(p *format.Place) bool {
	return p.Time >= f.low && p.Time <= f.high && f.terms(&p.Sums) &&
		(f.q.Actor == "" || !p.Sums.Known || p.Sums.Actor == f.sums.Actor)
}

// contents tells whether a stretch may have a record that is meant.
func (f *queryFilter) contents(c *format.Contents) bool {
	if c.MaxTime < f.low || c.MinTime > f.high {
		return false
	}
	any, known := false, true
	for i := range c.Terms {
		if f.terms(&c.Terms[i]) {
			any, known = true, known && c.Terms[i].Known
		}
	}
	if !any || f.q.Actor == "" || !known {
		return any
	}
	_, found := slices.BinarySearch(c.Actors, f.sums.Actor)
	return found
}

// event tells whether a record is meant.
func (f *queryFilter) event(kind uint32, time int64, b []byte) bool {
	q := &f.q
	if time < f.low || time > f.high || q.Kind != 0 && q.Kind != kind {
		return false
	}
	t, ok := record.PeekTerms(b)
	return !ok || (q.Name == "" || string(t.Name) == q.Name) && (q.From == "" || string(t.From) == q.From) &&
		(q.To == "" || string(t.To) == q.To) && (q.Actor == "" || string(t.Actor) == q.Actor) && (q.Origin == 0 || t.Origin == q.Origin)
}
