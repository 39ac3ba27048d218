package bolt

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// commitAllocs returns how many allocations the commit of a group makes, while no
// checkpoint is due. The group has one step for each machine, with the given number
// of events.
func commitAllocs(t *testing.T, o config, machines, events int) float64 {
	t.Helper()
	const warm, runs = 10, 40
	e := openAt(t, filepath.Join(t.TempDir(), "allocs.db"), o)
	groups := make([][]engine.Step, warm+runs+1)
	for i := range groups {
		for m := range machines {
			groups[i] = append(groups[i], stepOf(writeOf(fmt.Sprint("machine ", m), uint64(i*events), events)))
		}
	}
	out := make([]engine.Result, machines)
	next := 0
	commit := func() {
		if err := e.Commit(t.Context(), groups[next], out); err != nil {
			t.Fatal(err)
		}
		next++
	}
	for range warm {
		commit()
	}
	allocs := testing.AllocsPerRun(runs, commit)
	for i := range out {
		require.NoError(t, out[i].Err)
	}
	return allocs
}

// TestJournal_CommitAllocs: a commit allocates two or three times for a group, and
// not for each event.
func TestJournal_CommitAllocs(t *testing.T) {
	for _, c := range []struct {
		machines, events int
		most             float64
	}{{1, 1, 4}, {64, 1, 4}, {256, 1, 4}, {64, 16, 4}} {
		n := commitAllocs(t, config{journalBytes: 16 << 20}, c.machines, c.events)
		assert.LessOrEqual(t, n, c.most, "%d machines, %d events each", c.machines, c.events)
	}
}
