package format

import (
	"fmt"
	"math"
)

// The contents of a stretch say what its records are about, without their
// places, so that a query passes over the stretches that have nothing for it.
// uv is a uvarint, ± a zigzag varint:
//
//	shape 1, ± lowest time, ± highest time
//	uv terms, each as in a stretch
//	uv actors, for each, ascending: uv actor - actor before

// PageSummary are what the records of a stretch are about.
type PageSummary struct {
	MinTime, MaxTime int64
	Terms            []TermHashes // without actors
	Actors           []uint16
}

const summaryShape = 1

// SummaryLimit is more than contents ever take.
const SummaryLimit = MaxPageEntries*(termsLen+3) + 64

// Parse reads contents. It reuses c's slices.
func (c *PageSummary) Parse(b []byte) error {
	r := reader{b: b}
	if shape := r.byte(); shape != summaryShape && !r.bad {
		return fmt.Errorf("%w: contents of shape %d", ErrNewer, shape)
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
		return fmt.Errorf("contents of %d bytes do not hold what they say", len(b))
	}
	return nil
}
