package savepoint

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// searchFile is a closed file with 3,000 events of nine machines, and what each
// is about, by position.
func searchFile(t *testing.T, o boltOptions) (path string, all []engine.Terms) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "search.db")
	e, err := openBolt(path, o)
	require.NoError(t, err)
	for group := range 100 {
		var writes []engine.Write
		for i := range 30 {
			n := group*30 + i
			w := boltWrite(fmt.Sprint("m", n%9), uint64(n/9), 1)
			w.Kind = uint32(1 + n%9/5)
			w.Events[0].Terms = engine.Terms{Name: fmt.Sprint("name", group%7), From: fmt.Sprint("from", i%3), To: fmt.Sprint("to", i%4),
				Actor: fmt.Sprint("actor", n%400), Origin: uint8(1 + n%3), Time: int64(n)}
			if n == 1234 {
				w.Events[0].Terms.Name = "rare"
			}
			all = append(all, w.Events[0].Terms)
			w.Events[0] = enveloped(w.Events[0])
			writes = append(writes, w)
		}
		commitBolt(t, e, writes...)
	}
	require.NoError(t, e.Close())
	return path, all
}

// TestBoltIndex_IsNoTruth: whatever happens to the index, a query finds the same,
// for readers at once, and opening for writing stores what is missing.
func TestBoltIndex_IsNoTruth(t *testing.T) {
	queries := []engine.Query{{Name: "rare"}, {Name: "rare", Newest: true}, {Actor: "actor3"}, {From: "from1", To: "to2", Newest: true},
		{Origin: 2, Kind: 2}, {MinTime: 100, MaxTime: 110}, {Name: "name3", Actor: "actor90"}, {Name: "never"}}
	for name, change := range map[string]func(tx *bolt.Tx) error{
		"nothing":  func(*bolt.Tx) error { return nil },
		"no index": func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketIndexes) },
		"no feed":  func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketPositions) },
		"entry lost": func(tx *bolt.Tx) error {
			k, _ := tx.Bucket(bucketIndexes).Cursor().First()
			return tx.Bucket(bucketIndexes).Delete(k)
		},
		"changed places": func(tx *bolt.Tx) error { return swapLast(tx.Bucket(bucketIndexes)) },
		"damaged": func(tx *bolt.Tx) (err error) {
			b := tx.Bucket(bucketIndexes)
			c := b.Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				v = append([]byte(nil), v...)
				v[len(v)/2] ^= 1
				err = errors.Join(err, b.Put(append([]byte(nil), k...), v))
			}
			return err
		},
	} {
		for mode, o := range map[string]boltOptions{"direct": {}, "ring": {ringBytes: 64 << 10}} {
			t.Run(name+" "+mode, func(t *testing.T) {
				path, all := searchFile(t, o)
				edit(t, path, change)
				for _, o := range []boltOptions{{readOnly: true, gathered: 700}, o, {readOnly: true, lookBytes: 3000}} {
					e, err := openBolt(path, o)
					require.NoError(t, err)
					for _, q := range queries {
						found := map[uint64]bool{}
						require.NoError(t, e.Query(context.Background(), q, func(r engine.Record) error {
							require.NoError(t, r.Err)
							found[r.Pos] = true
							return nil
						}))
						f := newBoltFilter(q)
						for i, terms := range all {
							env := record.Envelope{Time: terms.Time, Name: terms.Name, From: terms.From, To: terms.To, Actor: terms.Actor, Origin: terms.Origin}
							want := f.event(uint32(1+i%9/5), terms.Time, env.Append(nil))
							require.Equal(t, want, found[uint64(i+1)], "%+v: position %d", q, i+1)
						}
					}
					require.NoError(t, e.Close())
				}
				edit(t, path, func(tx *bolt.Tx) error {
					n := 0
					for _, s := range stretchesIn(t, tx, bucketPositions) {
						if s.size() >= indexedStretch {
							n++
						}
					}
					require.Len(t, stretchesIn(t, tx, bucketIndexes), n, "each stretch that is worth it has its contents")
					require.Positive(t, n)
					return nil
				})
			})
		}
	}
}

// TestBoltIndex_LeavesOut: a rare event is found without a look at the other
// stretches: damage to them is not even seen.
func TestBoltIndex_LeavesOut(t *testing.T) {
	path, _ := searchFile(t, boltOptions{})
	edit(t, path, func(tx *bolt.Tx) (err error) {
		for _, s := range stretchesIn(t, tx, bucketPositions) {
			if s.size() >= indexedStretch && (s.first > 1235 || s.last < 1235) {
				err = errors.Join(err, tx.Bucket(bucketPositions).Put(appendValueKey(nil, s.first, s.last), []byte("rubbish")))
			}
		}
		return err
	})
	e := boltAt(t, path, boltOptions{readOnly: true})
	for _, newest := range []bool{false, true} {
		trail := boltTrail{e: e, end: engine.All, most: queryPage, filter: newBoltFilter(engine.Query{Name: "rare"})}
		if newest {
			trail.newest, trail.at, trail.end = true, engine.All, 1
		}
		var found []uint64
		for !trail.done {
			require.NoError(t, trail.next(t.Context()))
			require.False(t, trail.gather, "a stretch was read that has nothing")
			for i := range trail.page {
				found = append(found, trail.page[i].place.Pos)
			}
		}
		require.Equal(t, []uint64{1235}, found)
	}
}
