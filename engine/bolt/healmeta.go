package bolt

import (
	"bytes"
	"fmt"
	"os"

	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
)

// healMeta ensures that the meta page in use is on the disk. After a failed sync of
// an earlier process it may be in the system's page cache only, and everything
// written from now on would be lost with it. If the disk holds other bytes, or
// cannot be read, healMeta writes the page again. Otherwise it does not write the
// page, because a power cut can destroy a page that is being written, and this may
// be the only good one.
func healMeta(f *os.File, newest *pagecheck.Meta, o *config) (written bool, err error) {
	there := make([]byte, len(newest.Raw))
	if err := o.seams.readDisk(f, newest.At, there); err != nil || !bytes.Equal(there, newest.Raw[:]) {
		if _, err := f.WriteAt(newest.Raw[:], newest.At); err != nil {
			return false, fmt.Errorf("heal the meta page of %s: %w", f.Name(), err)
		}
		written = true
	}
	if err := o.seams.syncFile(f); err != nil {
		return written, fmt.Errorf("heal the meta page of %s: %w", f.Name(), err)
	}
	return written, nil
}
