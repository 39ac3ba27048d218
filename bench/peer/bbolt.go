package peer

import (
	"bytes"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/bench/workload"
)

// boltStore is bbolt used directly: an Update for each append, which compares the
// head, and stores the event and the new head. Settings: the file mapped for
// 1 GiB at once, so that it need not be mapped again while it grows; the freelist
// as a map, which is the faster type. Both syncs of bbolt are on.
type boltStore struct{ db *bbolt.DB }

var (
	boltHeads     = []byte("heads")
	boltEvents    = []byte("events")
	boltSnapshots = []byte("snapshots")
)

func openBolt(dir string, _ *workload.Load) (Store, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bolt.db"), 0o600, &bbolt.Options{
		Timeout: time.Second, InitialMmapSize: 1 << 30, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, err
	}
	return &boltStore{db}, db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{boltHeads, boltEvents, boltSnapshots} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *boltStore) Start(*Append) (Pending, error) { panic("peer: bbolt is used in batches") }

func (s *boltStore) Batch(as []*Append) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		heads, events := tx.Bucket(boltHeads), tx.Bucket(boltEvents)
		for _, a := range as {
			machine := []byte(a.Machine)
			if have := headSeq(heads.Get(machine)); have != a.Seq-1 {
				a.Err = conflict(a, have)
				continue
			}
			if err := heads.Put(machine, headValue(nil, a.Seq)); err != nil {
				return err
			}
			key := eventKey(nil, 'e', a.Machine, a.Seq)
			if err := events.Put(key, a.Event.Bytes); err != nil {
				return err
			}
			if a.State != nil {
				if err := tx.Bucket(boltSnapshots).Put(key, a.State); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s *boltStore) Read(machine string, fn func([]byte)) (seq uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		seq = headSeq(tx.Bucket(boltHeads).Get([]byte(machine)))
		from := eventKey(nil, 'e', machine, 0)
		c := tx.Bucket(boltEvents).Cursor()
		for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, from[:len(from)-8]); k, v = c.Next() {
			fn(v)
		}
		return nil
	})
	return seq, err
}

func (s *boltStore) Count() (n int64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(boltEvents).ForEach(func(_, _ []byte) error { n++; return nil })
	})
	return n, err
}

func (s *boltStore) Close() error { return s.db.Close() }
