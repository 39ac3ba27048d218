package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
	"github.com/liap-tui/savepoint/internal/long"
)

// copyFile copies an open file between two writes: what a power cut leaves if all
// writes have reached the disk.
func copyFile(t testing.TB, e *Engine) string {
	t.Helper()
	e.writing.Lock()
	defer e.writing.Unlock()
	if e.journal != nil {
		e.journal.checkpointing.Lock()
		defer e.journal.checkpointing.Unlock()
	}
	b, err := os.ReadFile(e.path)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// dump returns everything that an engine delivers as text, with numbers and positions if wanted.
func dump(t testing.TB, e engine.Engine, wants []engine.LoadRange, numbers bool) string {
	t.Helper()
	var b bytes.Buffer
	ctx := context.Background()
	var keys []string
	require.NoError(t, e.Scan(ctx, "", "", 0, func(machine string, h engine.Head) error {
		require.NoError(t, h.Err)
		keys = append(keys, machine)
		fmt.Fprintf(&b, "%q %d %x %q\n", machine, h.Seq, h.Token, h.Bytes)
		if numbers {
			fmt.Fprintf(&b, "  number %d pos %d\n", h.Number, h.Pos)
		}
		return nil
	}))
	for _, k := range keys {
		for i, want := range wants {
			h, err, before := engine.Head{}, engine.ErrChanged, b.Len()
			for errors.Is(err, engine.ErrChanged) { // a checkpoint came in between: load it again
				b.Truncate(before)
				h, err = e.Load(ctx, k, want, func(it engine.Item) error {
					require.NoError(t, it.Err)
					fmt.Fprintf(&b, "  %d: %d %d-%d %q", i, it.Part, it.Seq, it.Last, it.Bytes)
					if numbers {
						fmt.Fprintf(&b, " @%d", it.Pos)
					}
					b.WriteByte('\n')
					return nil
				})
			}
			require.NoError(t, err)
			fmt.Fprintf(&b, "  head %d %q\n", h.Seq, h.Bytes)
		}
	}
	_, err := e.(engine.Feeder).Feed(ctx, 0, func(r engine.Record) error {
		if errors.Is(r.Err, engine.ErrTrimmed) {
			return nil
		}
		require.NoError(t, r.Err)
		fmt.Fprintf(&b, "%q %d %q", r.Machine, r.Seq, r.Bytes)
		if numbers {
			fmt.Fprintf(&b, " @%d", r.Pos)
		}
		b.WriteByte('\n')
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, e.(engine.Querier).Query(ctx, engine.Query{Newest: true}, func(r engine.Record) error {
		require.NoError(t, r.Err)
		fmt.Fprintf(&b, "%q %d %q\n", r.Machine, r.Seq, r.Bytes)
		return nil
	}))
	return b.String()
}

// TestJournal_Equivalence runs one random history on a file without a journal, on
// one with a journal, and in memory. The one with the journal gets checkpoints, is
// closed, killed, opened without a journal, and with a larger or a smaller one, with
// dictionaries or without, at any moment.
//  1. Every commit has the same results, with the same positions (R4, R11).
//  2. Every read returns the same before and after each of these (R1, R10).
func TestJournal_Equivalence(t *testing.T) {
	t.Parallel()
	seed, histories := uint64(time.Now().UnixNano()), long.N(t, 2, 12)
	if s := os.Getenv("RING_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		seed, histories = n, 1
	}
	for i := range histories {
		seed := seed + uint64(i)
		t.Run(fmt.Sprint("RING_SEED=", seed), func(t *testing.T) {
			t.Parallel()
			equalHistories(t, seed, 150)
		})
	}
}

func equalHistories(t *testing.T, seed uint64, rounds int) {
	rng := rand.New(rand.NewPCG(seed, 7))
	direct := openAt(t, filepath.Join(t.TempDir(), "direct.db"), config{dictionaryDue: 1})
	model := memory.New()
	path := filepath.Join(t.TempDir(), "journal.db")
	sizes := []config{journalConfigs["TwoTiny"], journalConfigs["Tiny"], journalConfigs["Small"], journalConfigs["Growing"], {journalBytes: 1 << 20, readBytes: 3000}, {}}
	open := func(path string) *Engine {
		o := sizes[rng.IntN(len(sizes))]
		o.dictionaryDue, o.noCompression = 1+rng.IntN(50), rng.IntN(5) == 0
		e, err := openWith(path, o)
		require.NoError(t, err)
		t.Cleanup(func() {
			if !e.closed {
				require.NoError(t, e.Close())
				checkBolt(t, e.path)
			}
		})
		return e
	}
	e := open(path)
	seqs := map[string]uint64{}
	for range rounds {
		for range 1 + rng.IntN(6) {
			steps := randomSteps(rng, seqs)
			var outs [3][]engine.Result
			for i, eng := range []engine.Engine{direct, e, model} {
				outs[i] = make([]engine.Result, len(steps))
				require.NoError(t, eng.Commit(context.Background(), steps, outs[i]))
			}
			for i := range steps {
				require.Equal(t, outs[0][i], outs[1][i], "rule 1: step %d", i)
				require.Equal(t, outs[0][i].Err == nil, outs[2][i].Err == nil, "step %d in memory: %v", i, outs[2][i].Err)
				if outs[0][i].Err != nil {
					continue
				}
				for _, w := range steps[i].Writes {
					if seqs[w.Machine] = w.Seq; w.Purge {
						delete(seqs, w.Machine)
					}
				}
			}
		}
		switch rng.IntN(12) {
		case 0:
			require.NoError(t, e.Close())
			checkBolt(t, e.path)
			e = open(e.path)
		case 1:
			path := copyFile(t, e)
			killBolt(e)
			e = open(path)
		case 2, 3:
			if e.journal != nil {
				require.NoError(t, makeCheckpoint(e, nil))
			}
		case 4: // what a reader of the copy sees
			r, err := openWith(copyFile(t, e), config{readOnly: true})
			require.NoError(t, err)
			wants := randomWants(rng, 2)
			require.Equal(t, dump(t, direct, wants, true), dump(t, r, wants, true))
			size, err := r.Size(context.Background())
			require.NoError(t, err)
			require.Equal(t, int64(len(seqs)), size.Machines)
			require.NoError(t, r.Close())
		case 5:
			require.NoError(t, e.SetNote(context.Background(), "n", []byte{byte(rng.Uint32())}))
		}
		wants := randomWants(rng, 2)
		require.Equal(t, dump(t, direct, wants, true), dump(t, e, wants, true), "rule 2")
		require.Equal(t, dump(t, model, wants, false), dump(t, e, wants, false), "rule 2, memory")
	}
	made := 0
	direct.dictionaries.known.Range(func(_, _ any) bool { made++; return true })
	require.Positive(t, made, "some snapshots had a dictionary")
}

// randomSteps returns a group of random steps, of which some are refused.
func randomSteps(rng *rand.Rand, seqs map[string]uint64) []engine.Step {
	ahead := map[string]uint64{}
	for k, v := range seqs {
		ahead[k] = v
	}
	var steps []engine.Step
	for range 1 + rng.IntN(5) {
		var s engine.Step
		for n := range 1 + rng.IntN(8)/6 {
			machine := fmt.Sprint("m", (rng.IntN(4)+n*5)%7)
			at := ahead[machine]
			if n > 0 && machine == s.Writes[0].Machine {
				continue
			}
			w := writeOf(machine, at, rng.IntN(4))
			w.Seq += uint64(rng.IntN(20) / 19 * 3)
			w.Seq = max(w.Seq, 1)
			w.Head = fmt.Appendf(nil, "head %d", rng.IntN(1000))
			w.Token[rng.IntN(16)] = byte(rng.Uint32())
			w.Kind, w.Schema = uint32(rng.IntN(2)), uint64(rng.IntN(2))
			for i := range w.Events {
				w.Events[i].Terms.Time = rng.Int64()
			}
			if rng.IntN(3) == 0 {
				seq := uint64(rng.IntN(int(w.Seq) + 1))
				b := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(300))
				if len(b)%2 == 0 {
					b = gameState(w.Kind, machine, uint64(len(b)))
				}
				w.Snapshots = append(w.Snapshots, engine.Snapshot{Seq: seq, Bytes: b})
			}
			if rng.IntN(4) == 0 {
				w.Drop = append(w.Drop, uint64(rng.IntN(int(w.Seq)+1)))
			}
			switch rng.IntN(60) {
			case 0:
				w.TrimTo = uint64(rng.IntN(int(w.Seq) + 1))
			case 1:
				w = engine.Write{Machine: machine, Expect: at, Purge: true}
			case 2:
				w.Expect++ // refused
				w.Seq += 2
			case 3:
				if len(w.Events) > 0 { // larger than a small segment
					w.Events[0].Bytes = bytes.Repeat([]byte{byte(rng.Uint32())}, 9000)
				}
			}
			s.Writes = append(s.Writes, w)
		}
		refused := false
		for _, w := range s.Writes {
			refused = refused || w.Expect != ahead[w.Machine]
		}
		for _, w := range s.Writes {
			if !refused {
				ahead[w.Machine] = w.Seq
			}
		}
		steps = append(steps, s)
	}
	return steps
}

func randomWants(rng *rand.Rand, n int) []engine.LoadRange {
	wants := []engine.LoadRange{everything, {Snapshot: engine.NewestSnapshot, SnapshotTo: engine.All, Events: true, To: engine.All}}
	for range n {
		some := func() uint64 {
			if rng.IntN(3) == 0 {
				return engine.All
			}
			return uint64(rng.IntN(40))
		}
		w := engine.LoadRange{Snapshot: engine.SnapshotSelection(rng.IntN(3)), SnapshotTo: some(), Events: rng.IntN(4) > 0, To: some(), Newest: rng.IntN(2) == 0}
		w.After = uint64(rng.IntN(30) * rng.IntN(2))
		wants = append(wants, w)
	}
	return wants
}
