package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/workload"
)

// Reading configures a measurement of loads. A load reads the head and all events of
// one machine.
type Reading struct {
	Machines int
	Events   int
	Loads    int
	Cold     bool // the store was opened again, and its files are not in memory
}

// ErrNoReading means that a store cannot find one machine's events without reading all.
var ErrNoReading = errors.New("has no way to read one machine")

// Read fills a store and returns its loads per second.
func Read(p peer.Peer, dir string, load *workload.Load, o Reading) (rate float64, err error) {
	s, err := p.Open(dir, load)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.Name, err)
	}
	defer func() {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	r, ok := peer.CanRead(s)
	if !ok {
		return 0, ErrNoReading
	}
	if err := Fill(s, load, 0, o.Machines, 1, uint64(o.Events)); err != nil {
		return 0, fmt.Errorf("%s: fill: %w", p.Name, err)
	}
	if o.Cold {
		// Twice: the first opening moves to its place what only a log held.
		for range 2 {
			if err := s.Close(); err != nil {
				return 0, err
			}
			if err := forget(dir); err != nil {
				return 0, err
			}
			if s, err = p.Open(dir, load); err != nil {
				return 0, err
			}
		}
		r, _ = peer.CanRead(s)
	}
	random := rand.New(rand.NewPCG(3, 7))
	start := time.Now()
	for range o.Loads {
		m := random.IntN(o.Machines)
		n := 0
		seq, err := r.Read(workload.Key(m), func([]byte) { n++ })
		if err != nil {
			return 0, fmt.Errorf("%s: load: %w", p.Name, err)
		}
		if n != o.Events || seq != uint64(o.Events) {
			return 0, fmt.Errorf("%s: load of %s: %d events at seq %d, want %d", p.Name, workload.Key(m), n, seq, o.Events)
		}
	}
	return float64(o.Loads) / time.Since(start).Seconds(), nil
}

// forget asks the system to drop the files below dir from its memory.
func forget(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return dropPages(f)
	})
}
