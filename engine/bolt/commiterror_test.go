package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// failing returns a commit that fails with err, before or after the real commit.
func failing(err error, after bool) func(*txn) error {
	return func(tx *txn) error {
		if after {
			if real := tx.commit(); real != nil {
				return real
			}
			return err
		}
		return errors.Join(tx.rollback(), err)
	}
}

// diskFull is a commit that fails on a full disk and stores nothing.
var diskFull = failing(&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, false)

func TestFault_Commit(t *testing.T) {
	write := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	for name, c := range map[string]struct {
		err    error
		after  bool // it reached the meta page
		stored bool // errors.Is ErrNothingStored must be false
	}{
		"full at a write":          {write, false, false},
		"quota at a write":         {&fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, false, false},
		"full at growing":          {errors.New("file resize error: truncate x: no space left on device"), false, false},
		"full at the meta page":    {write, true, true},
		"full at a sync":           {syscall.ENOSPC, false, true},
		"full at the growing sync": {errors.New("file sync error: sync x: no space left on device"), false, true},
		"input/output at a sync":   {syscall.EIO, true, true},
		"input/output at a write":  {&fs.PathError{Op: "write", Path: "x", Err: syscall.EIO}, false, true},
		"no memory for the map":    {errors.New("mmap allocate error: cannot allocate memory"), false, true},
		"anything else":            {errors.New("anything else"), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			var fail atomic.Bool
			bad := failing(c.err, c.after)
			e := openAt(t, path, config{seams: seams{commit: func(tx *txn) error {
				if fail.Load() {
					return bad(tx)
				}
				return tx.commit()
			}}})
			require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 1))))
			fail.Store(true)
			err := commitSteps(e, stepOf(writeOf("a", 1, 1)))
			fail.Store(false)
			require.Error(t, err)
			require.ErrorContains(t, err, c.err.Error())
			again := commitSteps(e, stepOf(writeOf("a", 1, 1)))
			if !c.stored {
				require.ErrorIs(t, err, engine.ErrNothingStored)
				require.ErrorIs(t, err, engine.ErrDiskFull)
				require.NotErrorIs(t, err, engine.ErrInDoubt)
				require.NoError(t, again, "it goes on once there is space")
				return
			}
			require.ErrorIs(t, err, engine.ErrInDoubt)
			require.NotErrorIs(t, err, engine.ErrNothingStored)
			require.NotErrorIs(t, err, engine.ErrDiskFull)
			require.ErrorIs(t, again, engine.ErrStopped)
			require.ErrorIs(t, again, engine.ErrNothingStored)
			require.NotErrorIs(t, again, engine.ErrInDoubt)
			require.ErrorIs(t, e.SetNote(context.Background(), "n", nil), engine.ErrStopped)
			_, err = readAll(e, "a")
			require.NoError(t, err, "reading goes on")
			require.NoError(t, e.Close())
			// After the file is opened again the write is whole or absent, and the file was not closed cleanly.
			e = openAt(t, path, config{})
			assert.False(t, e.report.Clean)
			items, err := readAll(e, "a")
			require.NoError(t, err)
			want := 1
			if c.after {
				want = 2
			}
			assert.Len(t, items, want+1)
			require.NoError(t, commitSteps(e, stepOf(writeOf("a", uint64(want), 1))))
		})
	}
}

func TestFault_Panic(t *testing.T) {
	for name, where := range map[string]string{"while reading": "read", "while writing": "write", "while committing": "commit"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			var bad atomic.Bool
			boom := func(here string) {
				if bad.Load() && here == where {
					panic("page 7 already freed")
				}
			}
			e, err := openWith(path, config{seams: seams{
				read: func() { boom("read") }, write: func() { boom("write") },
				commit: func(tx *txn) error { boom("commit"); return tx.commit() },
			}})
			require.NoError(t, err)
			require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 1))))
			bad.Store(true)
			if where == "read" {
				_, err = readAll(e, "a")
			} else {
				err = commitSteps(e, stepOf(writeOf("a", 1, 1)))
			}
			require.ErrorIs(t, err, engine.ErrCorrupt)
			require.ErrorContains(t, err, "page 7 already freed")
			if where == "commit" {
				require.ErrorIs(t, err, engine.ErrInDoubt)
			}
			bad.Store(false)
			// The handle is dead: every call returns an error, none blocks.
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, err := readAll(e, "a")
				assert.ErrorIs(t, err, engine.ErrCorrupt)
				err = commitSteps(e, stepOf(writeOf("a", 1, 1)))
				assert.ErrorIs(t, err, engine.ErrCorrupt)
				assert.ErrorIs(t, err, engine.ErrNothingStored)
				_, err = e.Size(context.Background())
				assert.ErrorIs(t, err, engine.ErrCorrupt)
				assert.NoError(t, e.Close())
				assert.NoError(t, e.Close())
			}()
			select {
			case <-done:
			case <-time.After(5 * time.Second):
				t.Fatal("a dead handle hangs")
			}
			e = openAt(t, path, config{}) // the lock is free
			assert.False(t, e.report.Clean)
			items, err := readAll(e, "a")
			require.NoError(t, err)
			assert.Len(t, items, 2)
		})
	}
}

// TestFault_Sigbus truncates the file while it is mapped.
func TestFault_Sigbus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	require.NoError(t, commitSteps(e, stepOf(writeOf("a", 0, 200))))
	require.NoError(t, os.Truncate(path, 8192))
	_, err = readAll(e, "a")
	require.ErrorIs(t, err, engine.ErrCorrupt)
	require.ErrorIs(t, commitSteps(e, stepOf(writeOf("a", 200, 1))), engine.ErrCorrupt)
	require.NoError(t, e.Close())
	_, err = openWith(path, config{})
	require.ErrorIs(t, err, engine.ErrCorrupt)
	_, err = openWith(path, config{})
	require.ErrorIs(t, err, engine.ErrCorrupt, "the lock was freed")
}

func TestFault_LockedInOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	e := openAt(t, path, config{})
	begin := time.Now()
	_, err := openWith(path, config{lockTimeout: 100 * time.Millisecond})
	require.ErrorIs(t, err, engine.ErrLocked)
	require.ErrorContains(t, err, path)
	assert.Less(t, time.Since(begin), 2*time.Second)
	_, err = openWith(path, config{lockTimeout: 50 * time.Millisecond, readOnly: true})
	require.ErrorIs(t, err, engine.ErrLocked)
	// A process that waits for the lock gets it.
	go func() {
		time.Sleep(50 * time.Millisecond)
		e.Close()
	}()
	second, err := openWith(path, config{lockTimeout: 10 * time.Second})
	require.NoError(t, err)
	require.NoError(t, second.Close())
	// Readers share the lock.
	r1 := openAt(t, path, config{readOnly: true})
	openAt(t, path, config{readOnly: true})
	require.ErrorIs(t, commitSteps(r1, stepOf(writeOf("a", 0, 1))), engine.ErrReadOnly)
	require.ErrorIs(t, r1.SetNote(context.Background(), "n", nil), engine.ErrReadOnly)
}

func TestFault_CreatedByManyAtOnce(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "test.db")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				e, err := openWith(path, config{lockTimeout: 30 * time.Second})
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, commitSteps(e, stepOf(writeOf(fmt.Sprint("m", i), 0, 1))))
				assert.NoError(t, e.Close())
			})
		}
		wg.Wait()
		e := openAt(t, path, config{})
		size, err := e.Size(context.Background())
		require.NoError(t, err)
		require.Equal(t, int64(8), size.Machines, "nobody's file was replaced")
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}
