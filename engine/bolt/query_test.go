package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// rareEvent is the number of the event in a searchFile whose terms no other one has.
const rareEvent = 1234

// searchKind returns the kind of event n of a searchFile.
func searchKind(n int) uint32 {
	if n == rareEvent {
		return 7
	}
	return uint32(1 + n%9/5)
}

// searchFile returns a closed file with 3,000 events of nine machines, and the terms
// of each, by position.
func searchFile(t *testing.T, o config) (path string, all []engine.Terms) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "search.db")
	e, err := openWith(path, o)
	require.NoError(t, err)
	for group := range 100 {
		var writes []engine.Write
		for i := range 30 {
			n := group*30 + i
			w := writeOf(fmt.Sprint("m", n%9), uint64(n/9), 1)
			w.Kind = searchKind(n)
			w.Events[0].Terms = engine.Terms{Name: fmt.Sprint("name", group%7), From: fmt.Sprint("from", i%3), To: fmt.Sprint("to", i%4),
				Actor: fmt.Sprint("actor", n%400), Origin: uint8(1 + n%3), Time: int64(n)}
			if n == rareEvent {
				w.Events[0].Terms = engine.Terms{Name: "rare", From: "rare", To: "rare", Actor: "rare", Origin: 9, Time: int64(n)}
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

// meant returns the positions in a searchFile that a query selects.
func meant(q engine.Query, all []engine.Terms) (found []uint64) {
	f := newFilter(q)
	for i, terms := range all {
		env := record.Envelope{Time: terms.Time, Name: terms.Name, From: terms.From, To: terms.To, Actor: terms.Actor, Origin: terms.Origin}
		if f.matchesEvent(searchKind(i), terms.Time, env.Append(nil)) {
			found = append(found, uint64(i+1))
		}
	}
	return found
}

// queried returns the positions that a query finds, oldest first.
func queried(t *testing.T, e *Engine, q engine.Query) (found []uint64) {
	t.Helper()
	require.NoError(t, e.Query(context.Background(), q, func(r engine.Record) error {
		found = append(found, r.Pos)
		return r.Err
	}))
	if q.Newest {
		slices.Reverse(found)
	}
	return found
}

// TestPageSummary_LossIsHarmless: after any damage to the summaries a query finds the
// same records, for readers at once, and opening for writing stores what is missing.
func TestPageSummary_LossIsHarmless(t *testing.T) {
	t.Parallel()
	queries := []engine.Query{{Name: "rare"}, {Name: "rare", Newest: true}, {Actor: "actor3"}, {From: "from1", To: "to2", Newest: true},
		{Origin: 2, Kind: 2}, {MinTime: 100, MaxTime: 110}, {Name: "name3", Actor: "actor90"}, {Name: "never"}}
	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"nothing":  func(*bbolt.Tx) error { return nil },
		"no index": func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketIndexes) },
		"no feed":  func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketPositions) },
		"entry lost": func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketIndexes).Cursor().First()
			return tx.Bucket(bucketIndexes).Delete(k)
		},
		"changed places": func(tx *bbolt.Tx) error { return swapLast(tx.Bucket(bucketIndexes)) },
		"damaged": func(tx *bbolt.Tx) (err error) {
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
		for mode, o := range map[string]config{"direct": {}, "journal": {journalBytes: 64 << 10}} {
			t.Run(name+" "+mode, func(t *testing.T) {
				path, all := searchFile(t, o)
				edit(t, path, change)
				for _, o := range []config{{readOnly: true, gathered: 700}, o, {readOnly: true, readBytes: 3000}} {
					e, err := openWith(path, o)
					require.NoError(t, err)
					for _, q := range queries {
						require.Equal(t, meant(q, all), queried(t, e, q), "%+v", q)
					}
					require.NoError(t, e.Close())
				}
				edit(t, path, func(tx *bbolt.Tx) error {
					n := 0
					for _, s := range indexPagesIn(t, tx, bucketPositions) {
						if s.size() >= minSummarized {
							n++
						}
					}
					require.Len(t, indexPagesIn(t, tx, bucketIndexes), n, "each index page that is large enough has a summary")
					require.Positive(t, n)
					return nil
				})
			})
		}
	}
}

// TestQuery_SkipsIndexPages: each filter finds its records without reading the index
// pages in which nothing matches: damage to them is not even noticed.
func TestQuery_SkipsIndexPages(t *testing.T) {
	path, all := searchFile(t, config{})
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, q := range []engine.Query{{Name: "rare"}, {From: "rare"}, {To: "rare"}, {Actor: "rare"}, {Origin: 9}, {Kind: 7}, {Name: "never"},
		{MinTime: rareEvent, MaxTime: rareEvent}, {MaxTime: 99}, {MinTime: 2950, MaxTime: math.MaxInt64}} {
		t.Run(fmt.Sprintf("%+v", q), func(t *testing.T) {
			want := meant(q, all)
			path := filepath.Join(t.TempDir(), "search.db")
			require.NoError(t, os.WriteFile(path, whole, 0o600))
			edit(t, path, func(tx *bbolt.Tx) (err error) {
				damaged := 0
				for _, s := range indexPagesIn(t, tx, bucketPositions) {
					has := func(pos uint64) bool { return pos >= s.first && pos <= s.last }
					if s.size() >= minSummarized && !slices.ContainsFunc(want, has) {
						damaged++
						err = errors.Join(err, tx.Bucket(bucketPositions).Put(appendValueKey(nil, s.first, s.last), []byte("rubbish")))
					}
				}
				require.Positive(t, damaged)
				return err
			})
			e := openAt(t, path, config{readOnly: true})
			for _, newest := range []bool{false, true} {
				cursor := positionCursor{e: e, end: engine.All, page: feedPage{limit: firstQueryPage}, filter: newFilter(q)}
				if newest {
					cursor.newest, cursor.at, cursor.end = true, engine.All, 1
				}
				var found []uint64
				for !cursor.done {
					require.NoError(t, cursor.next(t.Context()))
					require.False(t, cursor.index.collect, "no index page without a match is read")
					for i := range cursor.page.records {
						found = append(found, cursor.page.records[i].entry.Pos)
					}
				}
				if newest {
					slices.Reverse(found)
				}
				require.Equal(t, want, found)
			}
		})
	}
}

// TestPageSummary_Bounds: a summary includes the first and the last time of its page.
func TestPageSummary_Bounds(t *testing.T) {
	path, _ := searchFile(t, config{})
	e := openAt(t, path, config{readOnly: true})
	for _, s := range indexPages(t, path) {
		for _, pos := range []uint64{max(s.first, 2), s.last} {
			require.Equal(t, []uint64{pos}, queried(t, e, engine.Query{MinTime: int64(pos - 1), MaxTime: int64(pos - 1)}))
		}
	}
}

// TestPageSummary_SmallPagesHaveNone: index pages of at least 256 positions have a
// summary, smaller ones have none.
func TestPageSummary_SmallPagesHaveNone(t *testing.T) {
	for n, want := range map[int]int{255: 0, 256: 1} {
		path := filepath.Join(t.TempDir(), "size.db")
		e, err := openWith(path, config{})
		require.NoError(t, err)
		commitBolt(t, e, writeOf("m", 0, n))
		require.NoError(t, e.Close())
		edit(t, path, func(tx *bbolt.Tx) error {
			require.Len(t, indexPagesIn(t, tx, bucketIndexes), want, "%d positions", n)
			return nil
		})
	}
}

// TestQuery_UnknownTerms: a record of a form that this version does not know may match
// any query: it is delivered, from the journal and from the buckets.
func TestQuery_UnknownTerms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unknown.db")
	o := config{journalBytes: 1 << 20}
	e := openAt(t, path, o)
	w := writeOf("m", 0, 2*minSummarized)
	for i := range w.Events {
		w.Events[i].Terms = engine.Terms{Name: "known", From: "known", To: "known", Actor: "known", Origin: 1}
		w.Events[i] = enveloped(w.Events[i])
	}
	w.Events[0].Bytes = binary.AppendUvarint(nil, 1<<40) // a field of a later build
	commitBolt(t, e, w)
	for _, where := range []string{"journal", "file"} {
		for _, q := range []engine.Query{{Name: "x"}, {From: "x"}, {To: "x"}, {Actor: "x"}, {Origin: 2}} {
			require.Equal(t, []uint64{1}, queried(t, e, q), "%s: %+v", where, q)
		}
		require.NoError(t, e.Close())
		e = openAt(t, path, o)
	}
}
