package bolt

import (
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

// hashesOf returns the hashes of the terms of an event of a kind, which it reads
// from the event's bytes b. If b is not an envelope, they are not known.
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
