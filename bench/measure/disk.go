// Package measure runs stores under load and measures time, space and memory.
package measure

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Device returns the type of the file system that contains dir, and whether it is
// in memory, so that nothing stored there is durable.
func Device(dir string) (fsType string, memory bool) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "unknown", false
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "unknown", false
	}
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "unknown", false
	}
	defer f.Close()
	longest, fsType := -1, "unknown"
	for in := bufio.NewScanner(f); in.Scan(); {
		p := strings.Fields(in.Text())
		if len(p) < 3 {
			continue
		}
		at := p[1]
		if (dir == at || at == "/" || strings.HasPrefix(dir, at+"/")) && len(at) >= longest {
			longest, fsType = len(at), p[2]
		}
	}
	return fsType, fsType == "tmpfs" || fsType == "ramfs"
}

// Allocated returns the bytes that the files below dir occupy on the disk.
func Allocated(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, err := e.Info(); err == nil {
				bytes += blocks(info)
			}
		}
		return nil
	})
	return bytes
}

// Probe measures whether the disk is calm, because other processes may use it too.
type Probe struct {
	file *os.File
	best time.Duration
	Wait time.Duration // the longest wait before each cell; 0 = no wait
	Busy int           // cells that started although the disk was not calm
}

// NewProbe makes a small file in dir to sync.
func NewProbe(dir string) (*Probe, error) {
	f, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(make([]byte, 64<<10)); err != nil {
		return nil, err
	}
	return &Probe{file: f}, f.Sync()
}

// once returns the median time of several synced writes.
func (p *Probe) once() time.Duration {
	var took []float64
	page := make([]byte, 4096)
	for i := range 9 {
		start := time.Now()
		_, err := p.file.WriteAt(page, int64(i)*4096)
		if err == nil {
			err = p.file.Sync()
		}
		if err != nil {
			return time.Hour
		}
		took = append(took, float64(time.Since(start)))
	}
	return time.Duration(Median(took))
}

// Calm waits until a synced write takes at most 1.5 times as long as the quickest so
// far, but not longer than Wait, and reports whether the disk is calm.
func (p *Probe) Calm() bool {
	for end := time.Now().Add(p.Wait); ; {
		took := p.once()
		if p.best == 0 || took < p.best {
			p.best = took
		}
		if took <= p.best*3/2 {
			return true
		}
		if time.Now().After(end) {
			p.Busy++
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (p *Probe) String() string {
	return fmt.Sprintf("a synced write of 4 KiB takes %v when the disk is calm; %d cells started when it was not", p.best.Round(time.Microsecond), p.Busy)
}

// Close removes the file.
func (p *Probe) Close() error {
	_ = p.file.Close()
	return os.Remove(p.file.Name())
}
