package bolt

import (
	"bytes"
	"fmt"
	"os"

	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
)

// healMeta makes sure that the meta page in use is on the disk, not in the
// system's memory only, where it may have been left by a failed sync of an
// earlier process: what is built on it would be lost with it. It is written
// again if the disk has something else, or will not tell. One that is there
// already is left alone, for a power cut may turn to garbage what is being
// written, and this page may be the only one that is good.
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
