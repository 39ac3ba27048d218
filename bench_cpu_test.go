//go:build unix

package savepoint_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// processorTime is what the process has used so far, in user and in system mode.
func processorTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGo is the processor time of an event that one goroutine appends without
// waiting, to 2,000 machines in memory; the committer and the engine are part of it.
// With TMPDIR in memory the disk has no part in it.
func BenchmarkGo(b *testing.B) {
	ctx := b.Context()
	db := open(b, filepath.Join(b.TempDir(), "game.db"), nil)
	s := counters(b, db)
	ids := make([]string, 2000)
	for i := range ids {
		ids[i] = fmt.Sprintf("g-%05d", i)
		s.Go(ctx, ids[i], counted{1, "7H", longNote})
	}
	require.NoError(b, db.Flush(ctx))
	var last *savepoint.Ack
	b.ReportAllocs()
	b.ResetTimer()
	start := processorTime(b)
	for i := range b.N {
		last = s.Go(ctx, ids[i%len(ids)], counted{1, "7H", longNote})
	}
	require.NoError(b, last.Err())
	b.ReportMetric(float64(processorTime(b)-start)/float64(b.N), "cpu-ns/event")
}

// BenchmarkLoadFromFile is the processor time of a Load that rebuilds the machine from
// its first state and 60 records, because nothing is kept in memory.
func BenchmarkLoadFromFile(b *testing.B) {
	ctx := b.Context()
	db := open(b, filepath.Join(b.TempDir(), "game.db"), &savepoint.Options{Cache: savepoint.CacheOptions{Off: true}})
	s := counters(b, db)
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = fmt.Sprintf("g-%05d", i)
		for range 60 {
			s.Go(ctx, ids[i], counted{1, "7H", longNote})
		}
	}
	require.NoError(b, db.Flush(ctx))
	b.ReportAllocs()
	b.ResetTimer()
	start := processorTime(b)
	for i := range b.N {
		if _, err := s.Load(ctx, ids[i%len(ids)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-start)/float64(b.N), "cpu-ns/load")
}
