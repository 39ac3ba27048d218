package savepoint_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func BenchmarkView(b *testing.B) {
	db := open(b, savepoint.Memory, nil)
	s := register(b, db)
	ctx := context.Background()
	for i := range 1000 {
		_, err := s.Append(ctx, fmt.Sprintf("g-%d", i), deal())
		require.NoError(b, err)
	}
	read := func(*savepoint.State[table]) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if err := s.View(ctx, "g-500", read); err != nil {
			b.Fatal(err)
		}
	}
}

var longNote = strings.Repeat("the seat plays and the others look on; ", 2)

// BenchmarkAppend is a durable append of one event of about 120 bytes, by 1 to 512 writers, to 10,000 machines
// that are in the cache.
func BenchmarkAppend(b *testing.B) {
	const machines = 10000
	ids := make([]string, machines)
	for i := range ids {
		ids[i] = fmt.Sprintf("g-%05d", i)
	}
	for i := range 8 {
		writers, journal, name := []int{1, 8, 64, 512}[i/2], int64(-1), "none"
		if i%2 == 1 {
			journal, name = 32<<20, "32MiB"
		}
		b.Run(fmt.Sprintf("writers=%d/journal=%s", writers, name), func(b *testing.B) {
			db := open(b, filepath.Join(b.TempDir(), "game.db"), &savepoint.Options{Journal: journal})
			s := counters(b, db)
			ctx := context.Background()
			var acks []*savepoint.Ack
			for _, id := range ids {
				acks = append(acks, s.Go(ctx, id, counted{1, "7H", longNote}))
			}
			for _, a := range acks {
				require.NoError(b, a.Err())
			}
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(w), 1))
					for next.Add(1) <= int64(b.N) {
						if _, err := s.Append(ctx, ids[r.IntN(machines)], counted{1, "7H", longNote}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// BenchmarkRebuild rebuilds the state of a machine from the file: from its
// newest snapshot alone, from a snapshot and 90 records, from its first state
// and 249 records, and from a snapshot and 90 records of an older version.
func BenchmarkRebuild(b *testing.B) {
	ctx := context.Background()
	up := func(d savepoint.Doc) (savepoint.Doc, error) { return d, nil }
	kind := func(version uint16, policy savepoint.SnapshotPolicy) savepoint.Kind[counter] {
		k := savepoint.Kind[counter]{Name: "counter", Version: savepoint.V(version, 0, 0), Snapshot: policy,
			Events: savepoint.Events[counter]{"counted": counted{}}}
		if version > 1 {
			from, to := savepoint.V(1, 0, 0), savepoint.V(version, 0, 0)
			k.Migrations = []savepoint.Migration{{From: from, To: to, Up: up}, {From: from, To: to, Event: "counted", Up: up}}
		}
		return k
	}
	for _, c := range []struct {
		name    string
		policy  savepoint.SnapshotPolicy
		version uint16
		at      savepoint.Point
	}{
		{"snapshot", savepoint.SnapshotPolicy{Events: 100}, 1, savepoint.Latest()},
		{"tail", savepoint.SnapshotPolicy{Events: 100}, 1, savepoint.AtSeq(190)},
		{"log", savepoint.SnapshotPolicy{Events: -1, Every: -1}, 1, savepoint.AtSeq(249)},
		{"older", savepoint.SnapshotPolicy{Events: 100}, 2, savepoint.AtSeq(190)},
	} {
		b.Run(c.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "game.db")
			db := open(b, path, nil)
			s, err := savepoint.Register(db, kind(1, c.policy))
			require.NoError(b, err)
			var last *savepoint.Ack
			for range 250 {
				last = s.Go(ctx, "g", counted{1, "7H", longNote})
			}
			require.NoError(b, last.Err())
			require.NoError(b, db.Close())
			db = open(b, path, &savepoint.Options{ReadOnly: true})
			s, err = savepoint.Register(db, kind(c.version, c.policy))
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.At(ctx, "g", c.at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
