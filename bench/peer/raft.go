package peer

import (
	"time"

	"github.com/hashicorp/raft"
)

// raftStore is a raft.LogStore used as a plain log: one writer, entries with
// consecutive numbers, one call for each batch. Heads are kept in memory, and are
// found by reading the log when it is opened.
type raftStore struct {
	log interface {
		raft.LogStore
		Close() error
	}
	last    uint64
	logs    []*raft.Log
	scratch []byte
	heads   heads
}

// start finds the end of the log and the heads.
func (s *raftStore) start() (err error) {
	if s.last, err = s.log.LastIndex(); err != nil {
		return err
	}
	_, err = s.Count()
	return err
}

func (s *raftStore) Start(*Append) (Pending, error) { panic("peer: a log is used in batches") }

func (s *raftStore) Batch(as []*Append) error {
	n, now := 0, time.Now()
	s.scratch = s.scratch[:0]
	for _, a := range as {
		a.Err = s.heads.next(a, func() error {
			if n == len(s.logs) {
				s.logs = append(s.logs, new(raft.Log))
			}
			from := len(s.scratch)
			s.scratch = appendEntry(s.scratch, a)
			*s.logs[n] = raft.Log{Index: s.last + uint64(n) + 1, Term: 1, Data: s.scratch[from:len(s.scratch):len(s.scratch)], AppendedAt: now}
			n++
			return nil
		})
	}
	if n == 0 {
		return nil
	}
	if err := s.log.StoreLogs(s.logs[:n]); err != nil {
		return err
	}
	s.last += uint64(n)
	return nil
}

func (s *raftStore) Count() (int64, error) {
	first, err := s.log.FirstIndex()
	if err != nil {
		return 0, err
	}
	var l raft.Log
	return s.heads.replay(first, s.last, func(index uint64) ([]byte, error) {
		err := s.log.GetLog(index, &l)
		return l.Data, err
	})
}

func (s *raftStore) Close() error { return s.log.Close() }
