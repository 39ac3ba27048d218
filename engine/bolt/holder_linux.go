package bolt

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// lockHolder returns a text that names the process that holds the file's lock, if
// the system reports it.
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

// flockOwner finds the file in the system's table of locks, whose lines have the
// form "7: FLOCK  ADVISORY  WRITE 1234 00:2b:8675309 0 EOF", with the process that
// took the lock, and the device and inode of the file. pid is 0 if it is not there.
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
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, st.Ino)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue // another lock, or a waiting process, whose line has "->" as an additional field
		}
		if _, err := fmt.Sscan(fields[4], &pid); err == nil {
			return pid, nil
		}
	}
	return 0, nil
}
