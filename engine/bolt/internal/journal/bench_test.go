package journal

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkAppend is one group after another, each written and synced before the
// next, on a real file in the directory for temporary files. Everything is checkpointed at
// once: it measures the ring alone.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{200, 2000, 20000, 200000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			r, f := ringFile(b, b.TempDir(), 32<<20, 1<<20)
			j, err := Open(f, r, ID{}, NewSalt(), 0)
			require.NoError(b, err)
			payload := make([]byte, size)
			var g Group
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				g.Reset()
				g.Build(func(dst []byte) []byte { return append(dst, payload...) })
				p, err := j.Append(&g)
				if err == nil {
					err = j.Checkpointed(p.LSN)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// memory is a file without a disk: what the ring itself costs.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }
func (m memory) Sync() error                              { return nil }

func ringInMemory(b *testing.B, size int64) (Range, memory) {
	r := Range{Offset: 39, Length: size}
	h, err := NewHead(r, 1<<20, ID{})
	require.NoError(b, err)
	m := make(memory, 39+size)
	copy(m[39:], h.Append(nil))
	return r, m
}

// BenchmarkScan measures what a ring adds to opening a file: Scan, then Open.
func BenchmarkScan(b *testing.B) {
	for _, size := range []int{0, 200, 20000} {
		b.Run(fmt.Sprintf("16MiB/records=%d", size), func(b *testing.B) {
			r, m := ringInMemory(b, 16<<20)
			salt := NewSalt()
			j, err := Open(m, r, ID{}, salt, 0)
			require.NoError(b, err)
			var g Group
			g.Write(make([]byte, size))
			for size > 0 && err == nil {
				_, err = j.Append(&g)
			}
			require.True(b, size == 0 || errors.Is(err, ErrFull))
			b.SetBytes(16 << 20)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Scan(m, r, ID{}, salt, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	r, f := ringFile(b, b.TempDir(), 4<<20, 1<<20)
	j, err := Open(f, r, ID{}, NewSalt(), 0)
	require.NoError(b, err)
	var g Group
	g.Write(make([]byte, 2000))
	for range 100 {
		_, err := j.Append(&g)
		require.NoError(b, err)
	}
	var buf []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if buf, err = j.Read(uint64(i%100+1), buf); err != nil {
			b.Fatal(err)
		}
	}
}
