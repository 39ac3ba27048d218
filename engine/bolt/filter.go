package bolt

import (
	"math"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

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
