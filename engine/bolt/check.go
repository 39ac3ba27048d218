package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
	"github.com/liap-tui/savepoint/internal/format"
)

// wholeCheck is the default for the size of the pages up to which a file that was
// closed cleanly is checked as a whole. Of a larger file only the meta pages, the
// free list, the tree of buckets and the two small buckets are checked. A file that
// was not closed, or has a damaged meta page, is always checked as a whole.
const wholeCheck = 64 << 20

// checkFile checks with plain reads that the file is a savepoint file and that its
// pages are safe for bbolt, before it is mapped and before anything in it is
// changed. If the file is opened for writing, it then heals the meta page.
func checkFile(f *os.File, o *config, found *fileState, rep *engine.OpenReport) error {
	began := time.Now()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	metas := pagecheck.ReadMetas(f)
	if err := knownMeta(f, info.Size(), &metas); err != nil {
		return err
	}
	pages, err := pagecheck.New(f, info.Size(), &metas)
	if err != nil {
		return pageError(err)
	}
	var top topValues
	if err := pages.Top(top.see, string(bucketMeta), string(bucketCounters)); err != nil {
		return pageError(err)
	}
	if found.journal.id, err = parseFile(top.file, func() bool { return hasMagic(f, info.Size()) }); err != nil {
		return err
	}
	found.clean = markClean(top.mark)
	newest := metas.Newest()
	if !found.clean || metas.Damaged() || int64(newest.Pages)*int64(newest.PageSize) <= o.wholeCheck {
		heads := headCheck{o: o, file: f.Name()}
		if err := pages.Whole(heads.see); err != nil {
			return pageError(err)
		}
		rep.DamagedHeads = heads.damaged
	}
	seen := pages.Report()
	rep.Clean, rep.MetaDamaged = found.clean, metas.Damaged()
	rep.Check = engine.PageCheck{Whole: seen.Whole, Pages: int64(seen.Used), Bytes: seen.Bytes, Time: time.Since(began)}
	if rep.MetaDamaged {
		o.logger.Warn("one of the two meta pages is damaged: opened at the other one, the last commit may be missing", "file", f.Name(), "transaction", newest.Tx)
	}
	if o.readOnly {
		return nil
	}
	rep.MetaHealed, err = healMeta(f, newest, o)
	return err
}

// knownMeta returns an error for a file that bbolt would take for a new one, or
// whose format it does not know.
func knownMeta(f io.ReaderAt, size int64, metas *pagecheck.Metas) error {
	if size == 0 {
		return fmt.Errorf("%w: the file is empty: if it never held anything, remove it", engine.ErrCorrupt)
	}
	best := metas.Newest()
	switch {
	case best == nil && (metas[0].Magic || hasMagic(f, size)):
		return fmt.Errorf("%w: both meta pages are damaged: restore a backup", engine.ErrCorrupt)
	case best == nil && isBlank(f, size):
		return fmt.Errorf("%w: the file holds only zeros", engine.ErrCorrupt)
	case best == nil:
		return fmt.Errorf("%w: it is not a bbolt file", engine.ErrForeign)
	case best.Version > pagecheck.Version:
		return fmt.Errorf("%w: bbolt format %d", engine.ErrNewer, best.Version)
	case best.Version < pagecheck.Version:
		return fmt.Errorf("%w: bbolt format %d", engine.ErrForeign, best.Version)
	case best.FreeList == pagecheck.NoFreeList: // bbolt would rebuild and write it while opening
		return fmt.Errorf("%w: it has no free list", engine.ErrForeign)
	}
	return nil
}

// pageError adds to an error about damaged pages what the operator can do.
func pageError(err error) error {
	if !errors.Is(err, pagecheck.ErrDamaged) {
		return err // the file could not be read
	}
	return fmt.Errorf("%w: %w: nothing was changed; keep the file and restore a backup", engine.ErrCorrupt, err)
}

// searched is the number of bytes at the start of a file that hasMagic searches.
const searched = 64 << 20

// hasMagic reports whether a file, which may be damaged, holds a value of a
// savepoint file.
func hasMagic(f io.ReaderAt, size int64) bool {
	const step = 1 << 20
	magic := format.Magic()
	buf := make([]byte, min(size, step+int64(len(magic))))
	for at := int64(0); at < min(size, searched); at += step {
		n, _ := f.ReadAt(buf, at)
		if bytes.Contains(buf[:n], magic) {
			return true
		}
	}
	return false
}

// isBlank reports whether the start of the file holds only zeros, as after a power
// failure before its first pages were on the disk.
func isBlank(f io.ReaderAt, size int64) bool {
	buf := make([]byte, min(size, 64<<10))
	n, _ := f.ReadAt(buf, 0)
	return len(bytes.Trim(buf[:n], "\x00")) == 0
}

// topValues holds the values of bucket meta that describe the file.
type topValues struct{ file, mark []byte }

func (t *topValues) see(bucket string, key, value []byte) {
	switch {
	case bucket != string(bucketMeta):
	case bytes.Equal(key, metaFile):
		t.file = bytes.Clone(value)
	case bytes.Equal(key, metaMark):
		t.mark = bytes.Clone(value)
	}
}

// headCheck counts the heads that are damaged or stored under another key. Reading
// such a machine reports the damage too, but a machine whose key was changed would
// never be read.
type headCheck struct {
	o       *config
	file    string
	damaged int
}

// headsNamed is the largest number of damaged heads that are logged by name.
const headsNamed = 10

func (c *headCheck) see(bucket string, key, value []byte) {
	if bucket != string(bucketMachines) || value == nil {
		return
	}
	if _, err := parseHead(value, key, c.o.maxStep+valueSlack); err == nil || errors.Is(err, format.ErrNewer) {
		return
	} else if c.damaged++; c.damaged <= headsNamed {
		c.o.logger.Warn("a head is damaged", "file", c.file, "machine", string(key), "error", err)
	}
}

// metaUntouched reports whether both meta pages are good and neither was written by
// transaction id.
func metaUntouched(f io.ReaderAt, id uint64) bool {
	m := pagecheck.ReadMetas(f)
	return !m.Damaged() && m[0].Tx != id && m[1].Tx != id
}
