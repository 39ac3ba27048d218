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

// minSummarized is the smallest stretch with contents of its own.
const minSummarized = 256

// putSummary stores what the stretch made last has.
func (g *batch) putSummary(s indexPageKey) error {
	if s.size() < minSummarized {
		return nil
	}
	g.block = g.pages.Summary(g.block[:0])
	return g.put(&g.tx.indexes, format.Header{Type: format.TypePageSummary, Number: s.first, Seq: s.last}, g.block)
}

// readSummary reads what a stretch has; ok is false where nobody knows.
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

// queryFilter is a query and the sums of its terms.
type queryFilter struct {
	q      engine.Query
	hashes format.TermHashes
	low    int64
	high   int64
}

func newFilter(q engine.Query) *queryFilter {
	f := &queryFilter{q: q, low: q.MinTime, high: q.MaxTime}
	if f.low == 0 && f.high == 0 {
		f.low, f.high = math.MinInt64, math.MaxInt64
	}
	f.hashes = format.TermHashes{Name: format.HashTerm([]byte(q.Name)), From: format.HashTerm([]byte(q.From)),
		To: format.HashTerm([]byte(q.To)), Actor: format.HashActor([]byte(q.Actor))}
	return f
}

// matchesTerms tells whether a record with these sums may be meant, but for its actor
// and time.
func (f *queryFilter) matchesTerms(s *format.TermHashes) bool {
	q := &f.q
	if q.Kind != 0 && q.Kind != s.Kind {
		return false
	}
	return !s.Known || (q.Name == "" || s.Name == f.hashes.Name) && (q.From == "" || s.From == f.hashes.From) &&
		(q.To == "" || s.To == f.hashes.To) && (q.Origin == 0 || s.Origin == q.Origin)
}

// matchesEntry tells whether the record of a place may be meant.
func (f *queryFilter) matchesEntry(p *format.IndexEntry) bool {
	return p.Time >= f.low && p.Time <= f.high && f.matchesTerms(&p.Terms) &&
		(f.q.Actor == "" || !p.Terms.Known || p.Terms.Actor == f.hashes.Actor)
}

// matchesSummary tells whether a stretch may have a record that is meant.
func (f *queryFilter) matchesSummary(c *format.PageSummary) bool {
	if c.MaxTime < f.low || c.MinTime > f.high {
		return false
	}
	any, known := false, true
	for i := range c.Terms {
		if f.matchesTerms(&c.Terms[i]) {
			any, known = true, known && c.Terms[i].Known
		}
	}
	if !any || f.q.Actor == "" || !known {
		return any
	}
	_, found := slices.BinarySearch(c.Actors, f.hashes.Actor)
	return found
}

// matchesEvent tells whether a record is meant.
func (f *queryFilter) matchesEvent(kind uint32, time int64, b []byte) bool {
	q := &f.q
	if time < f.low || time > f.high || q.Kind != 0 && q.Kind != kind {
		return false
	}
	t, ok := record.PeekTerms(b)
	return !ok || (q.Name == "" || string(t.Name) == q.Name) && (q.From == "" || string(t.From) == q.From) &&
		(q.To == "" || string(t.To) == q.To) && (q.Actor == "" || string(t.Actor) == q.Actor) && (q.Origin == 0 || t.Origin == q.Origin)
}
