package savepoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/liap-tui/savepoint/internal/record"
)

// openBoltFile opens the file for bbolt: made if it is not there, locked, still
// the one at path, and by its meta pages a whole bbolt file.
func openBoltFile(path string, o *boltOptions) (*os.File, error) {
	deadline := time.Now().Add(o.lockTimeout)
	for {
		if err := lookAt(path, o); err != nil {
			return nil, err
		}
		f, err := lockedFile(path, o, deadline)
		if err != nil {
			return nil, err
		}
		same, err := stillAt(path, f)
		if err == nil && same {
			if err = checkMeta(f); err == nil {
				return f, nil
			}
			err = fmt.Errorf("%s: %w", path, err)
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		if time.Now().After(deadline) { // somebody keeps moving it
			return nil, fmt.Errorf("%w: %s is being replaced by another process", ErrLocked, path)
		}
	}
}

// lookAt makes the file if it is not there, and refuses what is no file.
func lookAt(path string, o *boltOptions) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if o.readOnly {
			return fmt.Errorf("%s does not exist, and opening with ReadOnly does not make it: %w", path, err)
		}
		if dir, err := os.Stat(filepath.Dir(path)); err != nil {
			return fmt.Errorf("the directory of %s: %w: make it first", path, err)
		} else if !dir.IsDir() {
			return fmt.Errorf("%s is not a directory", filepath.Dir(path))
		}
		return createBolt(path, o)
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%w: %s is a directory: name a file in it", ErrForeign, path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", ErrForeign, path)
	}
	return nil
}

// lockPause is the time between two tries to lock a file.
const lockPause = 10 * time.Millisecond

// lockedFile opens the file and takes its lock, at once or until the deadline:
// shared for reading, else for itself alone.
func lockedFile(path string, o *boltOptions, deadline time.Time) (*os.File, error) {
	flag := os.O_RDWR
	if o.readOnly {
		flag = os.O_RDONLY
	}
	f, err := o.seams.openFile(path, flag, o.mode)
	if errors.Is(err, fs.ErrPermission) && !o.readOnly {
		return nil, fmt.Errorf("%w: to look at a file that may not be written, open it with ReadOnly", err)
	}
	if err != nil {
		return nil, err
	}
	if err := lockUntil(f, !o.readOnly, deadline); err != nil {
		f.Close()
		if errors.Is(err, ErrLocked) {
			return nil, fmt.Errorf("%w: %s is open in another process, or in this one", ErrLocked, path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

func lockUntil(f *os.File, alone bool, deadline time.Time) error {
	for {
		err := lockFile(f, alone)
		if !errors.Is(err, ErrLocked) {
			return err
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(lockPause)
	}
}

// stillAt tells whether path leads to f: it may have been renamed, removed or
// replaced before the lock was taken. Two processes with two files of one name
// would both write.
func stillAt(path string, f *os.File) (bool, error) {
	at, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	open, err := f.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(at, open), nil
}

// boltMeta is what is needed of one of the two meta pages of a bbolt file.
type boltMeta struct {
	magic    bool // it says that it is one
	sound    bool // its checksum is right
	version  uint32
	pageSize uint32
	freelist uint64
	pages    uint64 // the file's pages end here
	txid     uint64
	raw      [metaEnd]byte // the page header and the meta
}

// Where bbolt has things in a meta page; numbers are in the byte order of the
// machine that wrote them.
const (
	metaStart    = 16
	metaChecksum = metaStart + 56
	metaEnd      = metaChecksum + 8
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	smallestPage = 1024
	largestPage  = 1 << 24
	noFreelist   = ^uint64(0)
)

func readMeta(f io.ReaderAt, at int64) (m boltMeta) {
	if _, err := f.ReadAt(m.raw[:], at); err != nil {
		return m
	}
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	b := m.raw[metaStart:]
	m.magic = u32(b) == boltMagic
	m.version = u32(b[4:])
	m.pageSize = u32(b[8:])
	m.freelist = u64(b[32:])
	m.pages = u64(b[40:])
	m.txid = u64(b[48:])
	sum := fnv.New64a()
	sum.Write(m.raw[metaStart:metaChecksum])
	m.sound = m.magic && sum.Sum64() == u64(m.raw[metaChecksum:]) &&
		m.pageSize >= smallestPage && m.pageSize <= largestPage && m.pageSize&(m.pageSize-1) == 0
	return m
}

// readMetas finds both meta pages. When the first is damaged the page size is
// unknown: the second is looked for at each possible one.
func readMetas(f io.ReaderAt) (m [2]boltMeta) {
	m[0] = readMeta(f, 0)
	if m[0].sound {
		m[1] = readMeta(f, int64(m[0].pageSize))
		return m
	}
	for size := int64(smallestPage); size <= largestPage; size *= 2 {
		if m[1] = readMeta(f, size); m[1].sound && int64(m[1].pageSize) == size {
			return m
		}
	}
	m[1] = boltMeta{}
	return m
}

// newest is the meta page bbolt will use, nil if both are damaged.
func newest(m *[2]boltMeta) *boltMeta {
	var best *boltMeta
	for i := range m {
		if m[i].sound && (best == nil || m[i].txid > best.txid) {
			best = &m[i]
		}
	}
	return best
}

// checkMeta refuses a file that bbolt would take for a new one, would not know,
// or would read beyond its end.
func checkMeta(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return fmt.Errorf("%w: the file is empty: if it never held anything, remove it", ErrCorrupt)
	}
	metas := readMetas(f)
	best := newest(&metas)
	switch {
	case best == nil && (metas[0].magic || ours(f, info.Size())):
		return fmt.Errorf("%w: both meta pages are damaged", ErrCorrupt)
	case best == nil && blank(f, info.Size()):
		return fmt.Errorf("%w: the file holds only zeros", ErrCorrupt)
	case best == nil:
		return fmt.Errorf("%w: it is not a bbolt file", ErrForeign)
	case best.version > boltVersion:
		return fmt.Errorf("%w: bbolt format %d", ErrNewer, best.version)
	case best.version < boltVersion:
		return fmt.Errorf("%w: bbolt format %d", ErrForeign, best.version)
	case best.pages < 3 || best.pages > uint64(info.Size())/uint64(best.pageSize):
		return fmt.Errorf("%w: %d pages of %d bytes do not fit into a file of %d", ErrCorrupt, best.pages, best.pageSize, info.Size())
	case best.freelist == noFreelist: // bbolt would write at once
		return fmt.Errorf("%w: it has no free list", ErrForeign)
	case best.freelist < 2 || best.freelist >= best.pages:
		return fmt.Errorf("%w: the free list is said to be at page %d of %d", ErrCorrupt, best.freelist, best.pages)
	}
	return nil
}

// searched is how much of a file is looked through to tell whose it is.
const searched = 64 << 20

// ours looks for a value of ours in a file whose meta pages are damaged.
func ours(f io.ReaderAt, size int64) bool {
	const step = 1 << 20
	magic := record.Magic()
	buf := make([]byte, min(size, step+int64(len(magic))))
	for at := int64(0); at < min(size, searched); at += step {
		n, _ := f.ReadAt(buf, at)
		if bytes.Contains(buf[:n], magic) {
			return true
		}
	}
	return false
}

// blank tells whether the file begins with nothing but zeros, as one does that
// was being made when the power failed.
func blank(f io.ReaderAt, size int64) bool {
	buf := make([]byte, min(size, 64<<10))
	n, _ := f.ReadAt(buf, 0)
	return len(bytes.Trim(buf[:n], "\x00")) == 0
}

// healMeta writes the meta page in use once more and syncs. After a failed sync
// of an earlier process it may stand in the page cache only; what is built on
// it would be lost with it.
func healMeta(f *os.File, o *boltOptions) error {
	metas := readMetas(f)
	best := newest(&metas)
	if best == nil {
		return fmt.Errorf("%w: both meta pages are damaged", ErrCorrupt)
	}
	at := int64(best.txid%2) * int64(best.pageSize)
	if _, err := f.WriteAt(best.raw[:], at); err != nil {
		return fmt.Errorf("heal the meta page of %s: %w", f.Name(), err)
	}
	if err := o.seams.syncFile(f); err != nil {
		return fmt.Errorf("heal the meta page of %s: %w", f.Name(), err)
	}
	return nil
}

// metaUntouched tells whether transaction id left both meta pages as they were.
func metaUntouched(f io.ReaderAt, id uint64) bool {
	m := readMetas(f)
	return m[0].sound && m[1].sound && m[0].txid != id && m[1].txid != id
}
