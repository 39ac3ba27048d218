package savepoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/long"
	"github.com/liap-tui/savepoint/report"
)

// TestDamage_NewerValues_AreNotDamage reads values of a newer format: they return ErrNewer, the machine is not quarantined, and
// no recovery overwrites them.
func TestDamage_NewerValues_AreNotDamage(t *testing.T) {
	for _, bucket := range []string{"machines", "events", "snapshots"} {
		t.Run(bucket, func(t *testing.T) {
			path := ledgers(t, ledgerKind(-1), nil, 5, "a", "b")
			inFile(t, path, func(tx *bolt.Tx) error {
				key := headKey("ledger", "a")
				switch bucket {
				case "events":
					key = valueKey(t, tx, "a", 3)
				case "snapshots":
					key = valueKey(t, tx, "a", 0)
				}
				return tx.Bucket([]byte(bucket)).Put(key, newer(value(t, tx, bucket, key)))
			})
			db, s := reopen(t, path, ledgerKind(-1), nil)
			_, err := s.Load(t.Context(), "a")
			says(t, err, savepoint.ErrNewer, `"a"`, "format 2")
			require.NotErrorIs(t, err, savepoint.ErrCorrupt)
			_, err = s.Append(t.Context(), "a", entry(6))
			require.ErrorIs(t, err, savepoint.ErrNewer)
			_, err = s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true})
			require.ErrorIs(t, err, savepoint.ErrNewer, "a recovery would overwrite what the newer program wrote")
			_, err = s.Verify(t.Context(), "a")
			require.ErrorIs(t, err, savepoint.ErrNewer)
			assert.Empty(t, db.Quarantined())
			well(t, s, "b", 5)
		})
	}
}

// TestDamage_EveryByte flips a bit in each byte of the values of a machine, and of some of two others:
//  1. every flip is found, or the result is the same; no wrong state is ever shown;
//  2. the errors name the damaged machine, and the others can be used.
//
// row G17
func TestDamage_EveryByte(t *testing.T) {
	k := ledgerKind(4)
	from := ledgers(t, k, nil, 9, "a", "b", "c")
	path := filepath.Join(t.TempDir(), "compact.db") // its pages have no stale copies of values
	src, err := bolt.Open(from, 0o600, nil)
	require.NoError(t, err)
	dst, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, bolt.Compact(dst, src, 0))
	type place struct {
		bucket, id string
		at, n      int
	}
	var places []place
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, src.View(func(tx *bolt.Tx) error {
		for _, bucket := range []string{"machines", "events", "snapshots"} {
			if err := tx.Bucket([]byte(bucket)).ForEach(func(key, v []byte) error {
				at := bytes.Index(content, v)
				require.GreaterOrEqual(t, at, 0)
				require.Equal(t, at, bytes.LastIndex(content, v))
				number := format.PeekHeader(v).Number
				places = append(places, place{bucket, string(rune('a' + number - 1)), at, len(v)})
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, src.Close())
	require.NoError(t, dst.Close())
	require.Len(t, places, 3*(1+9+3))

	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	flips, found := 0, 0
	for _, p := range places {
		stride := 17
		if p.id == "b" {
			stride /= min(17, long.N(t, 3, 170))
		}
		for i := 0; i < p.n; i += stride {
			at := p.at + i
			_, err := f.WriteAt([]byte{content[at] ^ 1<<(i%8)}, int64(at))
			require.NoError(t, err)
			flips++
			if !readsRight(t, path, k, p.bucket, p.id) {
				found++
			}
			_, err = f.WriteAt(content[at:at+1], int64(at))
			require.NoError(t, err)
			if t.Failed() {
				t.Fatalf("byte %d of %d of a value in %s of machine %s", i, p.n, p.bucket, p.id)
			}
		}
	}
	t.Logf("%d flips, %d found", flips, found)
	assert.Equal(t, flips, found, "each byte is covered by a checksum")
}

// readsRight opens a file for reading in which one value of the machine harmed is damaged, checks that nothing wrong is
// shown, and returns whether nothing reported the damage.
func readsRight(t *testing.T, path string, k savepoint.Kind[ledger], bucket, harmed string) (right bool) {
	db, err := savepoint.Open(path, &savepoint.Options{ReadOnly: true})
	require.NoError(t, err)
	defer db.Close()
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	ctx := t.Context()
	right = true
	for _, id := range []string{"a", "b", "c"} {
		tell := func(err error) bool {
			if err == nil {
				return true
			}
			right = false
			assert.Equal(t, harmed, id, "a machine that is not damaged returns %v", err)
			assert.ErrorIs(t, err, savepoint.ErrCorrupt)
			return false
		}
		if st, err := s.Load(ctx, id); tell(err) {
			assert.Equal(t, after(9), st.Value)
			assert.EqualValues(t, 9, st.Seq)
		} else {
			assert.ErrorIs(t, err, savepoint.ErrQuarantined)
			assert.NotEqual(t, "snapshots", bucket, "the state can be rebuilt from an older snapshot: %v", err)
		}
		if id != harmed {
			continue
		}
		for seq := range uint64(10) {
			if st, err := s.At(ctx, id, savepoint.AtSeq(seq)); tell(err) {
				assert.Equal(t, after(int(seq)), st.Value)
			}
		}
		want := uint64(1)
		for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
			var gap *savepoint.GapError
			if errors.As(err, &gap) {
				right = false
				assert.Equal(t, want, gap.From)
				want = gap.To + 1
				continue
			}
			if tell(err) {
				assert.Equal(t, want, rec.Seq)
				assert.Equal(t, entry(int(want)), rec.Event)
				want++
			}
		}
		if bucket != "machines" || want > 1 { // without a head the records may not be found, and an error said so
			assert.EqualValues(t, 10, want)
		}
		for info, err := range s.Snapshots(ctx, id, savepoint.SnapshotRange{}) {
			if tell(err) {
				tell(info.Err)
			}
		}
	}
	return right
}

// TestDamage_MovedRecords copies, swaps, moves and deletes values of machine "a", which has 12 events and snapshots at 0, 5 and
// 10, as machine "b" has: reads of "a" return what is right or an error, and "b" can be used.
func TestDamage_MovedRecords(t *testing.T) {
	move := func(bucket string, from, to uint64, put func(tx *bolt.Tx, b *bolt.Bucket, kf, kt []byte) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			inFile(t, path, func(tx *bolt.Tx) error {
				return put(tx, tx.Bucket([]byte(bucket)), valueKey(t, tx, "a", from), valueKey(t, tx, "a", to))
			})
		}
	}
	other := func(t *testing.T, tx *bolt.Tx, seq uint64) []byte { return valueKey(t, tx, "b", seq) }
	get := func(b *bolt.Bucket, k []byte) []byte { return bytes.Clone(b.Get(k)) }
	type op = func(tx *bolt.Tx, b *bolt.Bucket, kf, kt []byte) error
	duplicate := op(func(_ *bolt.Tx, b *bolt.Bucket, kf, kt []byte) error { return b.Put(kt, get(b, kf)) })
	swap := op(func(_ *bolt.Tx, b *bolt.Bucket, kf, kt []byte) error {
		f, to := get(b, kf), get(b, kt)
		return errors.Join(b.Put(kt, f), b.Put(kf, to))
	})
	moved := op(func(_ *bolt.Tx, b *bolt.Bucket, kf, kt []byte) error {
		v := get(b, kf)
		return errors.Join(b.Delete(kf), b.Put(kt, v))
	})
	for name, c := range map[string]struct {
		do      func(*testing.T, string)
		loads   bool
		damaged []uint64 // the records that Events has to report as a gap
	}{
		"event deleted, tail":      {func(t *testing.T, p string) { remove(t, p, "events", "a", 11) }, false, []uint64{11}},
		"last event deleted":       {func(t *testing.T, p string) { remove(t, p, "events", "a", 12) }, false, []uint64{12}},
		"first event deleted":      {func(t *testing.T, p string) { remove(t, p, "events", "a", 1) }, true, []uint64{1}},
		"all events deleted":       {func(t *testing.T, p string) { remove(t, p, "events", "a", fromTo(1, 12)...) }, false, fromTo(1, 12)},
		"event over the next":      {move("events", 11, 12, duplicate), false, []uint64{12}},
		"event behind the head":    {move("events", 11, 13, duplicate), true, nil},
		"events swapped":           {move("events", 11, 12, swap), false, []uint64{11, 12}},
		"old events swapped":       {move("events", 2, 3, swap), true, []uint64{2, 3}},
		"event moved behind":       {move("events", 11, 13, moved), false, []uint64{11}},
		"snapshot over a later":    {move("snapshots", 5, 10, duplicate), true, nil},
		"snapshots swapped":        {move("snapshots", 5, 10, swap), true, nil},
		"snapshot moved":           {move("snapshots", 10, 12, moved), true, nil},
		"snapshot moved to an old": {move("snapshots", 5, 3, moved), true, nil},
		"base as the newest":       {move("snapshots", 0, 12, duplicate), true, nil},
		"another machine's event": {func(t *testing.T, p string) {
			inFile(t, p, func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte("events"))
				return b.Put(valueKey(t, tx, "a", 12), get(b, other(t, tx, 12)))
			})
		}, false, []uint64{12}},
		"another machine's snapshot": {func(t *testing.T, p string) {
			inFile(t, p, func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte("snapshots"))
				return b.Put(valueKey(t, tx, "a", 10), get(b, other(t, tx, 10)))
			})
		}, true, nil},
		"another machine's head": {func(t *testing.T, p string) {
			inFile(t, p, func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte("machines"))
				return b.Put(headKey("ledger", "a"), get(b, headKey("ledger", "b")))
			})
		}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := ledgerKind(5)
			path := ledgers(t, k, nil, 12, "a", "b")
			c.do(t, path)
			db, s := reopen(t, path, k, nil)
			ctx := t.Context()
			if c.loads {
				well(t, s, "a", 12)
			} else {
				_, err := s.Load(ctx, "a")
				says(t, err, savepoint.ErrQuarantined, `"a"`)
				require.ErrorIs(t, err, savepoint.ErrCorrupt)
				assert.Len(t, db.Quarantined(), 1)
			}
			for seq := range uint64(13) {
				if st, err := s.At(ctx, "a", savepoint.AtSeq(seq)); err == nil {
					assert.Equal(t, after(int(seq)), st.Value)
				} else {
					require.ErrorIs(t, err, savepoint.ErrCorrupt)
				}
			}
			var reported []uint64
			for _, g := range history(t, s, "a", savepoint.EventRange{}).gaps {
				reported = append(reported, fromTo(g.From, g.To)...)
			}
			if !strings.HasSuffix(name, "head") {
				assert.Equal(t, c.damaged, reported)
			}
			if !c.loads {
				_, err := s.Verify(ctx, "a")
				require.Error(t, err)
			} else {
				write(t, s, "a", 13, 14)
				well(t, s, "a", 14)
				st, err := s.At(ctx, "a", savepoint.AtSeq(13))
				require.NoError(t, err)
				assert.Equal(t, after(13), st.Value)
			}
			well(t, s, "b", 12)
		})
	}
}

// TestDamage_Chain_ExchangedRecord puts a sound record of another history in the place of one: the digest of the chain finds it.
func TestDamage_Chain_ExchangedRecord(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 8, "a")
	other := filepath.Join(t.TempDir(), "other.db")
	db, s := reopen(t, other, k, nil)
	for i := range 8 {
		_, err := s.Append(t.Context(), "a", booked{N: i, Text: "another history"})
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	var v []byte
	inFile(t, other, func(tx *bolt.Tx) error {
		require.NoError(t, apart(t, tx))
		v = value(t, tx, "events", valueKey(t, tx, "a", 4))
		return nil
	})
	inFile(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("events")).Put(valueKey(t, tx, "a", 4), v) })
	_, s = reopen(t, path, k, nil)
	_, err := s.Load(t.Context(), "a")
	says(t, err, savepoint.ErrQuarantined, "chain", "digest")
	_, err = s.Verify(t.Context(), "a")
	says(t, err, savepoint.ErrCorrupt, "digest")
}

// TestDamage_OneMachineOfAHundred damages all values of one machine: the other 99 serve and take writes.
func TestDamage_OneMachineOfAHundred(t *testing.T) {
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprintf("m-%02d", i))
	}
	k := ledgerKind(3)
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, k, nil)
	for _, id := range ids {
		_, err := s.Update(t.Context(), id, func(m *savepoint.Machine[ledger]) error {
			return m.Append(entry(1), entry(2), entry(3), entry(4))
		})
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	inFile(t, path, func(tx *bolt.Tx) error {
		for _, bucket := range []string{"events", "snapshots"} {
			b, prefix := tx.Bucket([]byte(bucket)), valueKey(t, tx, "m-57", 0)[:8]
			for key, v := b.Cursor().Seek(prefix); bytes.HasPrefix(key, prefix); key, v = b.Cursor().Seek(append(bytes.Clone(key), 0)) {
				if err := b.Put(bytes.Clone(key), harm(bytes.Clone(v))); err != nil {
					return err
				}
			}
		}
		return nil
	})
	db, s = reopen(t, path, k, nil)
	for _, id := range ids {
		if id == "m-57" {
			_, err := s.Load(t.Context(), id)
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			continue
		}
		well(t, s, id, 4)
		write(t, s, id, 5, 5)
		well(t, s, id, 5)
	}
	n := 0
	for _, err := range s.List(t.Context(), savepoint.ListOptions{}) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 100, n)
	require.Len(t, db.Quarantined(), 1)
}

// TestDamage_Snapshot_CanBeDeleted lists a damaged snapshot with its error, and deletes it: Verify is satisfied afterwards.
func TestDamage_Snapshot_CanBeDeleted(t *testing.T) {
	k := ledgerKind(5)
	path := ledgers(t, k, nil, 12, "a")
	spoil(t, path, "snapshots", "a", 5)
	_, s := reopen(t, path, k, nil)
	var list []string
	for info, err := range s.Snapshots(t.Context(), "a", savepoint.SnapshotRange{}) {
		require.NoError(t, err)
		list = append(list, fmt.Sprint(info.Seq, info.Err != nil))
	}
	assert.Equal(t, []string{"0 false", "5 true", "10 false"}, list)
	_, err := s.Verify(t.Context(), "a")
	says(t, err, savepoint.ErrCorrupt, "snapshot 5")
	found, err := s.DeleteSnapshot(t.Context(), "a", 5)
	require.NoError(t, err)
	assert.True(t, found)
	v, err := s.Verify(t.Context(), "a")
	require.NoError(t, err)
	assert.True(t, v.OK())
}

// TestDamage_EveryValue damages each stored value of a machine in turn, or loses it:
//  1. another machine is not affected;
//  2. the machine shows its right state or is quarantined, and no point ever shows a wrong one;
//  3. after a partial recovery it serves again, from a right older state, and the report names what was given up.
func TestDamage_EveryValue(t *testing.T) {
	k := tallyKind("tally", savepoint.Hybrid, savepoint.SnapshotPolicy{Events: 4, Every: -1, Keep: 3, NoClose: true})
	for _, part := range []engine.Part{engine.PartEvent, engine.PartSnapshot} {
		for _, lost := range []bool{true, false} {
			if lost && part == engine.PartSnapshot {
				continue // an engine then returns the next older one
			}
			for bad := range uint64(16) {
				bubble(t, func(t *testing.T, ctx context.Context) {
					f := newFaulty()
					f.stays = true
					db, s := openFaulty(t, f, savepoint.Options{}, k)
					var want []int64
					for n := range int64(14) {
						_, err := s.Append(ctx, "g", added{N: n})
						require.NoError(t, err)
						_, err = s.Append(ctx, "other", added{N: n})
						require.NoError(t, err)
					}
					for n := range int64(15) {
						want = append(want, n*(n-1)/2)
					}
					require.NoError(t, db.Close())
					f.damage = func(m string, it *engine.Item) bool {
						if it.Part == part && it.Seq == bad && m == "\x05tallyg" {
							it.Bytes, it.Err = nil, &engine.Damage{Machine: m, Part: "event", Seq: bad, Why: errDisk}
							return lost
						}
						return false
					}
					db, s = openFaulty(t, f, savepoint.Options{}, k)
					defer db.Close()
					st, err := s.Load(ctx, "other")
					require.NoError(t, err)
					assert.EqualValues(t, want[14], st.Value.Sum)
					for seq := range uint64(15) {
						if st, err := s.At(ctx, "g", savepoint.AtSeq(seq)); err == nil {
							assert.EqualValues(t, want[seq], st.Value.Sum)
						} else {
							require.ErrorIs(t, err, savepoint.ErrCorrupt)
						}
					}
					st, err = s.Load(ctx, "g")
					if err == nil {
						assert.EqualValues(t, want[14], st.Value.Sum)
						assert.Empty(t, db.Quarantined())
						return
					}
					require.ErrorIs(t, err, savepoint.ErrQuarantined)
					require.ErrorIs(t, err, savepoint.ErrCorrupt)
					assert.Len(t, db.Quarantined(), 1)
					_, err = s.Append(ctx, "g", added{N: 1})
					require.ErrorIs(t, err, savepoint.ErrQuarantined)
					_, err = s.Recover(ctx, "g", savepoint.RecoverOptions{})
					require.ErrorIs(t, err, savepoint.ErrCorrupt)
					rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{Partial: true})
					require.NoError(t, err)
					assert.Equal(t, report.Partial, rep.Status)
					assert.Equal(t, bad, rep.LostFrom)
					assert.EqualValues(t, 14, rep.LostTo)
					assert.Empty(t, db.Quarantined())
					_, err = s.Append(ctx, "g", added{N: 1000})
					require.NoError(t, err)
					st, err = s.Load(ctx, "g")
					require.NoError(t, err)
					assert.EqualValues(t, want[rep.Seq]+1000, st.Value.Sum)
					gaps := 0
					for _, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
						var gap *savepoint.GapError
						if errors.As(err, &gap) {
							gaps++
							assert.Equal(t, []uint64{bad, 14}, []uint64{gap.From, gap.To})
						} else {
							require.NoError(t, err)
						}
					}
					assert.Equal(t, 1, gaps)
				})
			}
		}
	}
}
