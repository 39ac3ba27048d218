package bolt

import (
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

// hashesOf are the sums of an encoded envelope of a kind.
func hashesOf(kind uint32, b []byte) format.TermHashes {
	t, ok := record.PeekTerms(b)
	if !ok {
		return format.TermHashes{Kind: kind}
	}
	s := format.TermHashes{Known: true, Kind: kind, Name: format.HashTerm(t.Name), From: format.HashTerm(t.From), Origin: t.Origin, Actor: format.HashActor(t.Actor)}
	if s.To = s.From; string(t.To) != string(t.From) {
		s.To = format.HashTerm(t.To)
	}
	return s
}
