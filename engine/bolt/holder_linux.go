package bolt

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// lockHolder says which process has the file locked, as far as the system tells.
func lockHolder(path string) string {
	pid, err := flockOwner(path)
	switch {
	case err != nil || pid <= 0:
		return "another process, or in this one"
	case pid == os.Getpid():
		return fmt.Sprintf("this process already (pid %d)", pid)
	}
	return fmt.Sprintf("the process with pid %d", pid)
}

// flockOwner looks the file up in the system's table of locks, whose lines are
// like "7: FLOCK  ADVISORY  WRITE 1234 00:2b:8675309 0 EOF": the process that
// took the lock, and the file's device and inode. 0 means that it is not there.
func flockOwner(path string) (pid int, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, err
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	major, minor := st.Dev>>8&0xfff|st.Dev>>32&^0xfff, st.Dev&0xff|st.Dev>>12&^0xff
	place := fmt.Sprintf("%02x:%02x:%d", major, minor, st.Ino)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != place {
			continue // also those who wait, which have "->" first
		}
		if _, err := fmt.Sscan(fields[4], &pid); err == nil {
			return pid, nil
		}
	}
	return 0, nil
}
