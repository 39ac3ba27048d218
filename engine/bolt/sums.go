package bolt

import (
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

// sumsOf are the sums of an encoded envelope of a kind.
func sumsOf(kind uint32, b []byte) format.Sums {
	t, ok := record.PeekTerms(b)
	if !ok {
		return format.Sums{Kind: kind}
	}
	s := format.Sums{Known: true, Kind: kind, Name: format.TermSum(t.Name), From: format.TermSum(t.From), Origin: t.Origin, Actor: format.ActorSum(t.Actor)}
	if s.To = s.From; string(t.To) != string(t.From) {
		s.To = format.TermSum(t.To)
	}
	return s
}
