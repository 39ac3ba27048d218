package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"slices"
	"testing"
)

// sparseHead and sparseBlock are how much of the head and of each block a
// fuzzed input has: enough for the headers and some payload. An image of whole
// blocks would be too large to search.
const (
	sparseHead  = HeadSize
	sparseBlock = headerSize + 8
)

// thick returns the image that the sparse bytes describe, its record area at Align.
func thick(sparse []byte) []byte {
	head := min(len(sparse), sparseHead)
	rest := sparse[head:]
	img := make([]byte, Align+(len(rest)+sparseBlock-1)/sparseBlock*Align)
	copy(img, sparse[:head])
	for at := Align; len(rest) > 0; at += Align {
		n := min(len(rest), sparseBlock)
		copy(img[at:], rest[:n])
		rest = rest[n:]
	}
	return img
}

// thin is what thick makes an image of.
func thin(img []byte) []byte {
	b := slices.Clone(img[:sparseHead])
	for at := Align; at+sparseBlock <= len(img); at += Align {
		b = append(b, img[at:at+sparseBlock]...)
	}
	return b
}

// repairChecksums corrects the checksums of an image, and the length and id in its
// head, so that the code after these checks is reached.
func repairChecksums(data []byte, id ID, salt Salt) {
	copy(data, headMagic)
	binary.BigEndian.PutUint32(data[8:], formatRing)
	binary.BigEndian.PutUint64(data[24:], uint64(len(data)))
	copy(data[40:], id[:])
	binary.BigEndian.PutUint32(data[60:], crc32.Checksum(data[:60], castagnoli))
	rg, err := readRing(bytes.NewReader(data), Range{Length: int64(len(data))}, id, salt)
	if err != nil {
		return
	}
	for at := int64(0); at < rg.Segments*rg.Segment; at += Align {
		b := data[rg.base+at:]
		if binary.BigEndian.Uint32(b) != recordMagic {
			continue
		}
		if n := int64(binary.BigEndian.Uint32(b[4:])); n <= int64(len(b)-headerSize) {
			rg.seal(b[:headerSize+n], binary.BigEndian.Uint64(b[8:]), at)
		}
		binary.BigEndian.PutUint32(b[20:], crc32.Update(rg.seedAt(at), castagnoli, b[:20]))
	}
}

// FuzzScan: any bytes result in records or an error; never a panic, never more memory
// than twice the ring. How the input is taken: as it is, as a sparse image, or
// as one with right checksums.
func FuzzScan(f *testing.F) {
	id, salt := ID{1, 2, 3}, Salt{1, 2, 3}
	r := Range{Offset: 0, Length: 9 * Align}
	h, err := NewHead(r, 2*Align, id)
	if err != nil {
		f.Fatal(err)
	}
	ringOf := func(lsns ...uint64) []byte {
		img := make([]byte, r.Length)
		copy(img, h.Append(nil))
		rg := ring{Head: h, base: h.Start, seed: salt.seed()}
		for i, lsn := range lsns {
			if lsn > 0 {
				rg.seal(img[rg.base+int64(i)*Align:][:headerSize+5+i], lsn, int64(i)*Align)
			}
		}
		return thin(img)
	}
	f.Add([]byte{}, uint64(0), byte(0))
	f.Add(h.Append(nil), uint64(0), byte(0))
	f.Add(ringOf(1, 2, 3, 4, 5), uint64(0), byte(1))
	f.Add(ringOf(9, 10, 3, 4, 5, 6, 7, 8), uint64(4), byte(1))
	f.Add(ringOf(9, 10, 3, 4, 5, 6, 7, 8), uint64(4), byte(2))
	f.Add(ringOf(1, 2, 0, 4, 5), uint64(0), byte(2))
	f.Add(ringOf(1<<63, 1<<64-1), uint64(1<<63-1), byte(2))
	f.Add(ringOf(1<<64-1), uint64(1<<64-1), byte(2))

	f.Fuzz(func(t *testing.T, data []byte, checkpointed uint64, how byte) {
		if how%3 > 0 {
			data = thick(data)
		}
		if how%3 > 1 {
			repairChecksums(data, id, salt)
		}
		r := Range{Offset: 0, Length: int64(len(data))}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := Scan(bytes.NewReader(data), r, id, salt, checkpointed)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 3*uint64(len(data))+16<<10 {
			t.Fatalf("%d bytes allocated for a ring of %d", used, len(data))
		}
		next := checkpointed + 1
		if s != nil {
			for _, rec := range s.Records() {
				again := make([]byte, headerSize+rec.Length)
				if s.ring.read(bytes.NewReader(data), again, rec.Place) != nil || !bytes.Equal(again[headerSize:], rec.Payload) {
					t.Fatalf("what Scan took for record %d is not one", rec.LSN)
				}
				if err == nil && rec.LSN != next {
					t.Fatalf("record %d, want %d", rec.LSN, next)
				}
				next++
			}
		}
		if err == nil && s.Last() != next-1 {
			t.Fatalf("last is %d, want %d", s.Last(), next-1)
		}
	})
}
