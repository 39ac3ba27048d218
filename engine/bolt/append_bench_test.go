package bolt

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// BenchmarkAppend is the processor time of an event in groups of 64 steps through the
// journal, to 10,000 machines, checkpoints included. With TMPDIR in memory the disk
// has no part in it.
func BenchmarkAppend(b *testing.B) {
	const machines, group = 10_000, 64
	e, err := Open(filepath.Join(b.TempDir(), "game.db"), nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, e.Close()) }()
	names, seqs := make([]string, machines), make([]uint64, machines)
	for i := range names {
		names[i] = fmt.Sprintf("game/%06d", i)
	}
	event, head := make([]byte, 150), make([]byte, 100)
	for i := range event {
		event[i] = "abcdefghijklmnop"[(i*7+i*i)%16]
	}
	steps, out := make([]engine.Step, group), make([]engine.Result, group)
	writes, events := make([]engine.Write, group), make([]engine.Event, group)
	n := uint64(0)
	commit := func() {
		for i := range steps {
			m := (int(n)*7919 + i*31) % machines
			n++
			binary.BigEndian.PutUint64(event[100:], n)
			events[i] = engine.Event{Bytes: append([]byte(nil), event...)}
			writes[i] = engine.Write{Machine: names[m], Kind: 1, Schema: 1, Expect: seqs[m], Seq: seqs[m] + 1, Events: events[i : i+1], Head: head}
			binary.BigEndian.PutUint64(writes[i].Token[:], n)
			steps[i] = engine.Step{Writes: writes[i : i+1]}
			seqs[m]++
		}
		if err := e.Commit(b.Context(), steps, out); err != nil {
			b.Fatal(err)
		}
		for i := range out {
			if out[i].Err != nil {
				b.Fatal(out[i].Err)
			}
		}
	}
	for range 300 { // until the journal has its size
		commit()
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := processorTime(b)
	for range b.N {
		commit()
	}
	b.ReportMetric(float64(processorTime(b)-start)/float64(b.N*group), "cpu-ns/event")
}
