package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHead_Layout(t *testing.T) {
	for _, c := range []struct {
		offset, length, page, segment int64
		start, segments               int64
		ok                            bool
	}{
		{39, 1 << 20, 0, 1 << 16, 4096 - 39, 15, true},
		{5*4096 + 39, 1 << 20, 4096, 1 << 16, 4096 - 39, 15, true},
		{4096, 1 << 20, 0, 1 << 16, 4096, 15, true},
		{4096 - 64, 1 << 20, 0, 4096, 64, 255, true},
		{4096 - 63, 1 << 20, 0, 4096, 63 + 4096, 254, true},
		{39, 1 << 20, 16384, 1 << 16, 16384 - 39, 15, true},
		{39, 3*4096 - 39, 0, 4096, 4096 - 39, 2, true},
		{39, 3*4096 - 40, 0, 4096, 0, 0, false},
		{39, 1 << 20, 0, 4095, 0, 0, false},
		{39, 1 << 20, 0, 0, 0, 0, false},
		{39, 1 << 20, 0, -4096, 0, 0, false},
		{39, 1 << 20, 1024, 4096, 0, 0, false},
		{39, 1 << 37, 0, 1 << 20, 0, 0, false},
		{39, 1 << 20, 0, 1 << 40, 0, 0, false},
		{-1, 1 << 20, 0, 4096, 0, 0, false},
		{39, 63, 0, 4096, 0, 0, false},
	} {
		r := Range{Offset: c.offset, Length: c.length, Page: c.page}
		h, err := NewHead(r, c.segment, ID{7})
		if !c.ok {
			require.Error(t, err, "%+v", c)
			continue
		}
		require.NoError(t, err, "%+v", c)
		require.Equal(t, Head{ID: ID{7}, Length: c.length, Start: c.start, Segment: c.segment, Segments: c.segments}, h)
		b := h.Append(nil)
		require.Len(t, b, HeadSize)
		got, err := ReadHead(at{c.offset, b}, r)
		require.NoError(t, err)
		require.Equal(t, h, got)
	}
}

// at is a file of which only the bytes at an offset are read.
type at struct {
	off int64
	b   []byte
}

func (a at) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(a.b).ReadAt(p, off-a.off)
}

// TestHead_Bytes holds the format still.
func TestHead_Bytes(t *testing.T) {
	h := Head{ID: ID{0: 1, 15: 2}, Length: 0x100000, Start: 4057, Segment: 0x10000, Segments: 15}
	assert.Equal(t, "737670"+"72696e670a"+"00000001"+"0000000f"+"0000000000000fd9"+"0000000000100000"+
		"0000000000010000"+"01000000000000000000000000000002"+"00000000"+"f81c7c4b", hex.EncodeToString(h.Append(nil)))
	rg := ring{Head: h, seed: Salt{1, 2, 3, 4, 5, 6, 7, 8}.seed()}
	b := append(make([]byte, headerSize), "hello"...)
	rg.seal(b, 258, 3*Align)
	assert.Equal(t, "73767072"+"00000005"+"0000000000000102"+"435f4648"+"fe581d19"+"68656c6c6f", hex.EncodeToString(b))
}

func TestHead_Refused(t *testing.T) {
	w := written(t, 3, 0)
	put := func(change func(b []byte)) error {
		img := bytes.Clone(w.disk.cache)
		b := img[w.r.Offset:][:HeadSize]
		change(b)
		binary.BigEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
		_, err := Scan(bytes.NewReader(img), w.r, w.id, w.salt, 0)
		return err
	}
	require.NoError(t, put(func([]byte) {}))
	require.ErrorIs(t, put(func(b []byte) { b[0]++ }), ErrCorrupt, "magic")
	err := put(func(b []byte) { b[11]++ })
	require.ErrorIs(t, err, ErrNewer)
	require.NotErrorIs(t, err, ErrCorrupt, "newer is not damaged")
	require.ErrorIs(t, put(func(b []byte) { b[40]++ }), ErrForeign)
	for name, i := range map[string]int{"segments": 12, "start": 16, "length": 24, "segment": 32} {
		for k := range 4 {
			require.ErrorIs(t, put(func(b []byte) { b[i+k] ^= 0xff }), ErrCorrupt, name)
		}
	}
	require.ErrorIs(t, put(func(b []byte) { clear(b[12:16]) }), ErrCorrupt, "no segments")
	require.ErrorIs(t, put(func(b []byte) { clear(b[16:24]) }), ErrCorrupt, "records over the head")
	_, err = Scan(w.disk, Range{Offset: 0, Length: 10}, w.id, w.salt, 0)
	require.Error(t, err)
}

// TestHead_Moved: a copy of the value at another place, as a compaction to
// another page size leaves it, is read at the stored start, but not written.
func TestHead_Moved(t *testing.T) {
	w := written(t, 9, 3)
	value := w.disk.cache[w.r.Offset:][:w.r.Length]
	for _, offset := range []int64{1024 + 39, 3 * Align, 8*Align + 39} {
		r := Range{Offset: offset, Length: w.r.Length}
		img := make([]byte, offset+w.r.Length)
		copy(img[offset:], value)
		s, err := Scan(bytes.NewReader(img), r, w.id, w.salt, 3)
		require.NoError(t, err)
		require.Equal(t, 6, s.Len(), "value at %d", offset)

		d := &disk{t: t, cache: img}
		_, err = Open(d, r, w.id, w.newSalt(), 9)
		if offset%Align == w.r.Offset%Align {
			require.NoError(t, err)
			r.Page = 4 * Align
			_, err = Open(d, r, w.id, w.newSalt(), 9)
		}
		require.ErrorIs(t, err, ErrMisaligned, "value at %d", offset)
	}
}
