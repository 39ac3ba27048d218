package bolt

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// TestScan_Merges: a scan delivers each machine once, in the order of the keys
// and with its newest head, also where rounds end within the file or the memtable.
func TestScan_Merges(t *testing.T) {
	const machines = 3 * scanAtOnce
	for name, only := range map[string]func(n int) (file, mem bool){
		"all in both":          func(n int) (file, mem bool) { return true, true },
		"file only":            func(n int) (file, mem bool) { return true, false },
		"memtable only":        func(n int) (file, mem bool) { return false, true },
		"alternating":          func(n int) (file, mem bool) { return n%2 == 0, n%3 == 0 },
		"memtable, then file":  func(n int) (file, mem bool) { return n > machines/2, n <= machines/2 },
		"file, then memtable":  func(n int) (file, mem bool) { return n <= machines/2, n > machines/2 },
		"few in the memtable":  func(n int) (file, mem bool) { return true, n%700 == 0 },
		"few between the file": func(n int) (file, mem bool) { return n%700 != 0, n%700 == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			e := openAt(t, filepath.Join(t.TempDir(), "scan.db"), config{journalBytes: 16 << 20, readBytes: 10 << 10})
			var file, mem []engine.Step
			var want []string
			for n := range machines {
				key, seq := fmt.Sprintf("m/%05d", n), uint64(0)
				inFile, inMem := only(n)
				if inFile {
					file, seq = append(file, stepOf(writeOf(key, seq, 1))), seq+1
				}
				if inMem {
					mem, seq = append(mem, stepOf(writeOf(key, seq, 1))), seq+1
				}
				if seq > 0 {
					want = append(want, fmt.Sprint(key, " ", seq))
				}
			}
			require.NoError(t, commitSteps(e, file...))
			require.NoError(t, makeCheckpoint(e, nil))
			require.NoError(t, commitSteps(e, append(mem, stepOf(writeOf("n/other", 0, 1)))...))
			scan := func(after string, limit int) (got []string) {
				require.NoError(t, e.Scan(t.Context(), "m/", after, limit, func(machine string, h engine.Head) error {
					require.NoError(t, h.Err)
					got = append(got, fmt.Sprint(machine, " ", h.Seq))
					return nil
				}))
				return got
			}
			require.Equal(t, want, scan("", 0))
			for _, limit := range []int{1, scanAtOnce - 1, scanAtOnce, scanAtOnce + 1, machines} {
				require.Equal(t, want[:min(limit, len(want))], scan("", limit), "limit %d", limit)
			}
			for _, after := range []string{"m/00000", "m/01234", "m/02999", "m/9"} {
				from := slices.IndexFunc(want, func(s string) bool { return strings.Fields(s)[0] > after })
				if from < 0 {
					from = len(want)
				}
				require.Equal(t, append([]string(nil), want[from:]...), scan(after, 0), "after %s", after)
			}
		})
	}
}

// TestScan_CheckpointBetween: what a checkpoint stores between the moment when a
// round copies its refs and its transaction is read as the transaction has it, and a
// machine that was purged then is left out (R10).
func TestScan_CheckpointBetween(t *testing.T) {
	e := openAt(t, filepath.Join(t.TempDir(), "scan.db"), config{journalBytes: 1 << 20})
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 1)), stepOf(writeOf("b", 0, 1)), stepOf(writeOf("c", 0, 1))))
	s := newHeadScan(e, "", "")
	s.mem.start(e.memtable, s.from, scanAtOnce)
	purge := writeOf("b", 1, 0)
	purge.Purge = true
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 1, 4)), stepOf(purge)))
	require.NoError(t, e.view(func(tx *txn) (err error) {
		s.mem.checkpointed, _, err = parseJournalState(tx)
		s.file.copy(tx, s.prefix, s.from, scanAtOnce, e.opt.readBytes)
		return err
	}))
	var got []string
	n, err := s.round(context.Background(), scanAtOnce, func(machine string, h engine.Head) error {
		got = append(got, fmt.Sprint(machine, " ", h.Seq))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a 5", "c 1"}, got)
	require.Equal(t, len(got), n)
}

// TestScan_PurgedBetween: a machine that is purged after the scan has listed the
// machines of the memtable is left out, and does not count: the round does not go on
// in the file past the machines whose newest writes it has copied.
func TestScan_PurgedBetween(t *testing.T) {
	const machines = scanAtOnce + 100
	e := openAt(t, filepath.Join(t.TempDir(), "scan.db"), config{journalBytes: 16 << 20})
	write := func(seq uint64, except int) {
		var steps []engine.Step
		for n := range machines {
			if n != except {
				steps = append(steps, stepOf(writeOf(fmt.Sprintf("m/%05d", n), seq, 1)))
			}
		}
		require.NoError(t, commitSteps(e, steps...))
	}
	write(0, -1)
	s := newHeadScan(e, "m/", "")
	require.NoError(t, commitSteps(e, stepOf(engine.Write{Machine: "m/00005", Expect: 1, Purge: true})))
	write(1, 5)
	n := 0
	require.NoError(t, s.run(t.Context(), 0, func(machine string, h engine.Head) error {
		require.NotEqual(t, "m/00005", machine)
		require.Equal(t, uint64(2), h.Seq, machine)
		n++
		return nil
	}))
	require.Equal(t, machines-1, n)
}
