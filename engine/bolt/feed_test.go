package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

// fed returns the records of a feed as text.
func fed(t testing.TB, e engine.Feeder, after uint64) (lines []string) {
	t.Helper()
	_, err := e.Feed(context.Background(), after, func(r engine.Record) error {
		if !errors.Is(r.Err, engine.ErrTrimmed) {
			require.NoError(t, r.Err)
			lines = append(lines, fmt.Sprintf("%d %q %d %q", r.Pos, r.Machine, r.Seq, r.Bytes))
		}
		return nil
	})
	require.NoError(t, err)
	return lines
}

// historyFile returns a closed file with a random history.
func historyFile(t *testing.T, o config, groups int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.db")
	e, err := openWith(path, o)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(9, uint64(groups)))
	seqs := map[string]uint64{}
	for range groups {
		steps := randomSteps(rng, seqs)
		out := make([]engine.Result, len(steps))
		require.NoError(t, e.Commit(context.Background(), steps, out))
		for i := range steps {
			for _, w := range steps[i].Writes {
				if out[i].Err != nil {
					continue
				}
				if seqs[w.Machine] = w.Seq; w.Purge {
					delete(seqs, w.Machine)
				}
			}
		}
	}
	require.NoError(t, e.Close())
	return path
}

// commitBolt stores writes, each a step of its own.
func commitBolt(t testing.TB, e *Engine, writes ...engine.Write) {
	t.Helper()
	var steps []engine.Step
	for _, w := range writes {
		steps = append(steps, stepOf(w))
	}
	out := make([]engine.Result, len(steps))
	require.NoError(t, e.Commit(context.Background(), steps, out))
	for i := range out {
		require.NoError(t, out[i].Err)
	}
}

// edit changes a closed file without the engine.
func edit(t *testing.T, path string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(fn))
	require.NoError(t, db.Close())
}

// indexPages returns the keys of the index pages of a closed file.
func indexPages(t *testing.T, path string) (all []indexPageKey) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.View(func(tx *bbolt.Tx) error { all = indexPagesIn(t, tx, bucketPositions); return nil }))
	return all
}

func indexPagesIn(t *testing.T, tx *bbolt.Tx, bucket []byte) (all []indexPageKey) {
	t.Helper()
	require.NoError(t, tx.Bucket(bucket).ForEach(func(k, _ []byte) error {
		s, ok := parseIndexPageKey(k)
		require.True(t, ok)
		if len(all) == 0 || all[len(all)-1] != s {
			all = append(all, s)
		}
		return nil
	}))
	return all
}

// covered returns the keys of the index pages of a closed file, which must cover each
// position once.
func covered(t *testing.T, path string) []indexPageKey {
	t.Helper()
	all := indexPages(t, path)
	require.Equal(t, uint64(1), all[0].first)
	for i := 1; i < len(all); i++ {
		require.Equal(t, all[i-1].last+1, all[i].first)
	}
	return all
}

// TestIndexPages_LossIsHarmless: after any damage to the buckets positions and
// numbers the feed delivers the same records, for readers at once, and opening for
// writing repairs the buckets.
func TestIndexPages_LossIsHarmless(t *testing.T) {
	t.Parallel()
	whole := historyFile(t, config{}, 250)
	e := openAt(t, whole, config{readOnly: true})
	want := fed(t, e, 0)
	require.Greater(t, len(want), 200)
	require.NoError(t, e.Close())
	flip := func(b []byte) []byte {
		b = append([]byte(nil), b...)
		b[len(b)-1] ^= 1
		return b
	}
	flipEnds := func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketPositions)
		c := b.Cursor()
		k, v := c.First()
		k2, v2 := c.Last()
		return errors.Join(b.Put(k, flip(v)), b.Put(k2, flip(v2)))
	}
	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"a file made before them": func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket(bucketPositions), tx.DeleteBucket(bucketNumbers))
		},
		"numbers lost, and the first index page": func(tx *bbolt.Tx) error {
			if err := tx.DeleteBucket(bucketNumbers); err != nil {
				return err
			}
			k, _ := tx.Bucket(bucketPositions).Cursor().First()
			return tx.Bucket(bucketPositions).Delete(k)
		},
		"an index page lost": func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketPositions).Cursor()
			c.Last()
			k, _ := c.Prev()
			return tx.Bucket(bucketPositions).Delete(k)
		},
		"index pages damaged":                   flipEnds,
		"index pages damaged, and no summaries": func(tx *bbolt.Tx) error { return errors.Join(flipEnds(tx), tx.DeleteBucket(bucketIndexes)) },
		"index pages swapped":                   func(tx *bbolt.Tx) error { return swapLast(tx.Bucket(bucketPositions)) },
		"numbers swapped":                       func(tx *bbolt.Tx) error { return swapLast(tx.Bucket(bucketNumbers)) },
		"a number damaged": func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketNumbers)
			k, v := b.Cursor().First()
			return b.Put(k, flip(v))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := historyFile(t, config{}, 250)
			edit(t, path, change)
			for _, o := range []config{{readOnly: true}, {readBytes: 3000, gathered: 60, readOnly: true}, {gathered: 100}, {journalBytes: 256 << 10}, {readOnly: true}} {
				e, err := openWith(path, o)
				require.NoError(t, err)
				require.Equal(t, want, fed(t, e, 0))
				require.Equal(t, want[len(want)/2:], fed(t, e, positionOf(want[len(want)/2])-1))
				require.NoError(t, e.Close())
			}
			edit(t, path, func(tx *bbolt.Tx) error {
				if name == "a file made before them" {
					require.GreaterOrEqual(t, tx.Bucket(bucketNumbers).Stats().KeyN, tx.Bucket(bucketMachines).Stats().KeyN)
				}
				return nil
			})
			covered(t, path)
		})
	}
}

// swapLast swaps the last two values of a bucket.
func swapLast(b *bbolt.Bucket) error {
	c := b.Cursor()
	k, v := c.Last()
	k2, v2 := c.Prev()
	k, v, k2, v2 = bytes.Clone(k), bytes.Clone(v), bytes.Clone(k2), bytes.Clone(v2)
	return errors.Join(b.Put(k, v2), b.Put(k2, v))
}

func positionOf(line string) (pos uint64) {
	fmt.Sscanf(line, "%d", &pos)
	return pos
}

// TestIndexPages_FewPages: single writes do not make an index page each, and merged
// pages are read as before.
func TestIndexPages_FewPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "few.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	const n = 600
	for seq := range uint64(n) {
		commitBolt(t, e, writeOf("m", seq, 1))
	}
	require.Len(t, fed(t, e, 0), n)
	require.NoError(t, e.Close())
	all := indexPages(t, path)
	require.Less(t, len(all), 2+n/256+16+16)
	require.Equal(t, uint64(n), all[len(all)-1].last)
}

// TestIndexPages_LongPages: index pages reach the largest size, and cover each
// position once.
func TestIndexPages_LongPages(t *testing.T) {
	const longest = format.MaxPageEntries
	for name, c := range map[string]struct{ groups, size, most int }{
		"many groups":     {60, 100, 12},
		"one group":       {1, 2*longest + 1, 3},
		"as long as that": {longest / 64, 64, 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "long.db")
			e, err := openWith(path, config{})
			require.NoError(t, err)
			for i := range c.groups {
				commitBolt(t, e, writeOf("m", uint64(i*c.size), c.size))
			}
			require.Len(t, fed(t, e, 0), c.groups*c.size)
			require.NoError(t, e.Close())
			all := covered(t, path)
			require.Equal(t, indexPageKey{1, longest}, all[0])
			require.LessOrEqual(t, len(all), c.most)
		})
	}
}

// TestIndexPages_FullPageStays: an index page of the largest size is not merged with
// later ones.
func TestIndexPages_FullPageStays(t *testing.T) {
	e := openAt(t, filepath.Join(t.TempDir(), "full.db"), config{})
	commitBolt(t, e, writeOf("m", 0, format.MaxPageEntries))
	next := e.counters.pos + 1
	var from uint64
	require.NoError(t, e.update(func(tx *txn) (err error) {
		e.batch.begin(tx, e.counters)
		_, from, err = e.batch.index.takeMergeable(next, next)
		return err
	}))
	e.batch.end()
	require.Equal(t, next, from)
}

// TestIndexPages_MergeStopsAtDamage: a short index page that is damaged stays, a lost
// one leaves a hole, and records written after it are read.
func TestIndexPages_MergeStopsAtDamage(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint("lost ", lost), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "join.db")
			e, err := openWith(path, config{})
			require.NoError(t, err)
			for seq := range uint64(14) {
				commitBolt(t, e, writeOf("m", seq, 1))
			}
			require.NoError(t, e.Close())
			edit(t, path, func(tx *bbolt.Tx) error {
				key, b := appendValueKey(nil, 5, 5), tx.Bucket(bucketPositions)
				if lost {
					return b.Delete(key)
				}
				return b.Put(key, []byte("rubbish"))
			})
			var o config
			n := 0
			o.seams.commit = func(tx *txn) error {
				if n++; lost && n == 2 { // the hole is not repaired
					return diskFull(tx)
				}
				return tx.commit()
			}
			e = openAt(t, path, o)
			for seq := uint64(14); seq < 40; seq++ {
				commitBolt(t, e, writeOf("m", seq, 1))
			}
			require.Len(t, fed(t, e, 0), 40)
			require.NoError(t, e.Close())
			if all := indexPages(t, path); lost {
				require.NotContains(t, all, indexPageKey{5, 5})
				require.NoError(t, openAt(t, path, config{}).Close())
			}
			require.Contains(t, covered(t, path), indexPageKey{5, 5})
		})
	}
}

// TestIndexPages_RepairsOne: a hole of one position is repaired, wherever it is.
func TestIndexPages_RepairsOne(t *testing.T) {
	for lost := uint64(1); lost <= 4; lost++ {
		path := filepath.Join(t.TempDir(), "one.db")
		e, err := openWith(path, config{})
		require.NoError(t, err)
		for seq := range uint64(4) {
			commitBolt(t, e, writeOf("m", seq, 1))
		}
		require.NoError(t, e.Close())
		edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketPositions).Delete(appendValueKey(nil, lost, lost)) })
		require.Len(t, indexPages(t, path), 3)
		require.NoError(t, openAt(t, path, config{}).Close())
		require.Len(t, indexPages(t, path), 4, "position %d", lost)
	}
}

// TestFeed_DamagedEvent: a damaged block is reported at its positions, the other
// events are delivered.
func TestFeed_DamagedEvent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "damaged.db")
	e, err := openWith(path, config{noCompression: true})
	require.NoError(t, err)
	for seq := range uint64(3) {
		a := writeOf("a", seq, 1)
		a.Schema += seq // so that each event has a block of its own
		commitBolt(t, e, a, writeOf("b", seq, 1))
	}
	require.NoError(t, e.Close())
	edit(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketEvents).Put(appendValueKey(nil, 1, 2), []byte("rubbish"))
	})
	e = openAt(t, path, config{})
	var got []string
	_, err = e.Feed(t.Context(), 0, func(r engine.Record) error {
		got = append(got, fmt.Sprint(r.Machine, r.Seq, " ", errors.Is(r.Err, engine.ErrDamaged)))
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a1 false", "b1 false", "a2 true", "b2 false", "a3 false", "b3 false"}, got)
}

// TestFeed_LargeRecords: a page of large records is divided into smaller pages.
func TestFeed_LargeRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.db")
	e := openAt(t, path, config{readBytes: 20_000, noCompression: true})
	for seq := range uint64(40) {
		w := writeOf("a", seq, 1)
		w.Events[0].Bytes = []byte(fmt.Sprintf("%*d", 7000, seq))
		commitBolt(t, e, w)
	}
	want := fed(t, e, 0)
	require.Len(t, want, 40)
	require.NoError(t, e.Close())
	edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketPositions) })
	require.Equal(t, want, fed(t, openAt(t, path, config{readOnly: true, readBytes: 20_000}), 0), "each once, in how many pieces it may be")
}

// TestFeed_Numbers: the number of a purged machine has no key, which is not damage;
// a missing number of a machine with events is.
func TestFeed_Numbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "numbers.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	commitBolt(t, e, writeOf("a", 0, 1), writeOf("b", 0, 1), writeOf("c", 0, 1))
	commitBolt(t, e, engine.Write{Machine: "a", Expect: 1, Purge: true})
	require.NoError(t, e.Close())
	edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(bucketNumbers).Delete(appendNumberKey(nil, 2)) })
	e = openAt(t, path, config{readOnly: true})
	var whose [4]string
	var errs [4]error
	require.NoError(t, e.view(func(tx *txn) error {
		for n := range whose {
			whose[n], errs[n] = tx.machineOf(uint64(n))
		}
		return nil
	}))
	require.Equal(t, [4]string{3: "c"}, whose)
	require.ErrorContains(t, errs[2], "number 2")
	errs[2] = nil
	require.Equal(t, [4]error{}, errs)
}

// TestIndexPages_Terms: the hashes in an index page are those of the record's terms.
func TestIndexPages_Terms(t *testing.T) {
	env := record.Envelope{Time: 5, Name: "played", From: "turn", To: "scoring", Actor: "ann", Origin: 2, Payload: []byte("x")}
	s := hashesOf(3, env.Append(nil))
	require.Equal(t, format.TermHashes{Known: true, Kind: 3, Name: format.HashTerm([]byte("played")), From: format.HashTerm([]byte("turn")),
		To: format.HashTerm([]byte("scoring")), Origin: 2, Actor: format.HashActor([]byte("ann"))}, s)
	env.To, env.Actor = "turn", ""
	s = hashesOf(3, env.Append(nil))
	require.Equal(t, s.From, s.To)
	require.Zero(t, s.Actor)
	require.False(t, hashesOf(3, []byte{0xff, 0xff}).Known)
}

// TestIndexPages_Restore: an event that was trimmed before its index page was
// repaired is in the feed again once it is restored. It is found by the kind of its
// block, with index pages and without.
func TestIndexPages_Restore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "back.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	for seq := range uint64(6) {
		commitBolt(t, e, writeOf("a", seq, 1), writeOf("b", seq, 1))
	}
	whole := fed(t, e, 0)
	var older []engine.StoredEvent
	_, err = e.Load(t.Context(), "a", engine.LoadRange{Events: true, To: 4}, func(it engine.Item) error {
		older = append(older, engine.StoredEvent{Seq: it.Seq, Pos: it.Pos, Event: engine.Event{Bytes: append([]byte(nil), it.Bytes...)}})
		return nil
	})
	require.NoError(t, err)
	commitBolt(t, e, engine.Write{Machine: "a", Expect: 6, Seq: 6, TrimTo: 4})
	require.NoError(t, e.Close())
	edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketPositions) })
	e = openAt(t, path, config{})
	require.Len(t, fed(t, e, 0), 8)
	for _, kind := range []uint32{2, 3} {
		commitBolt(t, e, engine.Write{Machine: "a", Kind: kind, Expect: 6, Seq: 6, Restore: older})
		require.Equal(t, whole, fed(t, e, 0))
	}
	ofKind := func() (seqs []uint64) {
		require.NoError(t, e.Query(t.Context(), engine.Query{Kind: 3}, func(r engine.Record) error {
			seqs = append(seqs, r.Seq)
			return r.Err
		}))
		return seqs
	}
	require.Equal(t, []uint64{1, 2, 3, 4}, ofKind())
	require.NoError(t, e.Close())
	edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketPositions) })
	e = openAt(t, path, config{readOnly: true})
	require.Equal(t, []uint64{1, 2, 3, 4}, ofKind())
}

// TestIndexPages_RestoreEverywhere: events of several machines that are restored at
// once change all index pages that cover them, up to the last position.
func TestIndexPages_RestoreEverywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "back.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	const groups, events = 3, 20
	for i := range groups {
		commitBolt(t, e, writeOf("a", uint64(i*events), events), writeOf("b", uint64(i*events), events))
	}
	commitBolt(t, e, writeOf("c", 0, 1))
	whole := fed(t, e, 0)
	older := map[string][]engine.StoredEvent{}
	_, err = e.Feed(t.Context(), 0, func(r engine.Record) error {
		older[r.Machine] = append(older[r.Machine], engine.StoredEvent{Seq: r.Seq, Pos: r.Pos, Event: engine.Event{Bytes: bytes.Clone(r.Bytes)}})
		return r.Err
	})
	require.NoError(t, err)
	const seq = groups * events
	commitBolt(t, e, engine.Write{Machine: "a", Expect: seq, Seq: seq, TrimTo: seq}, engine.Write{Machine: "b", Expect: seq, Seq: seq, TrimTo: seq},
		engine.Write{Machine: "c", Expect: 1, Seq: 1, TrimTo: 1})
	require.Empty(t, fed(t, e, 0))
	commitBolt(t, e, engine.Write{Machine: "b", Kind: 3, Expect: seq, Seq: seq, Restore: older["b"]},
		engine.Write{Machine: "a", Kind: 3, Expect: seq, Seq: seq, Restore: older["a"]}, engine.Write{Machine: "c", Kind: 3, Expect: 1, Seq: 1, Restore: older["c"]})
	require.Equal(t, whole, fed(t, e, 0))
	require.Len(t, queried(t, e, engine.Query{Kind: 3}), 2*seq+1)
	require.NoError(t, e.Close())
	require.Len(t, covered(t, path), groups+1)
}

// TestIndexPages_RestoreIntoDamage: restoring an event does not replace a damaged
// index page by one that has only this event.
func TestIndexPages_RestoreIntoDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "back.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	commitBolt(t, e, writeOf("a", 0, 20), writeOf("b", 0, 20))
	whole := fed(t, e, 0)
	commitBolt(t, e, engine.Write{Machine: "a", Expect: 20, Seq: 20, TrimTo: 1})
	require.NoError(t, e.Close())
	edit(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketPositions).Put(appendValueKey(nil, 1, 40), []byte("rubbish"))
	})
	e = openAt(t, path, config{})
	commitBolt(t, e, engine.Write{Machine: "a", Kind: 3, Expect: 20, Seq: 20,
		Restore: []engine.StoredEvent{{Seq: 1, Pos: 1, Event: writeOf("a", 0, 1).Events[0]}}})
	require.Equal(t, whole, fed(t, e, 0))
}

// TestIndexPages_DiskFull: if the disk is too full to store the order of records, the
// file is opened and read all the same; the next opening stores it.
func TestIndexPages_DiskFull(t *testing.T) {
	path := historyFile(t, config{}, 60)
	e := openAt(t, path, config{readOnly: true})
	want := fed(t, e, 0)
	require.NoError(t, e.Close())
	for fail := 2; ; fail++ { // the first commit marks the file as open
		edit(t, path, func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket(bucketPositions), tx.DeleteBucket(bucketIndexes), tx.DeleteBucket(bucketNumbers))
		})
		n, opened := 0, false
		var o config
		o.seams.commit = func(tx *txn) error {
			if n++; n == fail && !opened {
				return diskFull(tx)
			}
			return tx.commit()
		}
		e, err := openWith(path, o)
		require.NoError(t, err, "commit %d failed", fail)
		opened = true
		reached := n >= fail
		require.Equal(t, want, fed(t, e, 0))
		require.NoError(t, e.Close())
		require.NoError(t, openAt(t, path, config{}).Close())
		covered(t, path)
		if !reached {
			require.Greater(t, fail, 3, "numbers and index pages have a transaction each")
			return
		}
	}
}

// countedContext ends at a given call of Err.
type countedContext struct {
	context.Context
	calls, end int
}

func (c *countedContext) Err() error {
	if c.calls++; c.calls == c.end {
		return context.Canceled
	}
	return nil
}

// TestCollectPositions_ContextEnds: collecting ends between two transactions when its
// context ends.
func TestCollectPositions_ContextEnds(t *testing.T) {
	e := openAt(t, historyFile(t, config{}, 60), config{readOnly: true, readBytes: 500})
	ctx := &countedContext{Context: t.Context()}
	require.NoError(t, e.Scan(ctx, "", "", 0, func(string, engine.Head) error { return nil }))
	heads := ctx.calls
	_, err := collectPositions(&countedContext{Context: t.Context(), end: heads + 2}, e, indexPageKey{1, e.counters.pos}, false)
	require.ErrorIs(t, err, context.Canceled)
}

// TestCollectPositions: no more than the largest number of entries is kept, those that
// are reached first, and the positions they cover are returned.
func TestCollectPositions(t *testing.T) {
	const limit = 30
	e := openAt(t, historyFile(t, config{}, 250), config{readOnly: true, gathered: limit})
	last := e.counters.pos
	want := len(fed(t, e, 0))
	require.Greater(t, want, 4*limit)
	for _, newest := range []bool{false, true} {
		found := 0
		for within := (indexPageKey{1, last}); within.last >= within.first; {
			g, err := collectPositions(t.Context(), e, within, newest)
			require.NoError(t, err)
			require.LessOrEqual(t, len(g.entries), limit)
			found += len(g.entries)
			for _, p := range g.entries {
				require.True(t, p.Pos >= g.within.first && p.Pos <= g.within.last)
				require.NotEmpty(t, g.machines[p.Number])
			}
			if newest {
				require.Equal(t, within.last, g.within.last)
				within.last = g.within.first - 1
			} else {
				require.Equal(t, within.first, g.within.first)
				within.first = g.within.last + 1
			}
			if within.last >= within.first {
				require.Len(t, g.entries, limit)
			}
		}
		require.Equal(t, want, found)
	}
}
