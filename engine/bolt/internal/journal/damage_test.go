package journal

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// written is a world with n records of some blocks, the first of them checkpointed.
func written(t testing.TB, n, checkpointed int) *world {
	w := newWorld(t, 99, true)
	for i := range n {
		require.NoError(t, w.append(string(bytes.Repeat([]byte{byte('a' + i)}, 100+i*900))))
	}
	w.checkpoint(uint64(checkpointed))
	return w
}

func (w *world) at(lsn uint64) int64 {
	for _, p := range w.live {
		if p.LSN == lsn {
			return p.Offset
		}
	}
	w.t.Fatalf("no record %d", lsn)
	return 0
}

// TestDamage_EachByte: each changed byte of the ring is detected, or has no effect,
// or is in the last record, which then is missing.
func TestDamage_EachByte(t *testing.T) {
	w := written(t, 9, 3)
	last := w.live[8]
	found, harmless, ended := 0, 0, 0
	img := slices.Clone(w.disk.cache)
	for i := w.r.Offset; i < w.r.Offset+w.r.Length; i++ {
		if img[i] == 0 && i%13 != 0 && i > w.r.Offset+HeadSize && img[i-1] == 0 && img[i+1] == 0 {
			continue // not each byte of the blocks that were never written
		}
		flip := byte(1 + w.rng.IntN(255))
		img[i] ^= flip
		_, _, err := w.check(bytes.NewReader(img), w.acked)
		switch {
		case err == nil:
			harmless++
		case errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNewer) || errors.Is(err, ErrForeign):
			found++
		default:
			ended++
			_, _, err := w.check(bytes.NewReader(img), w.acked-1)
			require.NoError(t, err, "byte %d", i)
			require.True(t, i >= last.Offset && i < last.Offset+headerSize+int64(last.Length), "byte %d ended the ring", i)
		}
		img[i] ^= flip
	}
	size := 0
	for _, p := range w.live[3:8] {
		size += headerSize + p.Length
	}
	assert.InDelta(t, HeadSize+size, found, 64, "every byte of the head and of the records before the last")
	assert.InDelta(t, headerSize+last.Length, ended, 16)
	assert.Greater(t, harmless, 4000)
	t.Logf("%d found, %d harmless, %d ended the ring", found, harmless, ended)
}

// TestDamage_Report: the error says what is lost, and where the other records are.
func TestDamage_Report(t *testing.T) {
	w := written(t, 9, 3)
	w.disk.cache[w.at(6)+50] ^= 1
	s, err := Scan(w.disk, w.r, w.id, w.salt, w.checkpointed)
	var c *CorruptError
	require.ErrorAs(t, err, &c)
	require.ErrorIs(t, err, ErrCorrupt)
	assert.Equal(t, uint64(6), c.Lost)
	assert.Equal(t, uint64(3), c.Checkpointed)
	assert.Equal(t, []Place{w.live[3], w.live[4], w.live[6], w.live[7], w.live[8]}, c.Whole)
	assert.Equal(t, []Place{w.live[5]}, c.Torn)
	assert.Contains(t, err.Error(), "record 6 is damaged, but 7 is whole")
	var got []uint64
	for _, rec := range s.Records() {
		got = append(got, rec.LSN)
	}
	assert.Equal(t, []uint64{4, 5, 7, 8, 9}, got, "for a salvage")
}

// TestDamage_HeaderOfALaterOne: a record is gone without trace, and of the one
// after it only the header is whole: that proves that a record was lost.
func TestDamage_HeaderOfALaterOne(t *testing.T) {
	w := written(t, 9, 3)
	clear(w.disk.cache[w.at(8):][:Align])
	w.disk.cache[w.at(9)+headerSize+10] ^= 1
	_, err := Scan(w.disk, w.r, w.id, w.salt, w.checkpointed)
	require.ErrorIs(t, err, ErrCorrupt)
	w.checkpoint(7)
	_, err = Scan(w.disk, w.r, w.id, w.salt, w.checkpointed)
	require.ErrorIs(t, err, ErrCorrupt, "with nothing whole before it")

	w = written(t, 9, 3)
	w.disk.cache[w.at(9)+headerSize+10] ^= 1
	s, err := Scan(w.disk, w.r, w.id, w.salt, w.checkpointed)
	require.NoError(t, err)
	assert.Equal(t, &w.live[8], s.Torn)
	assert.Equal(t, uint64(8), s.Last())
}

// TestDamage_Garbage: blocks of garbage anywhere are found, harmless, or the end.
func TestDamage_Garbage(t *testing.T) {
	seeds(t, 1000, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, true)
		for range 12 {
			require.NoError(t, w.step())
		}
		img, at := w.disk.cache, w.disk.area[0]
		size := []int64{sector, Align}[w.rng.IntN(2)]
		at += w.rng.Int64N(testSegments*testSegment) / size * size
		for i := range size {
			img[at+i] = byte(w.rng.Uint32())
		}
		if _, _, err := w.check(w.disk, w.acked); err != nil && !errors.Is(err, ErrCorrupt) {
			_, _, err = w.check(w.disk, w.acked-1)
			require.NoError(t, err)
		}
	})
}

// TestDamage_Moved: a record copied to another block of the ring is not believed
// there, though every byte of it is right.
func TestDamage_Moved(t *testing.T) {
	w := written(t, 4, 0)
	c, first := w.disk.cache, w.at(4)
	for at := w.disk.area[0]; at < w.disk.area[1]; at += Align {
		if at != first {
			img := slices.Clone(c)
			copy(img[at:], c[first:][:Align])
			clear(img[first:][:Align])
			rg := ring{Head: w.head, base: w.disk.area[0], seed: w.salt.seed()}
			_, ok := rg.header(img[at:], at-rg.base)
			require.False(t, ok, "believed at %d", at)
		}
	}
}

// TestDamage_Twice and the next: what no crash can leave is not replayed.
func TestDamage_Twice(t *testing.T) {
	w := written(t, 4, 0)
	rg := ring{Head: w.head, base: w.disk.area[0], seed: w.salt.seed()}
	put := func(lsn uint64, at int64) {
		b := append(make([]byte, headerSize), "again"...)
		rg.seal(b, lsn, at)
		copy(w.disk.cache[rg.base+at:], b)
	}
	scan := func() error {
		_, err := Scan(w.disk, w.r, w.id, w.salt, 0)
		return err
	}
	require.NoError(t, scan())
	put(4, 2*testSegment)
	require.ErrorIs(t, scan(), ErrCorrupt, "the same lsn twice")
	put(5, 2*testSegment)
	require.ErrorIs(t, scan(), ErrCorrupt, "the next lsn at a place where nobody puts it")
	b := w.disk.cache[rg.base+2*testSegment:]
	b[headerSize] ^= 1
	require.ErrorIs(t, scan(), ErrCorrupt, "nor torn")
	clear(b[:Align])
	require.NoError(t, scan())
	put(2, 2*testSegment)
	b[headerSize] ^= 1
	require.ErrorIs(t, scan(), ErrCorrupt, "a torn one of an lsn that is there")
}

// TestDamage_Length: a length beyond the segment is refused before anything is
// read, whatever its checksum says.
func TestDamage_Length(t *testing.T) {
	w := written(t, 1, 0)
	rg := ring{Head: w.head, base: w.disk.area[0], seed: w.salt.seed()}
	b := make([]byte, testSegment+1)
	for _, n := range []int{testSegment - headerSize, testSegment - headerSize + 1} {
		rg.seal(b[:headerSize+n], 2, 0)
		_, ok := rg.header(b, 0)
		assert.Equal(t, n == testSegment-headerSize, ok, "%d bytes at the start of a segment", n)
		_, ok = rg.header(b, Align)
		assert.False(t, ok, "%d bytes in the middle", n)
	}
	rg.seal(b[:headerSize], 0, 0)
	_, ok := rg.header(b, 0)
	assert.False(t, ok, "lsn 0")
}

// TestSalt_Forged: a payload that holds a record with the next lsn, right for its
// place but of another salt, is not believed when the write tears around it. The
// same under the right salt is: the test would see it.
func TestSalt_Forged(t *testing.T) {
	for _, known := range []bool{false, true} {
		w := written(t, 2, 0)
		rg := ring{Head: w.head, base: w.disk.area[0], seed: w.salt.seed()}
		if !known {
			rg.seed = Salt{9, 9, 9}.seed()
		}
		at := w.at(2) - rg.base + Span(w.live[1].Length)
		inner := append(make([]byte, headerSize), "forged"...)
		rg.seal(inner, 3, at+Align)
		payload := make([]byte, Align+200)
		copy(payload[Align-headerSize:], inner)
		require.NoError(t, w.append(string(payload)))
		clear(w.disk.cache[rg.base+at:][:Align]) // the first block was not written
		_, _, err := w.check(w.disk, 2)
		if known {
			require.Error(t, err)
		} else {
			require.NoError(t, err)
		}
	}
}

// TestSalt_StaleRounds: records of earlier rounds and of earlier openings, whole
// and with any lsn, are not replayed.
func TestSalt_StaleRounds(t *testing.T) {
	w := newWorld(t, 3, true)
	for range 100 {
		require.NoError(t, w.append("round"))
		w.checkpoint(w.acked)
	}
	s, err := Scan(w.disk, w.r, w.id, w.salt, w.checkpointed)
	require.NoError(t, err)
	require.Zero(t, s.Len(), "checkpointed")

	// The lsns start again, as after a restored store: only the salt differs.
	w.salt, w.checkpointed, w.acked = w.newSalt(), 90, 90
	w.open()
	require.NoError(t, w.append("new"))
	_, have, err := w.check(w.disk, 91)
	require.NoError(t, err)
	require.Equal(t, map[uint64]string{91: "new"}, have)
}

// TestOpen_SaltUsed: what was not replayed, or an old salt, is refused.
func TestOpen_SaltUsed(t *testing.T) {
	w := written(t, 3, 0)
	_, err := Open(w.disk, w.r, w.id, w.salt, 0)
	require.ErrorIs(t, err, ErrSaltUsed)
	_, err = Open(w.disk, w.r, w.id, w.salt, 3)
	require.ErrorIs(t, err, ErrSaltUsed, "even checkpointed")
	_, err = Open(w.disk, w.r, w.id, w.newSalt(), 3)
	require.NoError(t, err)
	assert.NotEqual(t, NewSalt(), NewSalt())
}
