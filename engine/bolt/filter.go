package bolt

import (
	"math"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

// Bucket indexes holds the summary of each index page of at least minSummarized
// positions, under the page's key and written together with the page. A query reads
// one summary after the other, a few hundred for a million records, and only those
// index pages in which something may match. If a summary is missing or damaged, the
// query reads the index page instead.

// minSummarized is the smallest number of positions of an index page that has a
// summary.
const minSummarized = 256

// putSummary stores the summary of the index page s, which was encoded last.
func (g *batch) putSummary(s indexPageKey) error {
	if s.size() < minSummarized {
		return nil
	}
	g.block = g.pages.Summary(g.block[:0])
	return g.put(&g.tx.indexes, format.Header{Type: format.TypePageSummary, Number: s.first, Seq: s.last}, g.block)
}

// readSummary reads the summary of the index page s; ok is false if there is no
// good one, which is an error only if there should be one.
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

// queryFilter is a query with the hashes of its terms.
type queryFilter struct {
	q      engine.Query
	hashes format.TermHashes
	low    int64 // lowest time
	high   int64 // highest time
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

// matchesTerms reports whether a record with these hashes may match, apart from its
// actor and time.
func (f *queryFilter) matchesTerms(s *format.TermHashes) bool {
	q := &f.q
	if q.Kind != 0 && q.Kind != s.Kind {
		return false
	}
	return !s.Known || (q.Name == "" || s.Name == f.hashes.Name) && (q.From == "" || s.From == f.hashes.From) &&
		(q.To == "" || s.To == f.hashes.To) && (q.Origin == 0 || s.Origin == q.Origin)
}

// matchesEntry reports whether the record of an index entry may match.
func (f *queryFilter) matchesEntry(p *format.IndexEntry) bool {
	return p.Time >= f.low && p.Time <= f.high && f.matchesTerms(&p.Terms) &&
		(f.q.Actor == "" || !p.Terms.Known || p.Terms.Actor == f.hashes.Actor)
}

// matchesSummary reports whether an index page may have a record that matches.
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

// matchesEvent reports whether an event matches, or whether its terms are not known.
func (f *queryFilter) matchesEvent(kind uint32, time int64, b []byte) bool {
	q := &f.q
	if time < f.low || time > f.high || q.Kind != 0 && q.Kind != kind {
		return false
	}
	t, ok := record.PeekTerms(b)
	return !ok || (q.Name == "" || string(t.Name) == q.Name) && (q.From == "" || string(t.From) == q.From) &&
		(q.To == "" || string(t.To) == q.To) && (q.Actor == "" || string(t.Actor) == q.Actor) && (q.Origin == 0 || t.Origin == q.Origin)
}
