package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stateOf returns bytes like those of an encoded state: names that all states have,
// and values that only state i has.
func stateOf(i int) []byte {
	r := rand.New(rand.NewPCG(7, uint64(i)))
	var b []byte
	for _, name := range []string{"current_player", "required_piece_count", "turn_order", "declared", "captured_piles", "zero_declares_in_a_row"} {
		b = fmt.Appendf(b, "%s=%d,secret-%d-%x;", name, r.IntN(9), i, r.Uint64())
	}
	return b
}

func dictionaryOf(t testing.TB, b []byte) *Dictionary {
	t.Helper()
	d, err := NewDictionary(b)
	require.NoError(t, err)
	return d
}

func statesDictionary(t testing.TB) *Dictionary {
	t.Helper()
	return dictionaryOf(t, Common([][]byte{stateOf(1), stateOf(2), stateOf(3)}, LongestDictionary))
}

func TestDictionary_RoundTrip(t *testing.T) {
	full := make([]byte, 0, LongestDictionary)
	for i := 0; len(full) < LongestDictionary; i++ {
		full = append(full, stateOf(i)...)
	}
	dictionaries := map[string]*Dictionary{
		"common": statesDictionary(t),
		"zeros":  dictionaryOf(t, make([]byte, ShortestDictionary)),
		"noise":  dictionaryOf(t, noise(LongestDictionary)),
		"full":   dictionaryOf(t, full[:LongestDictionary]),
	}
	var scratch []byte
	for name, d := range dictionaries {
		payloads := [][]byte{{}, []byte("x"), stateOf(9), make([]byte, LongestShared), noise(LongestShared), noise(5000),
			bytes.Clone(d.Bytes()), append(bytes.Clone(d.Bytes()), d.Bytes()...), bytes.Repeat(stateOf(5), 20), bytes.Repeat([]byte{1}, LongestShared+1)}
		for i, p := range payloads {
			want := bytes.Clone(p)
			encoded, codec, newScratch := d.Encode(scratch, p)
			assert.Equal(t, want, p, "the payload is not touched")
			assert.LessOrEqual(t, len(encoded), len(p))
			var got []byte
			var err error
			if codec == Shared {
				encoded = bytes.Clone(encoded)
				got, scratch, err = d.Decode(newScratch, encoded, uint32(len(p)))
			} else {
				got, scratch, err = Decode(nil, codec, encoded, uint32(len(p)))
			}
			require.NoError(t, err, "%s: payload %d", name, i)
			assert.True(t, bytes.Equal(want, got), "%s: payload %d", name, i)
		}
	}
}

func TestDictionary_Shrinks(t *testing.T) {
	d, p := statesDictionary(t), stateOf(9)
	alone, _, _ := Encode(nil, p)
	encoded, codec, _ := d.Encode(nil, p)
	assert.Equal(t, Shared, codec)
	assert.Less(t, len(encoded), len(alone)*3/4)
	id, err := DictionaryID(encoded)
	require.NoError(t, err)
	assert.Equal(t, d.ID(), id)
	_, codec, _ = d.Encode(nil, noise(1000))
	assert.Equal(t, Raw, codec, "what does not shrink stays")
	_, codec, _ = d.Encode(nil, make([]byte, LongestShared+1))
	assert.Equal(t, Snappy, codec, "a long one has enough of itself")
}

// TestDictionary_IsSnappy decodes a payload as docs/FORMAT.md describes it, without
// the code of this package.
func TestDictionary_IsSnappy(t *testing.T) {
	d, p := statesDictionary(t), stateOf(9)
	encoded, _, _ := d.Encode(nil, p)
	text := d.Bytes()
	block := binary.AppendUvarint(nil, uint64(len(text)+len(p)))
	block = append(block, 61<<2, byte(len(text)-1), byte((len(text)-1)>>8))
	block = append(append(block, text...), encoded[4:]...)
	all, err := snappy.Decode(nil, block)
	require.NoError(t, err)
	assert.Equal(t, append(bytes.Clone(text), p...), all)
}

func TestDictionary_DamageAndClaims(t *testing.T) {
	d, p := statesDictionary(t), stateOf(9)
	encoded, _, _ := d.Encode(nil, p)
	other := dictionaryOf(t, noise(200))
	_, _, err := other.Decode(nil, encoded, uint32(len(p)))
	require.ErrorContains(t, err, "needs dictionary")
	for n := range encoded {
		_, _, err := d.Decode(nil, encoded[:n], uint32(len(p)))
		require.Error(t, err, "%d bytes of %d", n, len(encoded))
	}
	for _, raw := range []int{0, len(p) - 1, len(p) + 1} {
		_, _, err := d.Decode(nil, encoded, uint32(raw))
		require.Error(t, err, "%d bytes", raw)
	}
	for raw, why := range map[uint32]string{LongestShared: "cannot hold", LongestShared + 1: "longer than allowed", 1<<32 - 1: "longer than allowed"} {
		_, scratch, err := d.Decode(nil, encoded[:10], raw)
		require.ErrorContains(t, err, why)
		assert.Zero(t, cap(scratch), "nothing is allocated for a claim")
	}
	_, _, err = Decode(nil, Shared, encoded, uint32(len(p)))
	require.Error(t, err)
	for _, n := range []int{0, ShortestDictionary - 1, LongestDictionary + 1} {
		_, err := NewDictionary(make([]byte, n))
		require.Error(t, err)
	}
}

func TestDictionary_DoesNotAllocate(t *testing.T) {
	d, p := statesDictionary(t), stateOf(9)
	encoded, _, scratch := d.Encode(nil, p)
	encoded = bytes.Clone(encoded)
	_, back, err := d.Decode(nil, encoded, uint32(len(p)))
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		d.Encode(scratch, p)
		if _, _, err := d.Decode(back, encoded, uint32(len(p))); err != nil {
			t.Fatal(err)
		}
	}))
}

func TestCommon_NothingOfOneAlone(t *testing.T) {
	var states [][]byte
	for i := range 8 {
		states = append(states, append(stateOf(i), stateOf(i)...)) // in two payloads, not only twice in one
	}
	common := Common(states, LongestDictionary)
	assert.Contains(t, string(common), "zero_declares_in_a_row=")
	covered := make([]bool, len(common))
	for i := range len(common) - commonWindow + 1 {
		n := 0
		for _, s := range states {
			if bytes.Contains(s, common[i:i+commonWindow]) {
				n++
			}
		}
		for at := i; n > 1 && at < i+commonWindow; at++ {
			covered[at] = true
		}
	}
	assert.NotContains(t, covered, false, "a byte that no two states have, with those beside it")
	for i := range states {
		assert.NotContains(t, string(common), fmt.Sprintf("secret-%d-", i))
	}
	assert.Len(t, Common(states, 20), 20)
	assert.Empty(t, Common(states[:1], LongestDictionary))
	assert.Empty(t, Common(nil, LongestDictionary))
	assert.Empty(t, Common([][]byte{[]byte("short"), []byte("short")}, LongestDictionary))
}

func FuzzDictionary_RoundTrip(f *testing.F) {
	f.Add(bytes.Join([][]byte{stateOf(1), stateOf(2)}, nil), stateOf(3))
	f.Add(make([]byte, 100), bytes.Repeat([]byte{0, 1}, 400))
	f.Fuzz(func(t *testing.T, text, payload []byte) {
		d, err := NewDictionary(text)
		if err != nil {
			return
		}
		encoded, codec, scratch := d.Encode(nil, payload)
		if codec != Shared {
			encoded2, codec2, _ := Encode(nil, payload)
			if codec != Raw && (codec != codec2 || !bytes.Equal(encoded, encoded2) || len(payload) <= LongestShared) {
				t.Fatalf("codec %d: the elements did not say the payload", codec)
			}
			return
		}
		got, _, err := d.Decode(scratch, bytes.Clone(encoded), uint32(len(payload)))
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%x became %x: %v", payload, got, err)
		}
	})
}

func FuzzDictionary_Decode(f *testing.F) {
	d := statesDictionary(f)
	encoded, _, _ := d.Encode(nil, stateOf(3))
	f.Add(encoded[4:], uint32(len(stateOf(3))))
	f.Add([]byte{0xfe, 0xff, 0xff}, uint32(64))
	f.Fuzz(func(t *testing.T, elements []byte, raw uint32) {
		payload := append(binary.BigEndian.AppendUint32(nil, d.ID()), elements...)
		got, scratch, err := d.Decode(nil, payload, raw)
		if err == nil && uint64(len(got)) != uint64(raw) {
			t.Fatalf("%d bytes, not %d", len(got), raw)
		}
		if cap(scratch) > 2*(LongestDictionary+LongestShared)+len(elements)+64 {
			t.Fatalf("%d bytes of scratch", cap(scratch))
		}
	})
}
