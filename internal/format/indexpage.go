package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
)

// A stretch is the payload that says where the records of consecutive positions
// are, and what they are about, as sums: it is a hint, the record is the truth.
// Its first position is in the value's header. uv is a uvarint, ± a zigzag
// varint, the rest is big-endian:
//
//	shape 1, uv count, uv terms
//	for each of the terms   known 1, kind 4, name 4, from 4, to 4, origin 1
//	which of them           count x 1, or x 2 if there are more than 256
//	actor                   count x 2
//	for each record         uv pos - pos before, uv machine number, uv seq, ± time - time before
//
// The first record counts from the first position and from time 0.

// IndexEntry is where the record of a position is, and what it is about.
type IndexEntry struct {
	Pos, Number, Seq uint64
	Time             int64
	Terms            TermHashes
}

// TermHashes stand for the terms of a record. Two records with the same term have the
// same sum; the reverse need not be. The zero value is a record whose terms
// nobody knows.
type TermHashes struct {
	Known          bool   // all but Kind
	Kind           uint32 // its number
	Name, From, To uint32
	Origin         uint8
	Actor          uint16
}

// HashTerm is the sum of a name or a phase.
func HashTerm(term []byte) uint32 { return crc32.Checksum(term, castagnoli) }

// HashActor is the sum of an actor.
func HashActor(actor []byte) uint16 {
	n := HashTerm(actor)
	return uint16(n ^ n>>16)
}

const (
	pageShape = 1
	termsLen  = 18
)

// MaxPageEntries is the most places a stretch has.
const MaxPageEntries = 4096

// PageLimit is more than a stretch ever takes.
const PageLimit = MaxPageEntries * (termsLen + 4 + 4*binary.MaxVarintLen64)

// PageBuilder makes stretches and their contents. It reuses its room.
type PageBuilder struct {
	numbers map[TermHashes]uint16
	terms   []TermHashes
	of      []uint16
	actors  [1 << 16 / 64]uint64 // a bit for each
	min     int64
	max     int64
}

// Append adds the stretch of places, which are ascending by position, the first
// at or behind first.
func (m *PageBuilder) Append(dst []byte, first uint64, places []IndexEntry) []byte {
	m.count(places)
	b := append(dst, pageShape)
	b = binary.AppendUvarint(b, uint64(len(places)))
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
	for i := range places {
		b = binary.BigEndian.AppendUint16(b, places[i].Terms.Actor)
	}
	pos, time := first, int64(0)
	for i := range places {
		p := &places[i]
		b = binary.AppendUvarint(b, p.Pos-pos)
		b = binary.AppendUvarint(b, p.Number)
		b = binary.AppendUvarint(b, p.Seq)
		b = binary.AppendVarint(b, p.Time-time)
		pos, time = p.Pos, p.Time
	}
	return b
}

// count gathers the terms, actors and times of places.
func (m *PageBuilder) count(places []IndexEntry) {
	if m.numbers == nil {
		m.numbers = map[TermHashes]uint16{}
	}
	clear(m.numbers)
	clear(m.actors[:])
	m.terms, m.of = m.terms[:0], m.of[:0]
	m.min, m.max = math.MaxInt64, math.MinInt64
	for i := range places {
		p := &places[i]
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

// Summary adds what the stretch appended last is about.
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

// ParsePage adds the places of a stretch to dst.
func ParsePage(b []byte, first uint64, dst []IndexEntry) ([]IndexEntry, error) {
	r := reader{b: b}
	if shape := r.byte(); shape != pageShape && !r.bad {
		return dst, fmt.Errorf("%w: stretch of shape %d", ErrNewer, shape)
	}
	count, terms := r.uvarint(), r.uvarint()
	if r.bad || count > MaxPageEntries || terms > count {
		return dst, fmt.Errorf("stretch of %d places with %d terms", count, terms)
	}
	sums, width := r.take(terms*termsLen), uint64(1)
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
		p := IndexEntry{Terms: parseTerms(sums[n*termsLen:])}
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
		return dst[:at], fmt.Errorf("stretch of %d bytes does not hold its %d places", len(b), count)
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
