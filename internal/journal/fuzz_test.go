package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"testing"
)

// FuzzScan: any bytes give records or an error; never a panic, never more memory
// than twice the ring. With mend the checksums are made right, so that what is
// behind them is reached.
func FuzzScan(f *testing.F) {
	w := written(f, 9, 3)
	img := w.disk.cache[w.r.Offset:][:w.r.Length]
	f.Add(img, uint64(3), false)
	f.Add(img, uint64(0), true)
	f.Add(img[:4*Align], uint64(0), true)
	f.Add([]byte{}, uint64(0), false)
	small := Range{Offset: 39, Length: 3*Align - 39}
	h, err := NewHead(small, Align, w.id)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(h.Append(nil), make([]byte, small.Length-HeadSize)...), uint64(1<<63), true)

	f.Fuzz(func(t *testing.T, data []byte, folded uint64, mend bool) {
		r := Range{Offset: 0, Length: int64(len(data))}
		if mend && len(data) >= HeadSize {
			data = bytes.Clone(data)
			copy(data, headMagic)
			binary.BigEndian.PutUint32(data[8:], formatRing)
			binary.BigEndian.PutUint64(data[24:], uint64(len(data)))
			copy(data[40:], w.id[:])
			binary.BigEndian.PutUint32(data[60:], crc32.Checksum(data[:60], castagnoli))
			if rg, err := readRing(bytes.NewReader(data), r, w.id, w.salt); err == nil {
				for at := int64(0); at < rg.Segments*rg.Segment; at += Align {
					b := data[rg.base+at:]
					if n := binary.BigEndian.Uint32(b[4:]); binary.BigEndian.Uint32(b) == recordMagic {
						lsn := binary.BigEndian.Uint64(b[8:])
						if int64(n) <= int64(len(b)-headerSize) {
							rg.seal(b[:headerSize+int(n)], lsn, at)
						}
						binary.BigEndian.PutUint32(b[20:], crc32.Update(rg.seedAt(at), castagnoli, b[:20]))
					}
				}
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := Scan(bytes.NewReader(data), r, w.id, w.salt, folded)
		next := folded + 1
		if s != nil {
			for rec, rerr := range s.Records() {
				if rerr != nil {
					t.Fatalf("what Scan took for whole is not: %v", rerr)
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
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 2*uint64(len(data))+16<<10 {
			t.Fatalf("%d bytes allocated for a ring of %d", used, len(data))
		}
	})
}
