package measure

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// peak watches how much memory the process takes at most, over what it had.
type peak struct{ before int64 }

// watchPeak gives unused memory back and begins anew.
func watchPeak() peak {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // VmHWM begins again
	return peak{status("VmRSS:")}
}

// bytes is the most that came on top, mapped pages of files included; 0 where
// the system does not tell.
func (p peak) bytes() int64 { return max(status("VmHWM:")-p.before, 0) }

func status(name string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
