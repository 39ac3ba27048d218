package measure

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// peak measures the largest increase of the process's memory.
type peak struct{ before int64 }

// watchPeak returns unused memory to the system and starts a new measurement.
func watchPeak() peak {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // resets VmHWM
	return peak{status("VmRSS:")}
}

// bytes returns the largest increase since watchPeak, mapped pages of files
// included; 0 if the system does not report it.
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
