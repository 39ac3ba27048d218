package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

func TestOpen_Refuses(t *testing.T) {
	patch := func(fn func(b []byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(sampleFile(t))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, fn(b), 0o600))
		}
	}
	setFile := func(fn func(v []byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			patch(func(b []byte) []byte { return b })(t, path)
			change(t, path, func(tx *bbolt.Tx) error {
				v := bytes.Clone(tx.Bucket(bucketMeta).Get(metaFile))
				return tx.Bucket(bucketMeta).Put(metaFile, fn(v))
			})
		}
	}
	app := func(name string, number uint32) func([]byte) []byte {
		return func([]byte) []byte {
			p := append([]byte{byte(len(name))}, name...)
			p = binary.BigEndian.AppendUint32(p, number)
			p = append(p, make([]byte, 24)...)
			return format.AppendValue(nil, &format.Header{Type: format.TypeFile, Raw: uint32(len(p))}, p, nil)
		}
	}
	text := strings.Repeat("this is a letter\n", 1000)
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want error
	}{
		"empty": {func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, nil, 0o600)) }, engine.ErrCorrupt},
		"zeros": {func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, make([]byte, 40000), 0o600)) }, engine.ErrCorrupt},
		"text":  {func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }, engine.ErrForeign},
		"short": {func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte("x"), 0o600)) }, engine.ErrForeign},
		"bbolt of another program": {func(t *testing.T, path string) {
			change(t, path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("b")); return err })
		}, engine.ErrForeign},
		"bbolt of another program with a bucket meta": {func(t *testing.T, path string) {
			change(t, path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(bucketMeta); return err })
		}, engine.ErrForeign},
		"bbolt without a free list": {func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
			require.NoError(t, err)
			require.NoError(t, db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("b")); return err }))
			require.NoError(t, db.Close())
		}, engine.ErrForeign},
		"both meta pages damaged":    {patch(func(b []byte) []byte { b[40]++; b[4096+40]++; return b }), engine.ErrCorrupt},
		"both meta pages wiped":      {patch(func(b []byte) []byte { clear(b[:8192]); return b }), engine.ErrCorrupt},
		"cut off":                    {patch(func(b []byte) []byte { return b[:16384] }), engine.ErrCorrupt},
		"cut off in the first page":  {patch(func(b []byte) []byte { return b[:4000] }), engine.ErrCorrupt},
		"cut off after a meta page":  {patch(func(b []byte) []byte { return b[:4096] }), engine.ErrCorrupt},
		"mark of the file damaged":   {setFile(func(v []byte) []byte { v[len(v)-1]++; return v }), engine.ErrCorrupt},
		"mark of the file wiped":     {setFile(func(v []byte) []byte { clear(v); return v }), engine.ErrCorrupt},
		"newer file format":          {setFile(app(fileApp, fileFormat+1)), engine.ErrNewer},
		"another program's app id":   {setFile(app("something else", 1)), engine.ErrForeign},
		"a bucket is missing":        {func(t *testing.T, path string) { dropBucket(t, path, patch) }, engine.ErrCorrupt},
		"a directory":                {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, engine.ErrForeign},
		"a pipe":                     {makePipe, engine.ErrForeign},
		"a file where the dir is":    {nil, fs.ErrNotExist},
		"the directory is not there": {nil, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			switch {
			case c.make != nil:
				c.make(t, path)
			case name == "the directory is not there":
				path = filepath.Join(t.TempDir(), "nowhere", "test.db")
			default:
				file := filepath.Join(t.TempDir(), "file")
				require.NoError(t, os.WriteFile(file, nil, 0o600))
				path = filepath.Join(file, "test.db")
				c.want = syscall.ENOTDIR
			}
			content := func() []byte {
				if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
					return nil
				}
				b, err := os.ReadFile(path)
				require.NoError(t, err)
				return b
			}
			before := content()
			for _, readOnly := range []bool{false, true, false} { // the lock is released each time
				_, err := openWith(path, config{readOnly: readOnly})
				require.ErrorIs(t, err, c.want)
				for _, other := range []error{engine.ErrCorrupt, engine.ErrForeign, engine.ErrNewer} {
					if other != c.want {
						require.NotErrorIs(t, err, other)
					}
				}
			}
			require.True(t, bytes.Equal(before, content()), "a refused file is not touched")
		})
	}
}

func dropBucket(t *testing.T, path string, patch func(func([]byte) []byte) func(*testing.T, string)) {
	patch(func(b []byte) []byte { return b })(t, path)
	change(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketSnapshots) })
}

func TestOpen_OneMetaPageIsEnough(t *testing.T) {
	for _, at := range []int64{20, 4096 + 20} {
		path := sampleFile(t)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{0xaa, 0xbb}, at+8)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		e := openAt(t, path, config{})
		items, err := readAll(e, "b")
		require.NoError(t, err)
		assert.Len(t, items, 1+3+1)
	}
}

func TestOpen_NotWritable(t *testing.T) {
	path := sampleFile(t)
	denied := &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	_, err := openWith(path, config{seams: seams{openFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
		if flag&os.O_RDWR != 0 {
			return nil, denied
		}
		return os.OpenFile(name, flag, mode)
	}}})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "open it with ReadOnly")
	missing := filepath.Join(t.TempDir(), "none.db")
	_, err = openWith(missing, config{readOnly: true})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = os.Stat(missing)
	require.ErrorIs(t, err, fs.ErrNotExist, "reading makes nothing")
}

func TestOpen_MarksCleanClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{version: "v1.2.3"})
	require.NoError(t, err)
	assert.True(t, e.report.Clean, "a new file")
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 1))))
	image, err := os.ReadFile(path) // as after a crash at this point
	require.NoError(t, err)
	require.NoError(t, e.Close())
	e, err = openWith(path, config{})
	require.NoError(t, err)
	assert.True(t, e.report.Clean)
	require.NoError(t, e.Close())
	died := filepath.Join(t.TempDir(), "died.db")
	require.NoError(t, os.WriteFile(died, image, 0o600))
	for _, readOnly := range []bool{true, false} {
		e, err = openWith(died, config{readOnly: readOnly})
		require.NoError(t, err)
		assert.False(t, e.report.Clean)
		require.NoError(t, e.Close())
	}
	e = openAt(t, died, config{})
	assert.True(t, e.report.Clean)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
}

// TestOpen_RenamedBeforeLock replaces the file between opening and locking.
func TestOpen_RenamedBeforeLock(t *testing.T) {
	path, other := sampleFile(t), sampleFile(t)
	calls := 0
	e := openAt(t, path, config{seams: seams{openFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		if calls++; calls == 1 {
			require.NoError(t, os.Rename(path, path+".away"))
			require.NoError(t, os.Rename(other, path))
		}
		return f, err
	}}})
	assert.Equal(t, 2, calls)
	same, err := stillAt(path, e.file)
	require.NoError(t, err)
	assert.True(t, same)
}

// TestCreate_Order: the file is on the disk before it gets its name, and the name
// is on the disk before the file is used.
func TestCreate_Order(t *testing.T) {
	var did []string
	dir := t.TempDir()
	o := config{seams: seams{
		syncFile: func(f *os.File) error {
			info, err := f.Stat()
			require.NoError(t, err)
			did = append(did, "sync "+map[bool]string{true: "directory", false: "file"}[info.IsDir()])
			return f.Sync()
		},
		rename: func(from, to string) error {
			require.Equal(t, dir, filepath.Dir(from))
			did = append(did, "rename")
			return os.Rename(from, to)
		},
	}}.withDefaults()
	made, err := create(filepath.Join(dir, "test.db"), &o)
	require.NoError(t, err)
	require.True(t, made)
	require.Equal(t, []string{"sync file", "rename", "sync directory"}, did)
	made, err = create(filepath.Join(dir, "test.db"), &o)
	require.NoError(t, err)
	require.False(t, made, "somebody else was first")
}

// TestOpen_RenamedWhileOpen: the lock belongs to the file, not to its name.
func TestOpen_RenamedWhileOpen(t *testing.T) {
	path := sampleFile(t)
	e := openAt(t, path, config{})
	away := path + ".away"
	require.NoError(t, os.Rename(path, away))
	_, err := openWith(away, config{lockTimeout: time.Millisecond})
	require.ErrorIs(t, err, engine.ErrLocked)
	require.ErrorContains(t, err, away)
	other := openAt(t, path, config{})
	require.True(t, other.report.Created)
	require.NoError(t, commitSteps(other, stepOf(writeOf("a", 0, 1))))
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 8, 1))))
	require.NoError(t, e.Close())
	require.NoError(t, os.Rename(away, path+".again"))
	e = openAt(t, path+".again", config{})
	items, err := readAll(e, "a")
	require.NoError(t, err)
	require.Contains(t, items[len(items)-1], "head 1 9 ")
}

// row C17.
func TestCreate_Crash(t *testing.T) {
	dead := errors.New("the process died")
	for name, seams := range map[string]seams{
		"before the commit": {commit: func(tx *txn) error { return errors.Join(tx.rollback(), dead) }},
		"before the sync":   {syncFile: func(*os.File) error { return dead }},
		"before the rename": {rename: func(string, string) error { return dead }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "test.db")
			// Leftovers of processes that could not clean up, and a file that is not one.
			for _, left := range []string{tempName("test.db"), tempName("test.db"), ".test.db" + tempMark + "mine"} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, left), []byte("half"), 0o600))
			}
			_, err := openWith(path, config{seams: seams})
			require.ErrorIs(t, err, dead)
			_, err = os.Stat(path)
			require.ErrorIs(t, err, fs.ErrNotExist, "whole or not there") // row C17
			e := openAt(t, path, config{})
			require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 1))))
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Len(t, entries, 2, "leftovers are removed, others' files are not")
		})
	}
}

// TestCounters_NeverGoBack purges and opens again: numbers and positions are never used twice.
func TestCounters_NeverGoBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	numbers, last := map[uint64]bool{}, uint64(0)
	for range 5 {
		e, err := openWith(path, config{})
		require.NoError(t, err)
		w := writeOf("a", 0, 3, 3)
		require.NoError(t, commitSteps(e, stepOf(w)))
		h, err := e.Load(context.Background(), "a", everything, func(engine.Item) error { return nil })
		require.NoError(t, err)
		assert.False(t, numbers[h.Number])
		assert.Greater(t, h.Pos, last)
		numbers[h.Number], last = true, h.Pos
		w.Purge, w.Expect = true, 3
		require.NoError(t, commitSteps(e, stepOf(w)))
		require.NoError(t, e.Close())
		change(t, path, func(tx *bbolt.Tx) error {
			for _, b := range [][]byte{bucketMachines, bucketEvents, bucketSnapshots} {
				k, _ := tx.Bucket(b).Cursor().First()
				assert.Nil(t, k, "a purge leaves nothing in %s", b)
			}
			return nil
		})
	}
}
