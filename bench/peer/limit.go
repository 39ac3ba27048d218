package peer

import (
	"os"
	"path/filepath"

	"github.com/liap-tui/savepoint/bench/workload"
)

// limitStore is no store, but what no store can beat here: a file whose blocks
// are allocated and written before, and for each group one write that is
// synced with it. Nothing is ever read, and the file begins again when it is
// full.
type limitStore struct {
	file  *os.File
	at    int64
	room  []byte
	heads heads
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

// preallocate makes a file of that size with zeros that are really written.
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
	s.room = s.room[:0]
	for _, a := range as {
		a.Err = s.heads.next(a, func() error { s.room = appendEntry(s.room, a); return nil })
	}
	size := (len(s.room) + limitSector - 1) / limitSector * limitSector
	for len(s.room) < size {
		s.room = append(s.room, 0)
	}
	if s.at+int64(size) > limitFile {
		s.at = 0
	}
	if _, err := s.file.WriteAt(s.room, s.at); err != nil {
		return err
	}
	s.at += int64(size)
	return syncAfter(s.file)
}

func (s *limitStore) Close() error { return s.file.Close() }
