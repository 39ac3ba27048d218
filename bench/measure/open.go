package measure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/liap-tui/savepoint/bench/peer"
	"github.com/liap-tui/savepoint/bench/workload"
)

// Opened holds how long a store with many events takes to open.
type Opened struct {
	Clean, Crash Opening
	FileBytes    int64
}

// Opening is one opening. Check and Replayed are reported by the store.
type Opening struct {
	Time     time.Duration // without Check
	Check    time.Duration // the check of the file's structure
	Replayed int64         // bytes of a journal
}

// Open fills a store, and measures opening it after a clean close, and opening a
// copy that equals what a killed process leaves. The files are in the page cache.
func Open(p peer.Peer, dir string, load *workload.Load, machines, events int) (r Opened, err error) {
	at, copyAt := filepath.Join(dir, "full"), filepath.Join(dir, "copy")
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
	// Nothing is being written, so the copy equals the files as the system has them.
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

// FullJournal opens a copy of a file of savepoint's engine whose journal holds about
// the given number of bytes that are not in the buckets yet. The journal is made more
// than twice that size, because a checkpoint starts when half of it is in use.
func FullJournal(dir string, load *workload.Load, machines, events int, bytes int64) (r Opening, err error) {
	at := filepath.Join(dir, "journal")
	if err := os.Mkdir(at, 0o700); err != nil {
		return r, err
	}
	machines = min(machines, events)
	each := uint64(events / machines)
	if err := use(at, -1, func(s peer.Store) error { return Fill(s, load, 0, machines, 1, each) }); err != nil {
		return r, err
	}
	// What a round of appends to all machines leaves in the journal.
	try := filepath.Join(dir, "try")
	var round int64
	size := 2*bytes + bytes/4
	rounds := func(to string, n uint64) error {
		return use(at, size, func(s peer.Store) error {
			err := Fill(s, load, 0, machines, each+1, each+n)
			each += n
			if err != nil {
				return err
			}
			return copyDir(to, at)
		})
	}
	if err := os.Mkdir(try, 0o700); err != nil {
		return r, err
	}
	if err := rounds(try, 1); err != nil {
		return r, err
	}
	if r, err = timeOpening(func() (peer.Store, error) { return peer.OpenEngine(try, size) }); err != nil {
		return r, err
	}
	if round = r.Replayed; round == 0 {
		return r, fmt.Errorf("the journal is empty")
	}
	crashed := filepath.Join(dir, "crashed")
	if err := os.Mkdir(crashed, 0o700); err != nil {
		return r, err
	}
	if err := rounds(crashed, uint64(max(1, bytes/round))); err != nil {
		return r, err
	}
	return timeOpening(func() (peer.Store, error) { return peer.OpenEngine(crashed, size) })
}

func use(dir string, journal int64, fn func(peer.Store) error) error {
	s, err := peer.OpenEngine(dir, journal)
	if err != nil {
		return err
	}
	return errors.Join(fn(s), s.Close())
}

func timeOpen(p peer.Peer, dir string, load *workload.Load) (Opening, error) {
	r, err := timeOpening(func() (peer.Store, error) { return p.Open(dir, load) })
	if err != nil {
		err = fmt.Errorf("%s: open: %w", p.Name, err)
	}
	return r, err
}

func timeOpening(open func() (peer.Store, error)) (r Opening, err error) {
	start := time.Now()
	s, err := open()
	r.Time = time.Since(start)
	if err != nil {
		return r, err
	}
	if reporter, ok := s.(peer.Reporter); ok {
		rep := reporter.OpenReport()
		r.Check, r.Replayed = rep.Check.Time, rep.Replay.Bytes
		r.Time -= r.Check
	}
	return r, s.Close()
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
	_, err = io.Copy(out, in)
	if err == nil { // otherwise the store's first sync has to write the copy too
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
