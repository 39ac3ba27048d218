package format

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

func someGroup(r *rand.Rand, writes int) []byte {
	head := GroupHeader{Number: 3, Pos: 9, Machines: 2}
	b := AppendStepLen(head.Append(nil), writes)
	for range writes {
		w := someStepWrite(r)
		b = w.Append(b)
	}
	return b
}

// TestPack_RoundTrip: unpacking returns the group that was packed, and PackGroup
// keeps the bytes before it. A group that was not packed is returned unchanged.
func TestPack_RoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 50 {
		group := someGroup(r, n)
		packed := PackGroup([]byte("before"), group)
		require.Equal(t, "before", string(packed[:6]))
		for _, b := range [][]byte{packed[6:], group} {
			got, err := UnpackGroup(b, int64(len(group)))
			require.NoError(t, err)
			require.Equal(t, group, got)
		}
	}
	b, err := UnpackGroup(nil, 0)
	require.NoError(t, err)
	require.Empty(t, b)
}

// TestPack_Refuses: a damaged group, or one that claims more bytes than allowed, is
// an error, and nothing is allocated for the claim.
func TestPack_Refuses(t *testing.T) {
	group := bytes.Repeat([]byte("a group of this length "), 1000)
	packed := PackGroup(nil, group)
	_, err := UnpackGroup(packed, int64(len(group))-1)
	require.ErrorIs(t, err, ErrTooLong)
	for name, b := range map[string][]byte{
		"nothing":   {packedShape},
		"short":     packed[:len(packed)-1],
		"no length": {packedShape, 0xff, 0xff},
		"bomb":      {packedShape, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00},
		"dense":     append([]byte{packedShape}, snappy.Encode(nil, make([]byte, 1<<20))[:100]...),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = UnpackGroup(b, 1<<40)
		runtime.ReadMemStats(&after)
		require.Error(t, err, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10), name)
	}
}

func FuzzPack(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 4 {
		f.Add(PackGroup(nil, someGroup(r, n)))
		f.Add(someGroup(r, n))
	}
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		group, err := UnpackGroup(b, limit)
		if err != nil || len(b) > 0 && b[0] != packedShape {
			return
		}
		if len(group) > limit {
			t.Fatalf("%d bytes, over the limit", len(group))
		}
		again, err := UnpackGroup(PackGroup(nil, group), limit)
		if err != nil || !bytes.Equal(group, again) {
			t.Fatalf("packed again it is another group: %v", err)
		}
	})
}
