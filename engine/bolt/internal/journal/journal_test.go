package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAppend_TooLarge: a segment minus the header is the most.
func TestAppend_TooLarge(t *testing.T) {
	w := newWorld(t, 1, true)
	big := string(make([]byte, testSegment-headerSize))
	require.NoError(t, w.append(big))
	require.ErrorIs(t, w.append(big+"x"), ErrTooLarge)
	require.Equal(t, 1, w.disk.writes)
	w.bypass(big + "x")
	require.Equal(t, uint64(3), w.j.Next(), "what went round the ring took an lsn")
	require.NoError(t, w.append(""))
	w.finish()
}

// TestAppend_Full: nothing is written and the group is as it was; a checkpoint that
// covers only a part of the next segment does not release it.
func TestAppend_Full(t *testing.T) {
	w := newWorld(t, 1, true)
	for range 16 {
		require.NoError(t, w.append("block"))
	}
	for _, checkpointed := range []uint64{0, 1, 3} {
		w.checkpoint(checkpointed)
		require.ErrorIs(t, w.append("x"), ErrFull)
		require.Equal(t, 16, w.disk.writes)
		require.Equal(t, State{Checkpointed: checkpointed, Sealed: 12, Last: 16, Segments: 4, Free: 0}, w.j.State())
	}
	w.checkpoint(4)
	require.Equal(t, 1, w.j.State().Free)
	require.NoError(t, w.append("x"))
	_, err := w.j.Read(1, nil)
	require.ErrorIs(t, err, ErrCheckpointed)
	b, err := w.j.Read(2, nil)
	require.NoError(t, err, "checkpointed, but still there")
	require.Equal(t, "block", string(b))
	w.finish()
}

func TestCheckpointed_Refused(t *testing.T) {
	w := written(t, 3, 2)
	require.ErrorIs(t, w.j.Checkpointed(4), ErrNoRecord, "not acknowledged")
	require.NoError(t, w.j.Checkpointed(1))
	require.Equal(t, uint64(2), w.j.State().Checkpointed, "never back")
	for _, lsn := range []uint64{0, 3, 5} {
		require.Error(t, w.j.Bypass(lsn))
	}
}

// TestRead_Damage: a record that does not pass the checks is not returned, and later
// records are still read.
func TestRead_Damage(t *testing.T) {
	w := written(t, 5, 1)
	buf := make([]byte, 0, 10000)
	for at := w.at(3); at < w.at(3)+headerSize+int64(w.live[2].Length); at += 7 {
		w.disk.cache[at] ^= 4
		_, err := w.j.Read(3, buf)
		require.ErrorIs(t, err, ErrCorrupt, "byte %d", at-w.at(3))
		w.disk.cache[at] ^= 4
	}
	b, err := w.j.Read(4, buf)
	require.NoError(t, err)
	require.Equal(t, w.groups[4], string(b))
	require.Same(t, &buf[:1][0], &b[:1][0], "the caller's buffer")
	require.Equal(t, cap(buf), cap(b), "whole, for the next call")
	require.NoError(t, w.append("damage does not stop the writer"))
}

func TestGroup(t *testing.T) {
	var g Group
	assert.Zero(t, g.Len())
	assert.Empty(t, g.Payload())
	n, err := io.WriteString(&g, "ab")
	assert.Equal(t, 2, n)
	require.NoError(t, err)
	g.Build(func(dst []byte) []byte { return append(dst, "cd"...) })
	assert.Equal(t, "abcd", string(g.Payload()))
	assert.PanicsWithValue(t, "journal: fill removed bytes", func() { g.Build(func([]byte) []byte { return nil }) })
	for _, size := range []int{0, 1, Align, 70000, 1 << 20} {
		g.Reset()
		g.Build(func(dst []byte) []byte { return append(dst, bytes.Repeat([]byte{1}, size)...) })
		b := g.padded()
		assert.Len(t, b, int(Span(size)))
		assert.Zero(t, uintptr(unsafe.Pointer(&b[0]))%Align, "buffers begin at a page")
		assert.Equal(t, len(b)-headerSize-size, bytes.Count(b[headerSize+size:], []byte{0}), "the padding is zeros")
		assert.Equal(t, size, g.Len())
	}
	g.Reset()
	g.Write([]byte("x"))
	b := g.padded()
	assert.Equal(t, Align-headerSize-1, bytes.Count(b[headerSize+1:], []byte{0}), "nothing of the group before")
}

// TestAllocs: an append allocates nothing, nor a read into a buffer that is large
// enough.
func TestAllocs(t *testing.T) {
	h, f := ringFile(t, t.TempDir(), 1<<20, 1<<16)
	j, err := Open(f, h, ID{}, NewSalt(), 0)
	require.NoError(t, err)
	var g Group
	payload := make([]byte, 3000)
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		g.Reset()
		g.Build(func(dst []byte) []byte { return append(dst, payload...) })
		p, err := j.Append(&g)
		if err == nil {
			err = j.Checkpointed(p.LSN)
		}
		if err != nil {
			t.Fatal(err)
		}
	}), "append")
	buf := make([]byte, 0, 4096)
	last := j.State().Last
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		if _, err := j.Read(last, buf); err != nil {
			t.Fatal(err)
		}
	}), "read")
}

// ringFile returns a file on the disk with an empty ring in it, open for writing.
func ringFile(t testing.TB, dir string, size, segment int64) (Range, *Handle) {
	t.Helper()
	r := Range{Offset: 4*Align + 39, Length: size}
	h, err := NewHead(r, segment, ID{})
	require.NoError(t, err)
	path := filepath.Join(dir, "ring.db")
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = f.Write(make([]byte, r.Offset+size+Align))
	require.NoError(t, err)
	_, err = f.WriteAt(h.Append(nil), r.Offset)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	same, err := f.Stat()
	require.NoError(t, err)
	require.NoError(t, f.Close())
	handle, err := OpenHandle(path, same)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, handle.Close()) })
	return r, handle
}

// TestHandle: a real file, written, read back by another descriptor, and refused
// when the name leads to another file.
func TestHandle(t *testing.T) {
	dir := t.TempDir()
	r, f := ringFile(t, dir, 1<<20, 1<<16)
	t.Logf("O_DSYNC: %v, O_DIRECT: %v", f.DSync(), f.direct != nil)
	direct := f.direct
	salt := NewSalt()
	j, err := Open(f, r, ID{}, salt, 0)
	require.NoError(t, err)
	var g Group
	for i := range 100 {
		g.Reset()
		g.Write(binary.BigEndian.AppendUint64(nil, uint64(i)))
		_, err := j.Append(&g)
		require.NoError(t, err)
	}
	j.Close()
	require.Same(t, direct, f.direct, "a Group's bytes begin with a page: none was refused")
	plain, err := os.Open(f.Name())
	require.NoError(t, err)
	defer plain.Close()
	s, err := Scan(plain, r, ID{}, salt, 10)
	require.NoError(t, err)
	require.Equal(t, 90, s.Len())
	for _, rec := range s.Records() {
		require.Equal(t, rec.LSN-1, binary.BigEndian.Uint64(rec.Payload))
	}
	_, err = Open(plain, r, ID{}, NewSalt(), 100)
	require.NoError(t, err, "opening writes nothing")

	same, err := f.Stat()
	require.NoError(t, err)
	require.NoError(t, os.Rename(f.Name(), f.Name()+".old"))
	_, err = OpenHandle(f.Name(), same)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(f.Name(), nil, 0o600))
	_, err = OpenHandle(f.Name(), same)
	require.ErrorContains(t, err, "not the file that was locked")
}

// TestHandle_Direct: other descriptors read what was written bypassing the page
// cache, even those that have read the place before; and what cannot be written
// that way is written through the cache.
func TestHandle_Direct(t *testing.T) {
	_, f := ringFile(t, t.TempDir(), 1<<20, 1<<16)
	t.Logf("O_DIRECT: %v", f.direct != nil)
	plain, err := os.Open(f.Name())
	require.NoError(t, err)
	defer plain.Close()
	disk := NewDirectReader(plain)
	defer disk.Close()
	buf := make([]byte, 1<<16) // so large that it starts at a page boundary
	have := make([]byte, Align+1)
	write := func(b []byte, at int64) {
		t.Helper()
		_, err := f.WriteAt(b, at)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		for _, r := range []io.ReaderAt{plain, f, NewDirectReader(plain), f.File} {
			_, err := r.ReadAt(have[:len(b)], at)
			require.NoError(t, err)
			require.Equal(t, b, have[:len(b)])
		}
	}
	for i := range 20 {
		buf[0]++
		write(buf[:Align], int64(i%3+5)*Align)
	}
	direct := f.direct
	write(buf[1:][:Align], 9*Align)
	require.Nil(t, f.direct, "it was not taken, and is not tried again")
	buf[5]++
	write(buf[:Align+1], 9*Align+7)
	if direct != nil {
		require.ErrorIs(t, direct.Close(), os.ErrClosed)
	}
	n, err := disk.ReadAt(make([]byte, 2*window), 3)
	require.ErrorIs(t, err, io.EOF)
	size, err := plain.Stat()
	require.NoError(t, err)
	require.EqualValues(t, size.Size()-3, n)
	n, err = disk.ReadAt(have, size.Size()+5)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
}

// TestHandle_Sync: without O_DSYNC a sync is one.
func TestHandle_Sync(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.ErrorIs(t, (&Handle{File: f}).Sync(), os.ErrClosed)
	require.NoError(t, (&Handle{File: f, dsync: true}).Sync())
}

// TestConcurrent: one writer, one checkpointer, many readers.
//  1. A reader gets the record's own bytes, or ErrCheckpointed for one that is checkpointed.
//  2. The writer waits for the checkpointer only after ErrFull.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, 1, true)
	payload := func(lsn uint64) []byte {
		b := make([]byte, 8+lsn*631%9000)
		for i := range b {
			b[i] = byte(lsn + uint64(i))
		}
		binary.BigEndian.PutUint64(b, lsn)
		return b
	}
	const last = 3000
	var wg sync.WaitGroup
	var done atomic.Bool
	checkpoint := make(chan uint64)
	wg.Go(func() {
		for lsn := range checkpoint {
			assert.NoError(t, w.j.Checkpointed(lsn))
		}
	})
	var read, gone atomic.Int64
	for r := range 3 {
		wg.Go(func() {
			var buf []byte
			for lsn := uint64(1); !done.Load(); lsn++ {
				st := w.j.State()
				if lsn > st.Last || lsn+20 < st.Checkpointed {
					lsn = max(st.Checkpointed, 1+uint64(r)) - uint64(r)
				}
				b, err := w.j.Read(lsn, buf)
				switch {
				case err == nil:
					read.Add(1)
					if !assert.Equal(t, payload(lsn), b) {
						return
					}
					buf = b
				case errors.Is(err, ErrCheckpointed):
					gone.Add(1)
					assert.LessOrEqual(t, lsn, w.j.State().Checkpointed)
				default:
					assert.ErrorIs(t, err, ErrNoRecord)
					assert.Greater(t, lsn, st.Last)
				}
			}
		})
	}
	for lsn := uint64(1); lsn <= last; {
		w.g.Reset()
		w.g.Write(payload(lsn))
		_, err := w.j.Append(&w.g)
		if errors.Is(err, ErrFull) {
			checkpoint <- w.j.State().Sealed
			continue
		}
		require.NoError(t, err)
		lsn++
	}
	done.Store(true)
	close(checkpoint)
	wg.Wait()
	t.Logf("%d read, %d checkpointed meanwhile", read.Load(), gone.Load())
	assert.Positive(t, read.Load())
}
