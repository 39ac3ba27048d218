package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
)

const benchMachines = 10_000

func benchEvent(r *rand.Rand) []byte {
	b := make([]byte, 150)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz012345"[r.IntN(32)]
	}
	return b
}

// BenchmarkBoltCommit commits groups of single-event steps over 10,000 machines.
// The events have 150 bytes that compress to five eighths, the heads have 100.
// After each group it runs one bbolt Update written by hand, which checks the head
// of a machine and puts the head and an event, so that both use the disk in the same
// state. "ratio" is how many events the engine makes durable in the time of one such
// Update.
func BenchmarkBoltCommit(b *testing.B) {
	for _, size := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			ours, theirs := newBenchBolt(b), newBenchByHand(b)
			b.ReportAllocs()
			var took, byHand time.Duration
			events := 0
			for b.Loop() {
				begin := time.Now()
				ours.commit(size)
				took += time.Since(begin)
				events += size
				b.StopTimer()
				begin = time.Now()
				theirs.update()
				byHand += time.Since(begin)
				b.StartTimer()
			}
			perEvent := took.Seconds() / float64(events)
			b.ReportMetric(1/perEvent, "events/s")
			b.ReportMetric(byHand.Seconds()/float64(b.N)/perEvent, "ratio")
		})
	}
}

type benchBolt struct {
	b     *testing.B
	e     *Engine
	r     *rand.Rand
	seqs  []uint64
	names []string
	event []byte
	head  []byte
	steps []engine.Step
	out   []engine.Result
}

func newBenchBolt(b *testing.B) *benchBolt {
	b.Helper()
	e := openAt(b, filepath.Join(b.TempDir(), "ours.db"), config{})
	bb := &benchBolt{b: b, e: e, r: rand.New(rand.NewPCG(1, 2)), seqs: make([]uint64, benchMachines), head: make([]byte, 100)}
	bb.event = benchEvent(bb.r)
	for m := range benchMachines {
		bb.names = append(bb.names, fmt.Sprintf("game/%06d", m))
	}
	for at := 0; at < benchMachines; at += 1000 {
		var writes []int
		for m := at; m < at+1000; m++ {
			writes = append(writes, m)
		}
		bb.write(writes)
	}
	return bb
}

func (bb *benchBolt) commit(size int) {
	var machines [512]int
	for i := range size {
		machines[i] = bb.r.IntN(benchMachines)
	}
	bb.write(machines[:size])
}

func (bb *benchBolt) write(machines []int) {
	bb.steps = bb.steps[:0]
	for len(bb.out) < len(machines) {
		bb.out = append(bb.out, engine.Result{})
	}
	writes := make([]engine.Write, len(machines))
	events := make([]engine.Event, len(machines))
	for i, m := range machines {
		events[i] = engine.Event{Bytes: bb.event, Terms: engine.Terms{Time: int64(m)}}
		writes[i] = engine.Write{Machine: bb.names[m], Kind: 1, Expect: bb.seqs[m], Seq: bb.seqs[m] + 1, Events: events[i : i+1], Head: bb.head}
		bb.seqs[m]++
		bb.steps = append(bb.steps, engine.Step{Writes: writes[i : i+1]})
	}
	out := bb.out[:len(machines)]
	if err := bb.e.Commit(context.Background(), bb.steps, out); err != nil {
		bb.b.Fatal(err)
	}
	for i := range out {
		if out[i].Err != nil {
			bb.b.Fatal(out[i].Err)
		}
	}
}

type benchByHand struct {
	b     *testing.B
	db    *bbolt.DB
	r     *rand.Rand
	seqs  []uint64
	event []byte
}

func newBenchByHand(b *testing.B) *benchByHand {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "theirs.db"), 0o600, &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType, InitialMmapSize: initialMmap})
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	h := &benchByHand{b: b, db: db, r: rand.New(rand.NewPCG(1, 2)), seqs: make([]uint64, benchMachines)}
	h.event = benchEvent(h.r)
	require.NoError(b, db.Update(func(tx *bbolt.Tx) error {
		heads, _ := tx.CreateBucket([]byte("heads"))
		events, _ := tx.CreateBucket([]byte("events"))
		for m := range benchMachines {
			if err := h.put(heads, events, m); err != nil {
				return err
			}
		}
		return nil
	}))
	return h
}

func (h *benchByHand) put(heads, events *bbolt.Bucket, m int) error {
	name := fmt.Appendf(nil, "game/%06d", m)
	if head := heads.Get(name); head != nil && binary.BigEndian.Uint64(head) != h.seqs[m] {
		return fmt.Errorf("conflict")
	}
	h.seqs[m]++
	head := binary.BigEndian.AppendUint64(nil, h.seqs[m])
	if err := heads.Put(name, append(head, make([]byte, 100)...)); err != nil {
		return err
	}
	return events.Put(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(m)), h.seqs[m]), h.event)
}

func (h *benchByHand) update() {
	err := h.db.Update(func(tx *bbolt.Tx) error {
		return h.put(tx.Bucket([]byte("heads")), tx.Bucket([]byte("events")), h.r.IntN(benchMachines))
	})
	if err != nil {
		h.b.Fatal(err)
	}
}

// BenchmarkBoltOpen opens files of 10,000 machines: after a clean close, and as a
// killed process leaves them, with 32 MiB in the journal. The time of the structure
// check is reported separately.
func BenchmarkBoltOpen(b *testing.B) {
	for _, events := range []int{10_000, 1_000_000} {
		bb := newBenchBolt(b)
		for range events/512 - benchMachines/512 {
			bb.commit(512)
		}
		require.NoError(b, bb.e.Close())
		clean := bb.e.path
		full := config{journalBytes: 80 << 20} // no checkpoint is due before most of it is in use
		e, err := openWith(clean, full)
		require.NoError(b, err)
		bb.e = e
		for bytes := 0; bytes < lastJournal; bytes += 512 * 350 {
			bb.commit(512)
		}
		crashed := copyFile(b, e)
		require.NoError(b, e.Close())
		for name, path := range map[string]string{"clean": clean, "crashed": crashed} {
			b.Run(fmt.Sprint(events, "/", name), func(b *testing.B) {
				o := config{journalBytes: firstJournal, journalMaxBytes: lastJournal}
				if name == "crashed" {
					o = full
				}
				var opens, checks []time.Duration
				at, raw := filepath.Join(b.TempDir(), "copy.db"), []byte(nil)
				for range b.N {
					b.StopTimer()
					if raw == nil || name == "crashed" {
						raw, err = os.ReadFile(path)
						require.NoError(b, err)
						require.NoError(b, os.WriteFile(at, raw, 0o600))
						f, err := os.Open(at)
						require.NoError(b, err)
						require.NoError(b, f.Sync()) // otherwise opening would sync it
						require.NoError(b, f.Close())
					}
					b.StartTimer()
					e, err := openWith(at, o)
					b.StopTimer()
					require.NoError(b, err)
					require.Equal(b, name == "clean", e.report.Clean)
					opens, checks = append(opens, e.report.Time-e.report.Check.Time), append(checks, e.report.Check.Time)
					b.ReportMetric(float64(e.report.Replay.Bytes)/(1<<20), "MiB-replayed")
					require.NoError(b, e.Close())
					b.StartTimer()
				}
				for unit, d := range map[string][]time.Duration{"open": opens, "check": checks} {
					slices.Sort(d)
					b.ReportMetric(d[len(d)/2].Seconds()*1e3, "ms/"+unit)
					b.ReportMetric(d[0].Seconds()*1e3, "ms/"+unit+"-best")
				}
			})
		}
	}
}
