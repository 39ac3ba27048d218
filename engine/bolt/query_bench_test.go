package bolt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// benchHistory makes groups of events as a game server has them: 10,000
// machines with four actors each, six events, six phases, and a rare one.
type benchHistory struct {
	tb      testing.TB
	e       *Engine
	r       *rand.Rand
	seqs    []uint64
	total   int
	scratch []byte
	head    []byte
	steps   []engine.Step
	out     []engine.Result
}

func newBenchHistory(tb testing.TB, e *Engine) *benchHistory {
	return &benchHistory{tb: tb, e: e, r: rand.New(rand.NewPCG(1, 2)), seqs: make([]uint64, benchMachines), head: make([]byte, 100)}
}

func (h *benchHistory) group(n int, name string) {
	phases := [...]string{"waiting", "preparation", "declaration", "turn", "scoring", "over"}
	names := [...]string{"dealt", "declared", "played", "passed", "turned", "scored"}
	h.steps, h.scratch = h.steps[:0], h.scratch[:0]
	h.out = append(h.out[:0], make([]engine.Result, n)...)
	writes, events := make([]engine.Write, n), make([]engine.Event, n)
	for i := range n {
		m := h.r.IntN(benchMachines)
		k := h.r.IntN(6)
		env := record.Envelope{Time: 1_700_000_000_000_000 + int64(h.total)*1000, Version: 1 << 32, Name: names[k], From: phases[k], To: phases[(k+h.r.IntN(2))%6],
			Actor: fmt.Sprintf("player-%d-%d", m, h.r.IntN(4)), Origin: 1, Payload: h.head[:60]}
		if name != "" {
			env.Name = name
		}
		events[i] = engine.Event{Bytes: env.Append(nil), Terms: engine.Terms{Time: env.Time}}
		writes[i] = engine.Write{Machine: fmt.Sprintf("\x04game/%06d", m), Kind: 1, Expect: h.seqs[m], Seq: h.seqs[m] + 1, Events: events[i : i+1], Head: h.head}
		h.seqs[m]++
		h.total++
		h.steps = append(h.steps, engine.Step{Writes: writes[i : i+1]})
	}
	require.NoError(h.tb, h.e.Commit(context.Background(), h.steps, h.out))
	for i := range h.out {
		require.NoError(h.tb, h.out[i].Err)
	}
}

// BenchmarkBoltSustained appends 400,000 events in groups of 64 and stores them
// all in the buckets. "us/event" is processor time.
func BenchmarkBoltSustained(b *testing.B) {
	for b.Loop() {
		h := newBenchHistory(b, openAt(b, filepath.Join(b.TempDir(), "sustained.db"), config{journalBytes: 32 << 20}))
		for range benchMachines / 500 {
			h.group(500, "")
		}
		begin, used := time.Now(), processorTime(b)
		for range 400_000 / 64 {
			h.group(64, "")
		}
		require.NoError(b, makeCheckpoint(h.e, nil))
		b.ReportMetric(400_000/time.Since(begin).Seconds(), "events/s")
		b.ReportMetric(float64((processorTime(b)-used).Microseconds())/400_000, "us/event")
	}
}

// BenchmarkBoltQuery searches a million events, as they are found after a clean
// close and with a journal that holds the newest of them.
func BenchmarkBoltQuery(b *testing.B) {
	path := filepath.Join(b.TempDir(), "query.db")
	e := openAt(b, path, config{journalBytes: 32 << 20})
	h := newBenchHistory(b, e)
	for i := range 2000 {
		if h.group(500, ""); i == 700 {
			h.group(1, "rare")
		}
	}
	for _, checkpointed := range []bool{false, true} {
		if checkpointed {
			require.NoError(b, makeCheckpoint(e, nil))
		}
		for name, q := range map[string]engine.Query{
			"RareEvent":   {Name: "rare"},
			"RareNewest":  {Name: "rare", Newest: true},
			"NoSuchActor": {Actor: "nobody"},
			"OneActor":    {Actor: "player-77-1"},
			"NoSuchPath":  {From: "over", To: "turn"},
			"OneSecond":   {MinTime: 1_700_000_500_000_000, MaxTime: 1_700_000_501_000_000},
			"Newest100":   {Newest: true},
		} {
			b.Run(fmt.Sprintf("%s/checkpointed=%t", name, checkpointed), func(b *testing.B) {
				found := 0
				for b.Loop() {
					found = 0
					require.NoError(b, e.Query(context.Background(), q, func(engine.Record) error {
						if found++; found == 100 {
							return engine.Stop
						}
						return nil
					}))
				}
				b.ReportMetric(float64(found), "found")
			})
		}
	}
	b.Run("Feed", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n = 0
			_, err := e.Feed(context.Background(), 0, func(engine.Record) error { n++; return nil })
			require.NoError(b, err)
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}

// processorTime returns the processor time that this process has used, 0 if the
// system does not report it.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.ParseInt(fields[11], 10, 64)
	require.NoError(tb, err)
	system, err := strconv.ParseInt(fields[12], 10, 64)
	require.NoError(tb, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}
