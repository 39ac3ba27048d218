package journal

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
)

// Scanned holds the records of a ring that are not checkpointed.
type Scanned struct {
	Torn *Place // the write that was interrupted, if its header is whole; it was never acknowledged

	ring         ring
	checkpointed uint64
	whole        []Record // in lsn order
}

// Record is one group as it was appended.
type Record struct {
	Place
	Payload []byte
}

// Scan searches every block of the ring in r, which must belong to file id, for
// records with salt and an lsn after checkpointed. It writes nothing.
//
// The records must be checkpointed+1, checkpointed+2 and so on, each directly after
// the previous one or at the start of the next segment. The first missing one ends
// the ring only if no record with a larger lsn is found anywhere, not even its
// header, because each record is written after the previous one was synced.
// Otherwise the error is a *CorruptError. If that has a Lost, the Scanned is not nil
// and holds the whole records, for a salvage, never for a replay.
//
// It allocates one segment, and the payloads of the records.
func Scan(f io.ReaderAt, r Range, id ID, salt Salt, checkpointed uint64) (*Scanned, error) {
	rg, err := readRing(f, r, id, salt)
	if err != nil {
		return nil, err
	}
	s := &Scanned{ring: rg, checkpointed: checkpointed}
	var torn []Place
	err = rg.walk(f, func(p Place, block []byte) bool {
		switch {
		case p.LSN <= checkpointed:
			return false
		case !rg.body(block, p):
			torn = append(torn, p)
			return false
		}
		s.whole = append(s.whole, Record{p, bytes.Clone(block[headerSize : headerSize+p.Length])})
		return true
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(s.whole, func(a, b Record) int { return cmp.Compare(a.LSN, b.LSN) })
	slices.SortFunc(torn, func(a, b Place) int { return cmp.Compare(a.LSN, b.LSN) })
	if err := s.judge(torn); err != nil {
		return s, err
	}
	return s, nil
}

// walk calls fn for each block that starts with a correct record header, with the
// bytes from there to the end of the segment. If fn returns true, the record is
// whole, and the walk continues after it, otherwise with the next block.
func (r *ring) walk(f io.ReaderAt, fn func(p Place, block []byte) bool) error {
	b := make([]byte, r.Segment)
	for seg := range r.Segments {
		first := seg * r.Segment
		if err := readFull(f, b, r.base+first); err != nil {
			return fmt.Errorf("journal: read segment %d: %w", seg, err)
		}
		for at := int64(0); at < r.Segment; {
			p, ok := r.header(b[at:], first+at)
			if ok && fn(p, b[at:]) {
				at += Span(p.Length)
			} else {
				at += Align
			}
		}
	}
	return nil
}

// judge returns an error unless the records are those of a ring that simply ends.
func (s *Scanned) judge(torn []Place) error {
	corrupt := func(lost uint64, reason string, args ...any) error {
		return &CorruptError{Reason: fmt.Sprintf(reason, args...), Checkpointed: s.checkpointed, Lost: lost, Whole: s.places(), Torn: torn}
	}
	end := s.checkpointed
	for i, p := range s.whole {
		if p.LSN != end+1 {
			if p.LSN == end {
				return corrupt(end, "record %d occurs twice, at %d and %d of the file", p.LSN, s.whole[i-1].Offset, p.Offset)
			}
			return corrupt(end+1, "record %d is damaged, but %d is whole, at %d of the file", end+1, p.LSN, p.Offset)
		}
		if i > 0 && !s.ring.follows(s.whole[i-1].Place, p.Place) {
			return corrupt(p.LSN, "record %d at %d of the file does not follow record %d at %d", p.LSN, p.Offset, end, s.whole[i-1].Offset)
		}
		end = p.LSN
	}
	for _, p := range torn {
		if p.LSN != end+1 || len(torn) > 1 {
			return corrupt(min(p.LSN, end+1), "record %d at %d of the file is damaged, and not the last write", p.LSN, p.Offset)
		}
		if n := len(s.whole); n > 0 && !s.ring.follows(s.whole[n-1].Place, p) {
			return corrupt(p.LSN, "torn record %d at %d of the file does not follow record %d", p.LSN, p.Offset, end)
		}
		s.Torn = &p
	}
	return nil
}

// follows reports whether b is where Append writes the record after a: directly
// after it, or at the start of the next segment if it does not fit.
func (r *ring) follows(a, b Place) bool {
	at := a.Offset - r.base
	want := at + Span(a.Length)
	if at%r.Segment+Span(a.Length)+Span(b.Length) > r.Segment {
		want = (at/r.Segment + 1) % r.Segments * r.Segment
	}
	return b.Offset-r.base == want
}

// Last returns the lsn of the last record, or the checkpointed one if there is no
// record. After a Scan without error it is the checkpointed lsn of the transaction
// that stores the records elsewhere.
func (s *Scanned) Last() uint64 { return s.checkpointed + uint64(s.Len()) }

// Len returns the number of records.
func (s *Scanned) Len() int { return len(s.whole) }

// Records returns the records in lsn order. Their bytes are the caller's.
func (s *Scanned) Records() []Record { return s.whole }

func (s *Scanned) places() []Place {
	places := make([]Place, len(s.whole))
	for i := range s.whole {
		places[i] = s.whole[i].Place
	}
	return places
}

// read reads the record at p into b and checks it.
func (r *ring) read(f io.ReaderAt, b []byte, p Place) error {
	if err := readFull(f, b, p.Offset); err != nil {
		return fmt.Errorf("journal: read record %d: %w", p.LSN, err)
	}
	if have, ok := r.header(b, p.Offset-r.base); !ok || have != p || !r.body(b, p) {
		return corruptf("record %d at %d of the file is damaged", p.LSN, p.Offset)
	}
	return nil
}
