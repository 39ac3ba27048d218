package format

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func someEntries(r *rand.Rand, n, terms int) (first uint64, entries []IndexEntry) {
	first = 1 + r.Uint64()>>r.IntN(60)
	first = min(first, 1<<62)
	pos := first
	for i := range n {
		pos += uint64(r.IntN(3) / 2 * r.IntN(1000))
		if i > 0 {
			pos++
		}
		t := uint32(r.IntN(terms))
		entries = append(entries, IndexEntry{Pos: pos, Number: r.Uint64() >> r.IntN(64), Seq: r.Uint64() >> r.IntN(64), Time: r.Int64() - 1<<62,
			Terms: TermHashes{Known: t > 0, Kind: t * 3, Name: t, From: t * 7, To: t * 9, Origin: uint8(t), Actor: uint16(r.Uint32())}})
	}
	return first, entries
}

func TestIndexPage_RoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var builder PageBuilder
	for _, n := range []int{0, 1, 2, 300, MaxPageEntries} {
		for _, terms := range []int{1, 30, 5000} {
			first, entries := someEntries(r, n, terms)
			b := builder.Append(nil, first, entries)
			require.LessOrEqual(t, len(b), PageLimit)
			got, err := ParsePage(b, first, []IndexEntry{{Pos: 7}})
			require.NoError(t, err)
			require.Equal(t, append([]IndexEntry{{Pos: 7}}, entries...), got)
			for i := range len(b) {
				if n > 2 && i > 40 {
					break
				}
				got, err := ParsePage(b[:i], first, []IndexEntry{{Pos: 7}})
				require.Error(t, err)
				require.Len(t, got, 1)
			}
		}
	}
	_, err := ParsePage([]byte{pageShape + 1, 0, 0}, 1, nil)
	require.ErrorIs(t, err, ErrNewer)
}

// TestIndexPage_ManyTerms: the index of an entry's terms takes one byte, or two if
// there are more than 256 terms.
func TestIndexPage_ManyTerms(t *testing.T) {
	var builder PageBuilder
	for terms, width := range map[int]int{255: 1, 256: 1, 257: 2} {
		var entries []IndexEntry
		for i := range 300 {
			entries = append(entries, IndexEntry{Pos: uint64(i + 1), Number: 1, Seq: 1, Terms: TermHashes{Known: true, Name: uint32(i % terms)}})
		}
		b := builder.Append(nil, 1, entries)
		require.Len(t, b, 1+2+2+terms*termsLen+300*(width+2+4))
		got, err := ParsePage(b, 1, nil)
		require.NoError(t, err)
		require.Equal(t, entries, got)
	}
}

// TestIndexPage_Longest: the index page with the most entries and the largest
// numbers is within the limit.
func TestIndexPage_Longest(t *testing.T) {
	var builder PageBuilder
	var entries []IndexEntry
	for i := range uint64(MaxPageEntries) {
		entries = append(entries, IndexEntry{Pos: 1<<63 + i<<50, Number: math.MaxUint64, Seq: math.MaxUint64,
			Time: math.MinInt64 + int64(i%2)*math.MaxInt64, Terms: TermHashes{Known: true, Name: uint32(i)}})
	}
	b := builder.Append(nil, 1, entries)
	require.LessOrEqual(t, len(b), PageLimit)
	require.Greater(t, len(b), PageLimit*8/10, "the limit is not far above")
	got, err := ParsePage(b, 1, nil)
	require.NoError(t, err)
	require.Equal(t, entries, got)
}

// TestIndexPage_Refuses: bytes that contradict themselves are refused.
func TestIndexPage_Refuses(t *testing.T) {
	var builder PageBuilder
	two := builder.Append(nil, 5, []IndexEntry{{Pos: 5, Number: 1, Seq: 1}, {Pos: 6, Number: 1, Seq: 2}})
	const of, second = 3 + termsLen, 3 + termsLen + 2 + 4 + 4
	change := func(at int, to byte) []byte {
		b := bytes.Clone(two)
		b[at] = to
		return b
	}
	same, err := ParsePage(change(second, 1), 5, nil)
	require.NoError(t, err)
	require.Len(t, same, 2)
	for name, b := range map[string][]byte{
		"a term there is not":       change(of, 1),
		"a position twice":          change(second, 0),
		"bytes after the end":       append(bytes.Clone(two), 0),
		"more terms than entries":   append([]byte{pageShape, 0, 1}, make([]byte, termsLen)...),
		"terms beyond any memory":   append(binary.AppendUvarint([]byte{pageShape, 1}, 1<<63), make([]byte, 20)...),
		"positions beyond the last": append(binary.AppendUvarint(bytes.Clone(two[:second]), math.MaxUint64), two[second+1:]...),
	} {
		got, err := ParsePage(b, 5, []IndexEntry{{Pos: 7}})
		require.Error(t, err, name)
		require.Len(t, got, 1, name)
	}
}

// TestTermHashes_AreStored: files hold these hashes, so they must never change.
func TestTermHashes_AreStored(t *testing.T) {
	require.Equal(t, uint32(0xe3069283), HashTerm([]byte("123456789")))
	require.Equal(t, uint16(0xe306^0x9283), HashActor([]byte("123456789")))
	require.Zero(t, HashActor(nil))
}

// FuzzIndexPage: no input makes more entries than it has bytes, and the entries
// that are read are read again after they were written.
func FuzzIndexPage(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 5))
	var builder PageBuilder
	for _, n := range []int{0, 1, 5} {
		first, entries := someEntries(r, n, 3)
		f.Add(builder.Append(nil, first, entries), first)
	}
	f.Fuzz(func(t *testing.T, b []byte, first uint64) {
		var builder PageBuilder
		entries, err := ParsePage(b, first, nil)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(entries), len(b))
		again, err := ParsePage(builder.Append(nil, first, entries), first, nil)
		require.NoError(t, err)
		require.Equal(t, entries, again)
	})
}
