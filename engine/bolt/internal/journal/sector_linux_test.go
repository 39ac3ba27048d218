package journal

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkSectors compares ways to make a record durable in a file that is
// really written: padded to Align or packed, O_DSYNC or a sync call or O_DIRECT. They take
// turns, a few writes each, so that a busy disk is the same for all; the ratio
// to the first is what to read, appends/s are of the median write.
func BenchmarkSectors(b *testing.B) {
	const size = 16 << 20
	ways := []struct {
		name   string
		flags  int
		packed bool
		sync   func(fd int) error
	}{
		{"dsync", syscall.O_DSYNC, false, nil},
		{"dsync-packed", syscall.O_DSYNC, true, nil},
		{"fdatasync", 0, false, syscall.Fdatasync},
		{"fsync", 0, false, syscall.Fsync},
		{"direct", syscall.O_DIRECT | syscall.O_DSYNC, false, nil},
	}
	for _, payload := range []int{200, 2000, 20000, 200000} {
		b.Run(fmt.Sprint(payload), func(b *testing.B) {
			dir := b.TempDir()
			files := make([]*os.File, len(ways))
			took := make([][]time.Duration, len(ways))
			at := make([]int64, len(ways))
			var g Group
			g.Write(make([]byte, payload))
			padded := g.padded()
			for i, w := range ways {
				path := fmt.Sprintf("%s/%d", dir, i)
				require.NoError(b, os.WriteFile(path, make([]byte, size), 0o600))
				f, err := os.OpenFile(path, os.O_RDWR|w.flags, 0)
				if err != nil {
					b.Skipf("%s: %v", w.name, err)
				}
				defer f.Close()
				require.NoError(b, f.Sync())
				files[i] = f
			}
			for b.Loop() {
				for i, w := range ways {
					rec := padded
					if w.packed {
						rec = padded[:headerSize+payload]
					}
					fd := int(files[i].Fd())
					for range 4 {
						if at[i]+int64(len(rec)) > size {
							at[i] = 0
						}
						begin := time.Now()
						_, err := files[i].WriteAt(rec, at[i])
						if err == nil && w.sync != nil {
							err = w.sync(fd)
						}
						if err != nil {
							b.Fatal(err)
						}
						took[i] = append(took[i], time.Since(begin))
						at[i] += int64(len(rec))
					}
				}
			}
			var first time.Duration
			for i, w := range ways {
				slices.Sort(took[i])
				median := took[i][len(took[i])/2]
				if i == 0 {
					first = median
				}
				b.ReportMetric(1/median.Seconds(), w.name+"/s")
				b.ReportMetric(float64(median)/float64(first), w.name+"-ratio")
			}
		})
	}
}
