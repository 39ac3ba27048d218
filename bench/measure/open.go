package measure

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/workload"
)

// Opened is how long a store with many events takes to open.
type Opened struct {
	Clean, Crash time.Duration
	FileBytes    int64
}

// Open fills a store, and opens it after a clean close, and a copy of it as a
// killed process would have left it. The files are in memory.
func Open(p peer.Peer, dir string, load *workload.Load, machines, events int) (r Opened, err error) {
	at, copyAt := filepath.Join(dir, "store"), filepath.Join(dir, "copy")
	for _, d := range []string{at, copyAt} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return r, err
		}
	}
	s, err := p.Open(at, load)
	if err != nil {
		return r, fmt.Errorf("%s: %w", p.Name, err)
	}
	machines = min(machines, events)
	if err := Fill(s, load, 0, machines, 1, uint64(events/machines)); err != nil {
		return r, fmt.Errorf("%s: fill: %w", p.Name, err)
	}
	// Nothing is being written, so the copy is what the system has of the files.
	if err := copyDir(copyAt, at); err != nil {
		return r, err
	}
	if err := s.Close(); err != nil {
		return r, err
	}
	r.FileBytes = Allocated(at)
	if r.Clean, err = timeOpen(p, at, load); err != nil {
		return r, err
	}
	r.Crash, err = timeOpen(p, copyAt, load)
	return r, err
}

func timeOpen(p peer.Peer, dir string, load *workload.Load) (time.Duration, error) {
	start := time.Now()
	s, err := p.Open(dir, load)
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("%s: open: %w", p.Name, err)
	}
	return took, s.Close()
}

func copyDir(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		if e.IsDir() {
			return os.Mkdir(filepath.Join(to, rel), 0o700)
		}
		return copyFile(filepath.Join(to, rel), path)
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
