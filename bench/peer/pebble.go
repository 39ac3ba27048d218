package peer

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/liap-tui/savepoint/bench/workload"
)

// pebbleStore is pebble with its own group commit: each append is a batch of
// event and head, applied with Sync. Applying and waiting are separate, as in
// CockroachDB, so that the order of a machine's events is fixed without a wait for
// the disk. Heads are compared in memory. Settings: the newest format, a
// memtable of 64 MiB (the default of 4 MiB costs flushes), a cache of 128 MiB,
// up to 2 compactions at once; otherwise the defaults, with the WAL on and recycled.
type pebbleStore struct {
	db    *pebble.DB
	cache *pebble.Cache
	heads heads
}

func openPebble(dir string, _ *workload.Load) (Store, error) {
	s := &pebbleStore{cache: pebble.NewCache(128 << 20)}
	s.heads.find = s.head
	var err error
	s.db, err = pebble.Open(dir, &pebble.Options{
		Cache:                      s.cache,
		MemTableSize:               64 << 20,
		FormatMajorVersion:         pebble.FormatNewest,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		Logger:                     silent{},
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// silent is a pebble.Logger that writes nothing.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	pebble.DefaultLogger.Fatalf(format, args...)
}

func (s *pebbleStore) head(machine string) (uint64, error) {
	v, closer, err := s.db.Get(headKey(nil, machine))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	return headSeq(v), nil
}

// put adds an append to a batch.
func (s *pebbleStore) put(b *pebble.Batch, a *Append) error {
	var scratch [300]byte
	key := eventKey(scratch[:0], 'e', a.Machine, a.Seq)
	if err := b.Set(key, a.Event.Bytes, nil); err != nil {
		return err
	}
	if a.State != nil {
		if err := b.Set(eventKey(scratch[:0], 's', a.Machine, a.Seq), a.State, nil); err != nil {
			return err
		}
	}
	var value [8]byte
	return b.Set(headKey(scratch[:0], a.Machine), headValue(value[:0], a.Seq), nil)
}

func (s *pebbleStore) Start(a *Append) (Pending, error) {
	b := s.db.NewBatch()
	err := s.heads.next(a, func() error {
		if err := s.put(b, a); err != nil {
			return err
		}
		return s.db.ApplyNoSyncWait(b, pebble.Sync)
	})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return (*pebbleBatch)(b), nil
}

type pebbleBatch pebble.Batch

func (p *pebbleBatch) Wait() error {
	b := (*pebble.Batch)(p)
	return errors.Join(b.SyncWait(), b.Close())
}

func (s *pebbleStore) Batch(as []*Append) error {
	b := s.db.NewBatch()
	defer b.Close()
	for _, a := range as {
		a.Err = s.heads.next(a, func() error { return s.put(b, a) })
	}
	return b.Commit(pebble.Sync)
}

func (s *pebbleStore) Read(machine string, fn func([]byte)) (uint64, error) {
	seq, err := s.head(machine)
	if err != nil {
		return 0, err
	}
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: eventKey(nil, 'e', machine, 0),
		UpperBound: eventKey(nil, 'e', machine, 1<<63),
	})
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		fn(it.Value())
	}
	return seq, it.Close()
}

func (s *pebbleStore) Count() (n int64, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte("e"), UpperBound: []byte("f")})
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, it.Close()
}

func (s *pebbleStore) Close() error {
	err := s.db.Close()
	s.cache.Unref()
	return err
}

var _ io.Closer = (*pebbleStore)(nil)
