package format

import (
	"fmt"
	"math"
)

// A page summary holds the range of times and the distinct terms and actors of an
// index page, so that a query can skip the index pages in which nothing matches.
// uv is a uvarint, ± a zigzag varint:
//
//	shape 1, ± lowest time, ± highest time
//	uv number of terms, each as in an index page
//	uv number of actors, for each, ascending: uv actor - previous

// PageSummary summarizes the entries of one index page.
type PageSummary struct {
	MinTime, MaxTime int64
	Terms            []TermHashes // distinct, without actors
	Actors           []uint16     // distinct, ascending
}

const summaryShape = 1

// SummaryLimit is a length in bytes that no page summary exceeds.
const SummaryLimit = MaxPageEntries*(termsLen+3) + 64

// Parse reads a page summary. It reuses c's slices and keeps nothing of b.
func (c *PageSummary) Parse(b []byte) error {
	r := reader{b: b}
	if shape := r.byte(); shape != summaryShape && !r.bad {
		return fmt.Errorf("%w: page summary of shape %d", ErrNewer, shape)
	}
	*c = PageSummary{MinTime: r.varint(), MaxTime: r.varint(), Terms: c.Terms[:0], Actors: c.Actors[:0]}
	terms := r.uvarint()
	if terms > MaxPageEntries {
		r.fail()
	}
	for all := r.take(terms * termsLen); len(all) > 0; all = all[termsLen:] {
		c.Terms = append(c.Terms, parseTerms(all))
	}
	actors := r.uvarint()
	if actors > MaxPageEntries {
		r.fail()
	}
	actor := uint64(0)
	for i := uint64(0); i < actors && !r.bad; i++ {
		step := r.uvarint()
		if actor += step; i > 0 && step == 0 || actor > math.MaxUint16 {
			r.fail()
		}
		c.Actors = append(c.Actors, uint16(actor))
	}
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("page summary of %d bytes does not hold its %d terms and %d actors", len(b), terms, actors)
	}
	return nil
}
