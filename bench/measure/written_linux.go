package measure

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Written is how many bytes the device below dir has been sent so far, by
// everybody, after the file system was synced: on a calm machine the difference
// of two calls is what happened in between, the file system's own journal
// included. (The account of one process, /proc/self/io, counts whole folios of
// the page cache where a few bytes of them were changed.) ok is false where it
// cannot be told.
func Written(dir string) (bytes int64, ok bool) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Syncfs(int(f.Fd())) != nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return 0, false
	}
	b, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return 0, false
	}
	const sectorsWritten, sector = 6, 512
	fields := strings.Fields(string(b))
	if len(fields) <= sectorsWritten {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[sectorsWritten], 10, 64)
	return n * sector, err == nil
}
