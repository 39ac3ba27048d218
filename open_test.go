package savepoint_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/internal/long"
	"github.com/liap-tui/savepoint/report"
)

// soon returns options with a short LockTimeout, for files that are in use; the default is a second.
func soon() *savepoint.Options { return &savepoint.Options{LockTimeout: 20 * time.Millisecond} }

// made returns the path of a closed file with the machines "a" to "c" of kind table.
func made(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "game.db")
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	s := register(t, db)
	for i, id := range []string{"a", "b", "c"} {
		begin(t, s, id, i+2)
	}
	require.NoError(t, db.Close())
	return path
}

// holder returns how an error names the process that holds a file; only Linux knows its id.
func holder(pid int) string {
	if runtime.GOOS == "linux" {
		return fmt.Sprint("pid ", pid)
	}
	return "another process, or in this one"
}

// refuses checks that a file is refused and not changed, for writing and for reading, with one of the errors and all words.
func refuses(t *testing.T, path string, is []error, words ...string) {
	t.Helper()
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, readOnly := range []bool{false, true} {
		db, err := savepoint.Open(path, &savepoint.Options{ReadOnly: readOnly})
		if !assert.Error(t, err, "%d bytes", len(before)) {
			_ = db.Close()
			continue
		}
		matches := slices.ContainsFunc(is, func(e error) bool { return errors.Is(err, e) })
		assert.True(t, matches, "%d bytes: %v", len(before), err)
		says(t, err, nil, append(words, path)...)
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(before, after), "the file was changed")
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1, "no other file is left in the directory")
}

// TestOpen_Locked_SameProcess opens a file that this process has open, also for reading and through a symbolic link: ErrLocked,
// with the process that holds it.
func TestOpen_Locked_SameProcess(t *testing.T) {
	path := made(t)
	db := open(t, path, nil)
	_, err := savepoint.Open(path, soon())
	says(t, err, savepoint.ErrLocked, path, "this", holder(os.Getpid()))
	o := soon()
	o.ReadOnly = true
	_, err = savepoint.Open(path, o)
	says(t, err, savepoint.ErrLocked, path)
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))
	_, err = savepoint.Open(link, soon())
	says(t, err, savepoint.ErrLocked, link)
	assert.EqualValues(t, 3, load(t, register(t, db), "a").Seq)
	require.NoError(t, db.Close())
	open(t, path, soon())
}

// TestOpen_Locked_ChildProcess opens a file that a child process holds: ErrLocked, with the child's id. When the child is
// killed, its lock is gone. The test is also the child, which holds the file until its input ends.
func TestOpen_Locked_ChildProcess(t *testing.T) {
	if path := os.Getenv("SAVEPOINT_TEST_HOLD"); path != "" {
		db := open(t, path, nil)
		_, err := register(t, db).Append(t.Context(), "a", plays[2])
		require.NoError(t, err)
		fmt.Println("holding")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		return
	}
	path := made(t)
	child := exec.Command(os.Args[0], "-test.run=^TestOpen_Locked_ChildProcess$")
	child.Env = append(os.Environ(), "SAVEPOINT_TEST_HOLD="+path)
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "holding", lines.Text())
	_, err = savepoint.Open(path, soon())
	says(t, err, savepoint.ErrLocked, path, "is open in", holder(child.Process.Pid))
	o := soon()
	o.ReadOnly = true
	_, err = savepoint.Open(path, o)
	says(t, err, savepoint.ErrLocked, path)

	require.NoError(t, child.Process.Kill()) // the system releases its lock
	in.Close()
	_ = child.Wait()
	s := register(t, open(t, path, nil))
	assert.EqualValues(t, 4, load(t, s, "a").Seq)
}

// TestOpen_NoFile opens paths where no file is or can be: the errors name the path and what to do, and nothing is created.
func TestOpen_NoFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "no", "such", "game.db")
	_, err := savepoint.Open(path, nil)
	says(t, err, fs.ErrNotExist, path, "make it first")
	assert.NoDirExists(t, filepath.Join(dir, "no"))
	_, err = savepoint.Open("", nil)
	says(t, err, nil, "path is empty", "savepoint.Memory")
	_, err = savepoint.Open(dir, nil)
	says(t, err, savepoint.ErrForeign, dir, "is a directory", "name a file in it")
	path = filepath.Join(dir, "game.db")
	_, err = savepoint.Open(path, &savepoint.Options{ReadOnly: true})
	says(t, err, fs.ErrNotExist, path, "ReadOnly does not make it")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	below := filepath.Join(path, "game.db")
	_, err = savepoint.Open(below, nil)
	says(t, err, nil, below)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

// TestOpen_NotWritable opens a file without the permission to write: the error names ReadOnly, which works.
func TestOpen_NotWritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everything")
	}
	path := made(t)
	require.NoError(t, os.Chmod(path, 0o400))
	_, err := savepoint.Open(path, nil)
	says(t, err, fs.ErrPermission, path, "ReadOnly")
	db := open(t, path, &savepoint.Options{ReadOnly: true})
	assert.EqualValues(t, 3, load(t, register(t, db), "a").Seq)
}

// TestOpen_EmptyFile refuses an empty file, and does not change it.
func TestOpen_EmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	refuses(t, path, []error{savepoint.ErrCorrupt}, "empty", "remove it")
}

// TestOpen_Garbage refuses noise, zeros, text and truncated files of all lengths, and does not change them.
func TestOpen_Garbage(t *testing.T) {
	either := []error{savepoint.ErrCorrupt, savepoint.ErrForeign}
	whole, err := os.ReadFile(made(t))
	require.NoError(t, err)
	noise := make([]byte, 8192)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	path := filepath.Join(t.TempDir(), "game.db")
	for n := 1; n < 8192; n++ {
		if n > 100 && n%256 > 1 && n < 8180 && n%97 != 0 {
			continue
		}
		for _, content := range [][]byte{noise[:n], make([]byte, n), whole[:n]} {
			require.NoError(t, os.WriteFile(path, content, 0o600))
			refuses(t, path, either)
		}
	}
	for name, text := range map[string]string{"text": strings.Repeat("a line of text\n", 5000), "JSON": `{"games": []}`} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600), name)
		refuses(t, path, []error{savepoint.ErrForeign}, "not a bbolt file")
	}
	for _, n := range []int{8192, 12288, 16384} {
		require.NoError(t, os.WriteFile(path, whole[:n], 0o600))
		refuses(t, path, either)
	}
}

// TestOpen_ForeignFile refuses bbolt files of other programs, and does not change them.
func TestOpen_ForeignFile(t *testing.T) {
	for _, buckets := range [][]string{nil, {"users"}, {"meta"}, {"meta", "events"}} {
		path := filepath.Join(t.TempDir(), "other.db")
		foreignFile(t, path, buckets...)
		refuses(t, path, []error{savepoint.ErrForeign}, "another program's bbolt file")
	}
}

// TestOpen_NewerFile refuses a file of a newer format with ErrNewer, which is neither damage nor a foreign file.
// row F19
func TestOpen_NewerFile(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){"file": newerFile, "value": newerFileValue} {
		t.Run(name, func(t *testing.T) {
			path := made(t)
			change(t, path)
			refuses(t, path, []error{savepoint.ErrNewer}, "format")
			_, err := savepoint.Open(path, nil)
			require.NotErrorIs(t, err, savepoint.ErrCorrupt, "nothing is damaged")
			require.NotErrorIs(t, err, savepoint.ErrForeign)
		})
	}
}

// TestOpen_ReadOnly_TwoAtOnce opens a file for reading two times at once: every read works, every write is ErrReadOnly, and the
// file stays as it is.
func TestOpen_ReadOnly_TwoAtOnce(t *testing.T) {
	path := made(t)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	ctx := t.Context()
	o := soon()
	o.ReadOnly = true
	for range 2 { // both are open until the test ends
		db := open(t, path, o)
		s := register(t, db)
		assert.Equal(t, []string{"7H", "7S", "8H"}, load(t, s, "b").Value.Played)
		require.NoError(t, s.View(ctx, "b", func(v *savepoint.State[table]) error { assert.EqualValues(t, 4, v.Seq); return nil }))
		st, err := s.At(ctx, "b", savepoint.AtSeq(2))
		require.NoError(t, err)
		assert.Equal(t, []string{"7H"}, st.Value.Played)
		n := 0
		for _, err := range s.Events(ctx, "b", savepoint.EventRange{}) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, 4, n)
		for _, err := range s.List(ctx, savepoint.ListOptions{}) {
			require.NoError(t, err)
		}
		assert.NotEmpty(t, infos(t, s, "b", savepoint.SnapshotRange{}))
		v, err := s.Verify(ctx, "b")
		require.NoError(t, err)
		assert.True(t, v.OK())
		rep, err := s.Recover(ctx, "b", savepoint.RecoverOptions{To: savepoint.AtSeq(2), DryRun: true})
		require.NoError(t, err)
		assert.Equal(t, report.Restored, rep.Status)
		all, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{})
		require.NoError(t, err)
		assert.Equal(t, 3, all.Healthy)
		require.NoError(t, s.Warm(ctx, "a", "b"))

		update := func(m *savepoint.Machine[table]) error { return m.Append(plays[2]) }
		for name, write := range map[string]func() error{
			"Append":         func() error { _, err := s.Append(ctx, "b", plays[2]); return err },
			"Go":             func() error { return s.Go(ctx, "b", plays[2]).Err() },
			"Update":         func() error { _, err := s.Update(ctx, "b", update); return err },
			"GoUpdate":       func() error { return s.GoUpdate(ctx, "b", update).Err() },
			"Save":           func() error { _, err := s.Save(ctx, "b", table{}); return err },
			"Delete":         func() error { _, err := s.Delete(ctx, "b"); return err },
			"Purge":          func() error { return s.Purge(ctx, "b") },
			"Migrate":        func() error { _, err := s.Migrate(ctx, savepoint.MigrateOptions{}); return err },
			"Fork":           func() error { _, err := s.Fork(ctx, "b", savepoint.AtSeq(2), "f"); return err },
			"Mark":           func() error { _, err := s.Mark(ctx, "b", 2, nil); return err },
			"Snapshot":       func() error { _, err := s.Snapshot(ctx, "b"); return err },
			"DeleteSnapshot": func() error { _, err := s.DeleteSnapshot(ctx, "b", 1); return err },
			"Recover": func() error {
				_, err := s.Recover(ctx, "b", savepoint.RecoverOptions{To: savepoint.AtSeq(2)})
				return err
			},
			"DB.Update": func() error {
				return db.Update(ctx, func(tx *savepoint.Tx) error { _, err := s.In(tx, "b"); return err })
			},
		} {
			says(t, write(), savepoint.ErrReadOnly, path, "Options.ReadOnly")
			assert.EqualValues(t, 4, load(t, s, "b").Seq, name)
		}
		docs, err := savepoint.Register(db, document.Kind("not in the file"))
		require.NoError(t, err)
		_, err = docs.Load(ctx, "b")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		_, err = savepoint.Open(path, soon())
		says(t, err, savepoint.ErrLocked, path)
		require.NoError(t, db.Flush(ctx))
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(before, after), "opening for reading has changed the file")
}

// TestOpen_TwoProcessesTakeTurns lets two processes open one file many times each, write and close it: they never have it at the
// same time, and no write of either is lost. The test is also the processes: the variable names the machine.
func TestOpen_TwoProcessesTakeTurns(t *testing.T) {
	id, path := os.Getenv("SAVEPOINT_TEST_TAKE_TURNS"), os.Getenv("SAVEPOINT_TEST_FILE")
	times := long.N(t, 15, 200)
	if id != "" {
		for i := 1; i <= times; i++ {
			db, err := savepoint.Open(path, &savepoint.Options{LockTimeout: time.Minute})
			require.NoError(t, err)
			alone, err := os.OpenFile(path+".held", os.O_CREATE|os.O_EXCL, 0o600)
			require.NoError(t, err, "the other process has the file open")
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
		c := exec.Command(os.Args[0], "-test.run=^TestOpen_TwoProcessesTakeTurns$")
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
