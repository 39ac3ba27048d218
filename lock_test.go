package savepoint_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestLock_TwoProcesses: two processes open one file 50 times each, write and
// close it. They never have it at the same time, and nothing of either is lost.
// The test is the processes too: the variable names the machine.
func TestLock_TwoProcesses(t *testing.T) {
	id, path := os.Getenv("SAVEPOINT_TEST_TAKE_TURNS"), os.Getenv("SAVEPOINT_TEST_FILE")
	times := 50
	if testing.Short() {
		times = 15
	}
	if id != "" {
		for i := 1; i <= times; i++ {
			db, err := savepoint.Open(path, &savepoint.Options{LockTimeout: time.Minute})
			require.NoError(t, err)
			alone, err := os.OpenFile(path+".held", os.O_CREATE|os.O_EXCL, 0o600)
			require.NoError(t, err, "somebody else has it open")
			require.NoError(t, alone.Close())
			s, err := savepoint.Register(db, ledgerKind(7))
			require.NoError(t, err)
			write(t, s, id, i, i)
			require.NoError(t, os.Remove(alone.Name()))
			require.NoError(t, db.Close())
		}
		return
	}
	path = filepath.Join(t.TempDir(), "game.db")
	var children []*exec.Cmd
	for _, id := range []string{"one", "two"} {
		c := exec.Command(os.Args[0], "-test.run=^TestLock_TwoProcesses$", "-test.short="+strconv.FormatBool(testing.Short()))
		c.Env = append(os.Environ(), "SAVEPOINT_TEST_TAKE_TURNS="+id, "SAVEPOINT_TEST_FILE="+path)
		require.NoError(t, c.Start())
		children = append(children, c)
	}
	for _, c := range children {
		require.NoError(t, c.Wait(), c.Env[len(c.Env)-2])
	}
	db, s := reopen(t, path, ledgerKind(7), nil)
	require.True(t, db.OpenReport().Clean)
	well(t, s, "one", times)
	well(t, s, "two", times)
}
