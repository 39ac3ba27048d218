package format

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testLimit = 1 << 20

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func valueOf(t testing.TB, payload []byte) []byte {
	t.Helper()
	encoded, codec, _ := Encode(nil, payload)
	return AppendValue(nil, &Header{Type: TypeNote, Codec: codec, Kind: 1, Number: 2, Seq: 3, Schema: 4, Raw: uint32(len(payload))}, encoded, nil)
}

// rows C1, L8.
func TestValue_RoundTrip(t *testing.T) {
	for _, payload := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("the same "), 100), noise(5000)} {
		v := valueOf(t, payload)
		h, stored, err := ParseValue(v, testLimit)
		require.NoError(t, err)
		assert.Equal(t, Header{Type: TypeNote, Codec: h.Codec, Kind: 1, Number: 2, Seq: 3, Schema: 4, Raw: uint32(len(payload))}, h)
		got, _, err := Decode(nil, h.Codec, stored, h.Raw)
		require.NoError(t, err)
		assert.Equal(t, payload, append([]byte{}, got...))
		if len(payload) == 900 {
			assert.Equal(t, Snappy, h.Codec)
		} else {
			assert.Equal(t, Raw, h.Codec, "what does not shrink stays")
		}
	}
}

// row C10.
func TestValue_EachFlipIsFound(t *testing.T) {
	v := valueOf(t, bytes.Repeat([]byte("the same "), 20))
	for i := range v {
		for bit := range 8 {
			bad := bytes.Clone(v)
			bad[i] ^= 1 << bit
			_, _, err := ParseValue(bad, testLimit)
			require.Error(t, err, "byte %d bit %d", i, bit)
			require.NotErrorIs(t, err, ErrNewer, "byte %d bit %d: damage is not a newer version", i, bit)
		}
	}
	for n := range v {
		_, _, err := ParseValue(v[:n], testLimit)
		require.Error(t, err)
	}
	_, _, err := ParseValue(append(bytes.Clone(v), 0), testLimit)
	require.Error(t, err)
}

// reseal corrects the checksum of a changed value, as a newer version would write it.
func reseal(v []byte) []byte {
	sum := crc32.Update(crc32.Checksum(v[:44], castagnoli), castagnoli, v[HeaderLen:])
	binary.BigEndian.PutUint32(v[44:], sum)
	return v
}

func TestValue_NewerIsNotDamage(t *testing.T) {
	for at, b := range map[int]byte{4: format + 1, 6: byte(Shared) + 1, 7: 0x80} {
		v := valueOf(t, []byte("payload"))
		v[at] = b
		_, _, err := ParseValue(reseal(v), testLimit)
		require.ErrorIs(t, err, ErrNewer, "byte %d", at)
	}
	for _, flag := range []byte{flagMasked, flagEncrypted} {
		v := valueOf(t, []byte("payload"))
		v[7] = flag
		_, _, err := ParseValue(reseal(v), testLimit)
		require.ErrorIs(t, err, ErrNewer)
		require.ErrorContains(t, err, "masked or encrypted")
	}
}

func TestValue_LimitBeforeMemory(t *testing.T) {
	// Seven bytes that claim 4 GiB.
	bomb := []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0}
	v := AppendValue(nil, &Header{Type: TypeNote, Codec: Snappy, Raw: 1<<32 - 1}, bomb, nil)
	_, _, err := ParseValue(v, testLimit)
	require.ErrorIs(t, err, ErrTooLong)
	for _, raw := range []uint32{10, 1<<32 - 1} {
		allocated := testing.AllocsPerRun(10, func() {
			_, scratch, err := Decode(nil, Snappy, bomb, raw)
			if err == nil || cap(scratch) > 0 {
				t.Fatal("the claim was believed")
			}
		})
		assert.Less(t, allocated, 10.0)
	}
}

func TestValue_AppendDoesNotAllocate(t *testing.T) {
	dst, payload := make([]byte, 0, 4096), noise(1000)
	h := Header{Type: TypeBlock, Raw: 1000}
	scratch := make([]byte, 4096)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		encoded, _, _ := Encode(scratch, payload)
		AppendValue(dst, &h, encoded, nil)
	}))
}

// stored returns the values of a payload of n bytes.
func stored(n int) [][]byte {
	payload := noise(n)
	c := Cut(Header{Type: TypeSnapshot, Number: 7, Seq: 9, Raw: uint32(n)}, payload)
	var values [][]byte
	for {
		v, piece, ok := c.Next(nil)
		if !ok {
			return values
		}
		if int(piece) != len(values) {
			panic("pieces in order")
		}
		values = append(values, v)
	}
}

func join(values [][]byte) ([]byte, error) {
	var j Joiner
	for i, v := range values {
		if err := j.Add(uint32(i), v, testLimit); err != nil {
			return nil, err
		}
	}
	_, b, err := j.Whole()
	return b, err
}

func TestPieces_RoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, LongestValue - HeaderLen, LongestValue - HeaderLen + 1, 2 * pieceLen, 2*pieceLen + 1, 100_000} {
		values := stored(n)
		assert.Len(t, values, Pieces(n))
		for _, v := range values {
			assert.LessOrEqual(t, len(v), LongestValue)
		}
		b, err := join(values)
		require.NoError(t, err, "%d bytes", n)
		assert.Equal(t, noise(n), append([]byte{}, b...))
	}
}

func TestPieces_MissingOrMixedIsFound(t *testing.T) {
	values := stored(20_000)
	n := len(values)
	for name, bad := range map[string][][]byte{
		"first":     values[1:],
		"last":      values[:n-1],
		"middle":    append(append([][]byte{}, values[:3]...), values[4:]...),
		"swapped":   append([][]byte{values[0], values[2], values[1]}, values[3:]...),
		"twice":     append([][]byte{values[0], values[1], values[1]}, values[3:]...),
		"one more":  append(append([][]byte{}, values...), values[0]),
		"none":      {},
		"of others": append(append([][]byte{}, values[:n-1]...), stored(20_001)[n-1]),
		"one whole": append([][]byte{stored(10)[0]}, values[1:]...),
	} {
		_, err := join(bad)
		require.Error(t, err, name)
	}
	other := Cut(Header{Type: TypeSnapshot, Number: 7, Seq: 9, Raw: 20_000}, bytes.Repeat([]byte{1}, 20_000))
	var mixed [][]byte
	for i := range values {
		v, _, _ := other.Next(nil)
		if i == 5 {
			v = values[i]
		}
		mixed = append(mixed, v)
	}
	_, err := join(mixed)
	require.Error(t, err, "a piece of an earlier version of the same snapshot")
}

func entriesOf(n int) []Entry {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	pos := uint64(1000)
	var es []Entry
	for i := range n {
		pos += 1 + r.Uint64N(5)
		es = append(es, Entry{Seq: uint64(41 + i), Pos: pos, Time: r.Int64N(1<<50) - 1<<49, Bytes: noise(r.IntN(200))})
	}
	return es
}

func readBlock(b []byte, first uint64) (es []Entry, err error) {
	block, err := ParseBlock(b, first)
	if err != nil {
		return nil, err
	}
	for e, ok := block.Next(); ok; e, ok = block.Next() {
		es = append(es, e)
	}
	return es, nil
}

func TestBlock_RoundTrip(t *testing.T) {
	for _, n := range []int{1, 2, 10, 500} {
		want := entriesOf(n)
		raw := AppendBlock(nil, want)
		got, err := readBlock(raw, 41)
		require.NoError(t, err)
		for i := range got {
			got[i].Bytes = append([]byte{}, got[i].Bytes...)
		}
		assert.Equal(t, want, got)
		b, err := ParseBlock(raw, 41)
		require.NoError(t, err)
		assert.Equal(t, []uint64{41, uint64(40 + n), want[0].Pos, want[n-1].Pos}, []uint64{b.First, b.Last, b.FirstPos, b.LastPos})
		for _, e := range want {
			assert.True(t, b.MinTime <= e.Time && e.Time <= b.MaxTime)
		}
		assert.Zero(t, testing.AllocsPerRun(10, func() {
			b, _ := ParseBlock(raw, 41)
			for _, ok := b.Next(); ok; _, ok = b.Next() {
			}
		}))
		for cut := range raw {
			_, err := readBlock(raw[:cut], 41)
			require.Error(t, err, "cut at %d", cut)
		}
		_, err = readBlock(append(raw, 1), 41)
		require.Error(t, err)
	}
}

func FuzzParseValue(f *testing.F) {
	f.Add(valueOf(f, []byte("payload")), uint32(0))
	f.Add(valueOf(f, bytes.Repeat([]byte("the same "), 100)), uint32(0))
	f.Add(stored(5000)[0], uint32(0))
	f.Fuzz(func(t *testing.T, v []byte, piece uint32) {
		if len(v) >= HeaderLen { // else the fuzzer would have to find checksums
			v = reseal(bytes.Clone(v))
		}
		const limit = 1 << 16
		h, payload, err := ParseValue(v, limit)
		if err == nil {
			_, scratch, err := Decode(nil, h.Codec, payload, h.Raw)
			if cap(scratch) > limit {
				t.Fatalf("%d bytes of memory for a limit of %d: %v", cap(scratch), limit, err)
			}
		}
		var j Joiner
		if j.Add(piece, v, limit) == nil {
			_, _, _ = j.Whole()
		}
		if cap(j.scratch) > 2*limit {
			t.Fatalf("%d bytes of memory for pieces", cap(j.scratch))
		}
	})
}

func FuzzParseBlock(f *testing.F) {
	f.Add(AppendBlock(nil, entriesOf(1)), uint64(41))
	f.Add(AppendBlock(nil, entriesOf(9)), uint64(41))
	f.Fuzz(func(t *testing.T, b []byte, first uint64) {
		block, err := ParseBlock(b, first)
		if err != nil {
			return
		}
		seq, pos := first, uint64(0)
		for e, ok := block.Next(); ok; e, ok = block.Next() {
			if e.Seq != seq {
				t.Fatalf("event %d, want %d", e.Seq, seq)
			}
			seq, pos = seq+1, e.Pos
		}
		if seq != block.Last+1 || pos != block.LastPos {
			t.Fatalf("ends before %d at %d, want %d at %d", seq, pos, block.Last+1, block.LastPos)
		}
	})
}
