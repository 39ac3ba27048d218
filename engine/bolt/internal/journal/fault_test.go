package journal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFault_EachWriteAndSync: the nth write or sync fails, once and for ever.
//  1. That append and all later ones return the same error, and nothing is written any more.
//  2. What was acknowledged before is in every picture; the one in doubt whole or not.
func TestFault_EachWriteAndSync(t *testing.T) {
	runs := 0
	for _, once := range []bool{true, false} {
		for _, dsync := range []bool{true, false} {
			for n := 1; n <= 60; n++ {
				w := newWorld(t, uint64(n), dsync)
				w.disk.fault = func(op int, _ string) bool { return op == n || !once && op > n }
				var err error
				for range 200 {
					if err = w.step(); err != nil {
						break
					}
				}
				runs++
				require.ErrorIs(t, err, ErrStopped)
				require.ErrorIs(t, err, errDisk)
				require.Equal(t, err, w.j.Err())
				writes, ops := w.disk.writes, w.disk.ops
				for range 3 {
					require.Equal(t, err, w.append("later"), "sticky")
				}
				require.Equal(t, err, w.j.Bypass(w.j.Next()))
				require.Equal(t, [2]int{writes, ops}, [2]int{w.disk.writes, w.disk.ops}, "nothing is written after an error")
				_, rerr := w.j.Read(w.acked+1, nil)
				require.ErrorIs(t, rerr, ErrNoRecord, "what is in doubt is not shown")
				w.j.Close()
				require.Equal(t, err, w.append("later"), "closing does not hide it")

				// The groups tried later never reached the disk.
				w.groups[w.acked+1] = lastTried(w)
				for range 20 {
					_, _, cerr := w.check(bytes.NewReader(w.disk.picture(w.rng)), w.acked)
					require.NoError(t, cerr)
				}
				w.disk.fault = nil
				w.recover(w.disk.after(w.disk.picture(w.rng)))
				for range 10 {
					require.NoError(t, w.step())
				}
				w.finish()
			}
		}
	}
	assert.Equal(t, 240, runs)
}

// lastTried is the payload of the write that failed.
func lastTried(w *world) string {
	if len(w.disk.unsure) == 0 {
		return ""
	}
	b := w.disk.unsure[len(w.disk.unsure)-1].b
	rg := ring{Head: w.head, base: w.disk.area[0], seed: w.salt.seed()}
	p, ok := rg.header(b, w.disk.unsure[len(w.disk.unsure)-1].off-rg.base)
	require.True(w.t, ok)
	return string(b[headerSize : headerSize+p.Length])
}

// TestFault_ShortWrite: a write that returns a smaller number without an error is an
// error.
func TestFault_ShortWrite(t *testing.T) {
	w := newWorld(t, 1, true)
	j, err := Open(shortFile{w.disk}, w.r, w.id, w.salt, 0)
	require.NoError(t, err)
	w.fill("x")
	_, err = j.Append(&w.g)
	require.ErrorIs(t, err, ErrStopped)
}

type shortFile struct{ *disk }

func (f shortFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.disk.WriteAt(p, off)
	return n - 1, err
}

// TestFault_StopDuringSync: a checkpoint that fails while a group syncs keeps that
// group from being acknowledged.
func TestFault_StopDuringSync(t *testing.T) {
	w := newWorld(t, 1, false)
	require.NoError(t, w.append("before"))
	why := errors.New("checkpoint went wrong")
	w.disk.during = func(change) {
		_, err := w.j.Read(2, nil)
		assert.ErrorIs(t, err, ErrNoRecord, "not readable before it is durable")
		assert.Error(t, w.j.Checkpointed(2), "nor may it be checkpointed")
		w.j.Stop(why)
	}
	err := w.append("in doubt")
	require.ErrorIs(t, err, ErrStopped)
	require.ErrorIs(t, err, why)
	_, rerr := w.j.Read(2, nil)
	require.ErrorIs(t, rerr, ErrNoRecord)
	b, rerr := w.j.Read(1, nil)
	require.NoError(t, rerr, "reading goes on")
	require.Equal(t, "before", string(b))
	require.Equal(t, err, w.j.Stop(errors.New("another")), "the first cause stays")
}

// TestFault_Read: a file that cannot be read, or is too short, is an error and
// never an empty ring.
func TestFault_Read(t *testing.T) {
	w := newWorld(t, 1, true)
	require.NoError(t, w.append("x"))
	for _, n := range []int{0, 10, int(w.r.Offset), int(w.r.Offset) + 63, int(w.disk.area[0]), int(w.disk.area[1]) - 1} {
		_, err := Scan(bytes.NewReader(w.disk.cache[:n]), w.r, w.id, w.salt, 0)
		require.ErrorIs(t, err, ErrCorrupt, "%d bytes", n)
	}
	_, err := Scan(badReader{}, w.r, w.id, w.salt, 0)
	require.ErrorIs(t, err, errDisk)
	require.NotErrorIs(t, err, ErrCorrupt)
}

type badReader struct{}

func (badReader) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestJournal_Close(t *testing.T) {
	w := newWorld(t, 1, true)
	require.NoError(t, w.append("x"))
	w.j.Close()
	w.j.Close()
	require.ErrorIs(t, w.append("y"), ErrClosed)
	require.ErrorIs(t, w.j.Bypass(2), ErrClosed)
	b, err := w.j.Read(1, nil)
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
}
