package peer

import (
	"github.com/tidwall/wal"

	"github.com/liap-tui/savepoint/bench/workload"
)

// tidwallStore is tidwall/wal, a plain log: one writer, a batch with one sync.
// Heads are kept in memory, and are found by reading the log when it is opened.
// Settings: the defaults (segments of 20 MiB), except NoCopy.
type tidwallStore struct {
	log     *wal.Log
	last    uint64
	batch   wal.Batch
	scratch []byte
	heads   heads
}

func openTidwall(dir string, _ *workload.Load) (Store, error) {
	o := *wal.DefaultOptions
	o.NoCopy = true
	log, err := wal.Open(dir, &o)
	if err != nil {
		return nil, err
	}
	s := &tidwallStore{log: log}
	if s.last, err = log.LastIndex(); err != nil {
		return nil, err
	}
	if _, err := s.Count(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *tidwallStore) Start(*Append) (Pending, error) { panic("peer: a log is used in batches") }

func (s *tidwallStore) Batch(as []*Append) error {
	s.batch.Clear()
	last := s.last
	for _, a := range as {
		a.Err = s.heads.next(a, func() error {
			last++
			s.scratch = appendEntry(s.scratch[:0], a)
			s.batch.Write(last, s.scratch) // copies
			return nil
		})
	}
	if err := s.log.WriteBatch(&s.batch); err != nil {
		return err
	}
	s.last = last
	return nil
}

func (s *tidwallStore) Count() (int64, error) {
	first, err := s.log.FirstIndex()
	if err != nil {
		return 0, err
	}
	return s.heads.replay(first, s.last, s.log.Read)
}

func (s *tidwallStore) Close() error { return s.log.Close() }
