package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
)

// An index page is the payload that maps consecutive positions to their records:
// machine number and seq, time, and hashes of the terms. It is a hint: where it
// differs from the records themselves, the records are right. Its first position
// is in the value's header. uv is a uvarint, ± a zigzag varint, other numbers are
// big-endian:
//
//	shape 1, uv number of entries, uv number of distinct terms
//	for each of the terms   known 1, kind 4, name 4, from 4, to 4, origin 1
//	for each entry          index of its terms: 1, or 2 if there are more than 256 terms
//	for each entry          actor 2
//	for each entry          uv pos - previous, uv machine number, uv seq, ± time - previous
//
// For the first entry, the previous position is the page's first one, and the
// previous time is 0.

// IndexEntry locates the record of one position and holds what queries filter on.
type IndexEntry struct {
	Pos, Number, Seq uint64
	Time             int64
	Terms            TermHashes
}

// TermHashes holds hashes of the terms of a record. Records with equal terms have
// equal hashes; records with equal hashes may have different terms. The zero value
// is for a record whose terms are not known.
type TermHashes struct {
	Known          bool   // all fields are set; otherwise only Kind is
	Kind           uint32 // the number of the kind
	Name, From, To uint32
	Origin         uint8 // the value itself
	Actor          uint16
}

// HashTerm returns the hash of a name or a phase.
func HashTerm(term []byte) uint32 { return crc32.Checksum(term, castagnoli) }

// HashActor returns the hash of an actor.
func HashActor(actor []byte) uint16 {
	n := HashTerm(actor)
	return uint16(n ^ n>>16)
}

const (
	pageShape = 1
	termsLen  = 18
)

// MaxPageEntries is the largest number of entries of an index page.
const MaxPageEntries = 4096

// PageLimit is a length in bytes that no index page exceeds.
const PageLimit = MaxPageEntries * (termsLen + 4 + 4*binary.MaxVarintLen64)

// PageBuilder encodes index pages and their summaries. The zero value is ready for
// use; it reuses its memory, and it is for one goroutine.
type PageBuilder struct {
	numbers map[TermHashes]uint16 // index in terms
	terms   []TermHashes          // distinct, without actors
	of      []uint16              // for each entry the index of its terms
	actors  [1 << 16 / 64]uint64  // a bit for each actor hash
	min     int64                 // lowest time
	max     int64                 // highest time
}

// Append appends the index page of entries, at most MaxPageEntries, with ascending
// positions. first is the page's first position, at or before that of the first
// entry.
func (m *PageBuilder) Append(dst []byte, first uint64, entries []IndexEntry) []byte {
	m.count(entries)
	b := append(dst, pageShape)
	b = binary.AppendUvarint(b, uint64(len(entries)))
	b = binary.AppendUvarint(b, uint64(len(m.terms)))
	for i := range m.terms {
		b = appendTerms(b, &m.terms[i])
	}
	for _, n := range m.of {
		if len(m.terms) > 256 {
			b = append(b, byte(n>>8))
		}
		b = append(b, byte(n))
	}
	for i := range entries {
		b = binary.BigEndian.AppendUint16(b, entries[i].Terms.Actor)
	}
	pos, time := first, int64(0)
	for i := range entries {
		p := &entries[i]
		b = binary.AppendUvarint(b, p.Pos-pos)
		b = binary.AppendUvarint(b, p.Number)
		b = binary.AppendUvarint(b, p.Seq)
		b = binary.AppendVarint(b, p.Time-time)
		pos, time = p.Pos, p.Time
	}
	return b
}

// count collects the terms, actors and times of entries.
func (m *PageBuilder) count(entries []IndexEntry) {
	if m.numbers == nil {
		m.numbers = map[TermHashes]uint16{}
	}
	clear(m.numbers)
	clear(m.actors[:])
	m.terms, m.of = m.terms[:0], m.of[:0]
	m.min, m.max = math.MaxInt64, math.MinInt64
	for i := range entries {
		p := &entries[i]
		s := p.Terms
		m.actors[s.Actor/64] |= 1 << (s.Actor % 64)
		m.min, m.max = min(m.min, p.Time), max(m.max, p.Time)
		s.Actor = 0
		n, ok := m.numbers[s]
		if !ok {
			n = uint16(len(m.terms))
			m.numbers[s] = n
			m.terms = append(m.terms, s)
		}
		m.of = append(m.of, n)
	}
}

// Summary appends the summary of the index page that was appended last.
func (m *PageBuilder) Summary(dst []byte) []byte {
	b := append(dst, summaryShape)
	b = binary.AppendVarint(b, m.min)
	b = binary.AppendVarint(b, m.max)
	b = binary.AppendUvarint(b, uint64(len(m.terms)))
	for i := range m.terms {
		b = appendTerms(b, &m.terms[i])
	}
	n := 0
	for _, w := range m.actors {
		n += bits.OnesCount64(w)
	}
	b = binary.AppendUvarint(b, uint64(n))
	before := 0
	for i, w := range m.actors {
		for ; w != 0; w &= w - 1 {
			actor := i*64 + bits.TrailingZeros64(w)
			b = binary.AppendUvarint(b, uint64(actor-before))
			before = actor
		}
	}
	return b
}

// ParsePage appends the entries of the index page b, whose first position is first,
// to dst. After an error it returns dst with its old length.
func ParsePage(b []byte, first uint64, dst []IndexEntry) ([]IndexEntry, error) {
	r := reader{b: b}
	if shape := r.byte(); shape != pageShape && !r.bad {
		return dst, fmt.Errorf("%w: index page of shape %d", ErrNewer, shape)
	}
	count, terms := r.uvarint(), r.uvarint()
	if r.bad || count > MaxPageEntries || terms > count {
		return dst, fmt.Errorf("index page of %d entries with %d terms", count, terms)
	}
	hashes, width := r.take(terms*termsLen), uint64(1)
	if terms > 256 {
		width = 2
	}
	of, actors := r.take(count*width), r.take(count*2)
	at, pos, time := len(dst), first, int64(0)
	for i := uint64(0); i < count && !r.bad; i++ {
		n := uint64(of[i*width])
		if width == 2 {
			n = n<<8 | uint64(of[i*width+1])
		}
		if n >= terms {
			r.fail()
			break
		}
		p := IndexEntry{Terms: parseTerms(hashes[n*termsLen:])}
		p.Terms.Actor = binary.BigEndian.Uint16(actors[i*2:])
		step := r.uvarint()
		p.Pos, p.Number, p.Seq = pos+step, r.uvarint(), r.uvarint()
		p.Time = time + r.varint()
		if i > 0 && step == 0 || p.Pos < pos {
			r.fail()
		}
		pos, time = p.Pos, p.Time
		dst = append(dst, p)
	}
	if r.bad || len(r.b) > 0 {
		return dst[:at], fmt.Errorf("index page of %d bytes does not hold its %d entries", len(b), count)
	}
	return dst, nil
}

func appendTerms(b []byte, s *TermHashes) []byte {
	known := byte(0)
	if s.Known {
		known = 1
	}
	b = append(b, known)
	b = binary.BigEndian.AppendUint32(b, s.Kind)
	b = binary.BigEndian.AppendUint32(b, s.Name)
	b = binary.BigEndian.AppendUint32(b, s.From)
	b = binary.BigEndian.AppendUint32(b, s.To)
	return append(b, s.Origin)
}

func parseTerms(b []byte) TermHashes {
	return TermHashes{Known: b[0] == 1, Kind: binary.BigEndian.Uint32(b[1:]), Name: binary.BigEndian.Uint32(b[5:]),
		From: binary.BigEndian.Uint32(b[9:]), To: binary.BigEndian.Uint32(b[13:]), Origin: b[17]}
}
