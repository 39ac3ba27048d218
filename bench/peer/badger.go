package peer

import (
	"errors"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/liap-tui/savepoint/bench/workload"
)

// badgerStore is badger with a transaction of event and head for each append;
// badger groups them by itself. Heads are compared in memory, so badger need not
// detect conflicts. Settings: SyncWrites on, DetectConflicts and metrics off, no
// compression of tables (it would only cost time here); otherwise the defaults.
type badgerStore struct {
	db    *badger.DB
	heads heads
}

func openBadger(dir string, _ *workload.Load) (Store, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).WithSyncWrites(true).WithDetectConflicts(false).
		WithMetricsEnabled(false).WithCompression(options.None).WithLogger(nil))
	if err != nil {
		return nil, err
	}
	s := &badgerStore{db: db}
	s.heads.find = s.head
	return s, nil
}

func (s *badgerStore) head(machine string) (seq uint64, err error) {
	err = s.db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(headKey(nil, machine))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error { seq = headSeq(v); return nil })
	})
	return seq, err
}

// badgerCommit is a pending commit.
type badgerCommit chan error

func (c badgerCommit) Wait() error { return <-c }

func (s *badgerStore) Start(a *Append) (Pending, error) {
	done := make(badgerCommit, 1)
	tx := s.db.NewTransaction(true)
	err := s.heads.next(a, func() error {
		if err := s.put(tx, a); err != nil {
			return err
		}
		tx.CommitWith(func(err error) { done <- err })
		return nil
	})
	if err != nil {
		tx.Discard()
		return nil, err
	}
	return done, nil
}

// put allocates its keys and values, because badger keeps them until the transaction ends.
func (s *badgerStore) put(tx *badger.Txn, a *Append) error {
	if err := tx.Set(eventKey(nil, 'e', a.Machine, a.Seq), a.Event.Bytes); err != nil {
		return err
	}
	if a.State != nil {
		if err := tx.Set(eventKey(nil, 's', a.Machine, a.Seq), a.State); err != nil {
			return err
		}
	}
	return tx.Set(headKey(nil, a.Machine), headValue(nil, a.Seq))
}

func (s *badgerStore) Batch(as []*Append) error {
	b := s.db.NewWriteBatch()
	defer b.Cancel()
	for _, a := range as {
		a.Err = s.heads.next(a, func() error {
			if err := b.Set(eventKey(nil, 'e', a.Machine, a.Seq), a.Event.Bytes); err != nil {
				return err
			}
			return b.Set(headKey(nil, a.Machine), headValue(nil, a.Seq))
		})
	}
	return b.Flush()
}

func (s *badgerStore) Read(machine string, fn func([]byte)) (seq uint64, err error) {
	seq, err = s.head(machine)
	if err != nil {
		return 0, err
	}
	from := eventKey(nil, 'e', machine, 0)
	return seq, s.each(from[:len(from)-8], fn)
}

func (s *badgerStore) each(prefix []byte, fn func([]byte)) error {
	return s.db.View(func(tx *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = prefix
		it := tx.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := it.Item().Value(func(v []byte) error { fn(v); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *badgerStore) Count() (n int64, err error) {
	err = s.each([]byte("e"), func([]byte) { n++ })
	return n, err
}

func (s *badgerStore) Close() error { return s.db.Close() }
