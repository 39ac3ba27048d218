package peer

import (
	"os"
	"path/filepath"

	"github.com/liap-tui/savepoint/bench/workload"
)

// limitStore is not a store, but the limit that no store can exceed here: a file
// whose blocks are allocated and written in advance, and for each group one synced
// write. Nothing is ever read, and writing continues at the start of the file when
// the end is reached.
type limitStore struct {
	file    *os.File
	at      int64
	scratch []byte
	heads   heads
}

const (
	limitFile   = 32 << 20
	limitSector = 4096
)

func openLimit(dir string, _ *workload.Load) (Store, error) {
	path := filepath.Join(dir, "limit")
	if err := preallocate(path, limitFile); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|syncFlag, 0o600)
	if err != nil {
		return nil, err
	}
	return &limitStore{file: f}, nil
}

// preallocate makes a file of the given size and writes zeros to all of it.
func preallocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros, at)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func (s *limitStore) Start(*Append) (Pending, error) { panic("peer: the limit is used in batches") }

func (s *limitStore) Batch(as []*Append) error {
	s.scratch = s.scratch[:0]
	for _, a := range as {
		a.Err = s.heads.next(a, func() error { s.scratch = appendEntry(s.scratch, a); return nil })
	}
	size := (len(s.scratch) + limitSector - 1) / limitSector * limitSector
	for len(s.scratch) < size {
		s.scratch = append(s.scratch, 0)
	}
	if s.at+int64(size) > limitFile {
		s.at = 0
	}
	if _, err := s.file.WriteAt(s.scratch, s.at); err != nil {
		return err
	}
	s.at += int64(size)
	return syncAfter(s.file)
}

func (s *limitStore) Close() error { return s.file.Close() }
