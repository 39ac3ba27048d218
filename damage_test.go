package savepoint_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/format"
)

// ledger is a state that no lost, doubled or swapped event leaves as it was.
type ledger struct {
	Sum   uint64
	Count int
	Last  string
}

type booked struct {
	N    int
	Text string
}

func (e booked) Apply(l *ledger, _ savepoint.Meta) error {
	l.Sum, l.Count, l.Last = l.Sum*31+uint64(e.N), l.Count+1, e.Text
	return nil
}

// after is the ledger after the events 1 to n of write.
func after(n int) (l ledger) {
	for i := range n {
		_ = entry(i+1).Apply(&l, savepoint.Meta{})
	}
	return l
}

func entry(i int) booked {
	return booked{N: i * i, Text: string(rune('A'+i%26)) + " says a word or two"}
}

// ledgerKind takes a snapshot with every so many events and none when it closes.
func ledgerKind(every int) savepoint.Kind[ledger] {
	return savepoint.Kind[ledger]{
		Name:     "ledger",
		Events:   savepoint.Events[ledger]{"booked": booked{}},
		Snapshot: savepoint.SnapshotPolicy{Events: every, Every: -1, Keep: -1, NoClose: true},
	}
}

// write appends the events from to to, each with a commit of its own.
func write(t testing.TB, s *savepoint.Store[ledger], id string, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		_, err := s.Append(t.Context(), id, entry(i))
		require.NoError(t, err)
	}
}

// ledgers is a closed file with machines of n events each, each event in a
// block of its own, so that one alone can be damaged.
func ledgers(t testing.TB, k savepoint.Kind[ledger], o *savepoint.Options, n int, ids ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, k, o)
	for _, id := range ids {
		write(t, s, id, 1, n)
	}
	require.NoError(t, db.Close())
	inFile(t, path, func(tx *bolt.Tx) error { return apart(t, tx) })
	return path
}

// apart puts each event into a block of its own.
func apart(t testing.TB, tx *bolt.Tx) error {
	b := tx.Bucket([]byte("events"))
	blocks := map[string][]byte{}
	require.NoError(t, b.ForEach(func(key, v []byte) error {
		h, payload, err := format.ParseValue(v, 1<<20)
		if err != nil || len(key) > 16 {
			return nil // damaged, or in pieces: one event
		}
		payload, _, err = format.Decode(nil, h.Codec, payload, h.Raw)
		require.NoError(t, err)
		block, err := format.ParseBlock(payload, h.Seq)
		require.NoError(t, err)
		for {
			e, ok := block.Next()
			if !ok {
				return nil
			}
			one := h
			one.Seq = e.Seq
			block := format.AppendBlock(nil, []format.Entry{e})
			payload, codec, _ := format.Encode(nil, block)
			one.Codec, one.Raw = codec, uint32(len(block))
			at := binary.BigEndian.AppendUint64(bytes.Clone(key[:8]), e.Seq)
			blocks[string(at)] = format.AppendValue(nil, &one, payload, nil)
		}
	}))
	for key, v := range blocks {
		if err := b.Put([]byte(key), v); err != nil {
			return err
		}
	}
	return nil
}

func reopen(t testing.TB, path string, k savepoint.Kind[ledger], o *savepoint.Options) (*savepoint.DB, *savepoint.Store[ledger]) {
	t.Helper()
	db := open(t, path, o)
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	return db, s
}

// well checks that a machine serves and has its n events.
func well(t testing.TB, s *savepoint.Store[ledger], id string, n int) {
	t.Helper()
	st, err := s.Load(t.Context(), id)
	if assert.NoError(t, err) {
		assert.Equal(t, after(n), st.Value)
		assert.EqualValues(t, n, st.Seq)
	}
}

// inFile changes a closed file with bbolt itself.
func inFile(t testing.TB, path string, fn func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(fn))
	require.NoError(t, db.Close())
}

// headKey is a machine's key in the bucket machines.
func headKey(kind, id string) []byte { return append([]byte{byte(len(kind))}, kind+id...) }

// valueKey is the key in events or snapshots of a machine's value that begins with seq.
func valueKey(t testing.TB, tx *bolt.Tx, id string, seq uint64) []byte {
	t.Helper()
	v := tx.Bucket([]byte("machines")).Get(headKey("ledger", id))
	require.NotNil(t, v)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, format.PeekHeader(v).Number), seq)
}

// value is a value that has to be there, a copy.
func value(t testing.TB, tx *bolt.Tx, bucket string, key []byte) []byte {
	t.Helper()
	v := tx.Bucket([]byte(bucket)).Get(key)
	require.NotNil(t, v, "%s %x", bucket, key)
	return bytes.Clone(v)
}

// harm changes one byte in the middle of the payload.
func harm(v []byte) []byte {
	v[format.HeaderLen+(len(v)-format.HeaderLen)/2] ^= 0x10
	return v
}

// spoil damages values of a machine: of bucket events or snapshots those of the seqs, or its head.
func spoil(t testing.TB, path, bucket, id string, seqs ...uint64) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		if bucket == "machines" {
			key := headKey("ledger", id)
			return tx.Bucket([]byte(bucket)).Put(key, harm(value(t, tx, bucket, key)))
		}
		if bucket == "events" {
			require.NoError(t, apart(t, tx))
		}
		for _, seq := range seqs {
			key := valueKey(t, tx, id, seq)
			if err := tx.Bucket([]byte(bucket)).Put(key, harm(value(t, tx, bucket, key))); err != nil {
				return err
			}
		}
		return nil
	})
}

// remove takes values of a machine away.
func remove(t testing.TB, path, bucket, id string, seqs ...uint64) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		if bucket == "events" {
			require.NoError(t, apart(t, tx))
		}
		for _, seq := range seqs {
			if err := tx.Bucket([]byte(bucket)).Delete(valueKey(t, tx, id, seq)); err != nil {
				return err
			}
		}
		return nil
	})
}

// copied is a copy of a file.
func copied(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	to := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(to, b, 0o600))
	return to
}

// foreignFile makes a bbolt file of another program.
func foreignFile(t testing.TB, path string, buckets ...string) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		for _, name := range buckets {
			b, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			if err := b.Put([]byte("file"), []byte("some value of another program, long enough for a header of ours")); err != nil {
				return err
			}
		}
		return nil
	})
}

// newerFile raises the number of the file's format.
func newerFile(t *testing.T, path string) {
	inFile(t, path, func(tx *bolt.Tx) error {
		h, payload, err := format.ParseValue(value(t, tx, "meta", []byte("file")), 1<<20)
		require.NoError(t, err)
		at := 1 + int(payload[0]) // behind the app id
		binary.BigEndian.PutUint32(payload[at:], binary.BigEndian.Uint32(payload[at:])+1)
		return tx.Bucket([]byte("meta")).Put([]byte("file"), format.AppendValue(nil, &h, payload, nil))
	})
}

// newerFileValue raises the number of the format of the value that says what the file is.
func newerFileValue(t *testing.T, path string) {
	inFile(t, path, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("file"), newer(value(t, tx, "meta", []byte("file"))))
	})
}

// newer is a value as a later version would write it: a higher format and a right checksum.
func newer(v []byte) []byte {
	v[4]++
	return sealed(v)
}

// sealed puts the right checksum into a changed value.
func sealed(v []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(v[:44], table), table, v[format.HeaderLen:])
	binary.BigEndian.PutUint32(v[44:], sum)
	return v
}

func TestDamage_NewerValues_AreNotDamage(t *testing.T) {
	// A machine that a newer program wrote is refused, not set aside.
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
			require.ErrorIs(t, err, savepoint.ErrNewer, "a recovery would throw away what the newer program knows")
			_, err = s.Verify(t.Context(), "a")
			require.ErrorIs(t, err, savepoint.ErrNewer)
			assert.Empty(t, db.Quarantined())
			well(t, s, "b", 5)
		})
	}
}

func TestDamage_EveryByte(t *testing.T) {
	// 1. never a wrong state in silence: the same answer, or an error of that machine; 2. the other machines serve.
	k := ledgerKind(4)
	from := ledgers(t, k, nil, 9, "a", "b", "c")
	path := filepath.Join(t.TempDir(), "compact.db") // without stale copies of values
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
		stride := 1
		if p.id != "b" || testing.Short() {
			stride = 17
		}
		for i := 0; i < p.n; i += stride {
			at := p.at + i
			_, err := f.WriteAt([]byte{content[at] ^ 1<<(i%8)}, int64(at))
			require.NoError(t, err)
			flips++
			if !looksRight(t, path, k, p.bucket, p.id) {
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
	assert.Equal(t, flips, found, "each byte is covered")
}

// looksRight opens a file for reading, of which one value of one machine is damaged, and says whether nothing was found.
func looksRight(t *testing.T, path string, k savepoint.Kind[ledger], bucket, harmed string) (right bool) {
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
			assert.Equal(t, harmed, id, "another machine: %v", err)
			assert.ErrorIs(t, err, savepoint.ErrCorrupt)
			return false
		}
		if st, err := s.Load(ctx, id); tell(err) {
			assert.Equal(t, after(9), st.Value)
			assert.EqualValues(t, 9, st.Seq)
		} else {
			assert.ErrorIs(t, err, savepoint.ErrQuarantined)
			assert.NotEqual(t, "snapshots", bucket, "older ones lead there too: %v", err)
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
		if bucket != "machines" || want > 1 { // without a head they may not be found, which was told
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

func TestDamage_Ladder(t *testing.T) {
	// 30 events, snapshots 0, 10, 20, 30
	for name, c := range map[string]struct {
		harm   func(t *testing.T, path string)
		source string
		from   uint64
		tried  int
	}{
		"all well":         {func(*testing.T, string) {}, "snapshot", 30, 0},
		"newest damaged":   {func(t *testing.T, p string) { spoil(t, p, "snapshots", "a", 30) }, "snapshot", 20, 1},
		"newest gone":      {func(t *testing.T, p string) { remove(t, p, "snapshots", "a", 30) }, "snapshot", 20, 0},
		"two damaged":      {func(t *testing.T, p string) { spoil(t, p, "snapshots", "a", 30, 20) }, "snapshot", 10, 2},
		"all but the base": {func(t *testing.T, p string) { spoil(t, p, "snapshots", "a", 30, 20, 10) }, "snapshot", 0, 3},
		"one gone, one harmed": {func(t *testing.T, p string) {
			spoil(t, p, "snapshots", "a", 30)
			remove(t, p, "snapshots", "a", 20)
		}, "snapshot", 10, 1},
		"old events too": {func(t *testing.T, p string) {
			spoil(t, p, "snapshots", "a", 30)
			spoil(t, p, "events", "a", 5, 15)
		}, "snapshot", 20, 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := ledgers(t, ledgerKind(10), nil, 30, "a", "b")
			c.harm(t, path)
			db, s := reopen(t, path, ledgerKind(10), nil)
			well(t, s, "a", 30)
			well(t, s, "b", 30)
			dry, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{DryRun: true})
			require.NoError(t, err)
			rep, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{})
			require.NoError(t, err)
			assert.Equal(t, savepoint.RecoverHealthy, rep.Status, "the answer is the same")
			assert.Zero(t, rep.Restored)
			for _, r := range []*savepoint.RecoverReport{dry, rep} {
				assert.Equal(t, c.source, r.Source) // row E4
				assert.Equal(t, c.from, r.From)
				assert.EqualValues(t, 30-c.from, r.Replayed)
				require.Len(t, r.Tried, c.tried)
				for _, a := range r.Tried {
					says(t, errors.New(a.String()), nil, "snapshot", "ledger", `"a"`)
				}
			}
			if c.tried > 0 {
				assert.EqualValues(t, 1, db.Stats().Fallbacks)
			}
			assert.Empty(t, db.Quarantined())
			write(t, s, "a", 31, 33)
			well(t, s, "a", 33)
		})
	}
}

func TestDamage_Ladder_FromASave(t *testing.T) {
	// The base is damaged too, but a whole state stands among the records.
	k := ledgerKind(-1)
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, k, nil)
	ctx := t.Context()
	write(t, s, "a", 1, 5)
	_, err := s.Save(ctx, "a", after(5), savepoint.Key("the save"))
	require.NoError(t, err)
	_, err = s.Append(ctx, "a", entry(6), savepoint.Key("six"))
	require.NoError(t, err)
	write(t, s, "a", 7, 9)
	write(t, s, "b", 1, 9)
	var heads []savepoint.Head
	for seq := range uint64(11) {
		st, err := s.At(ctx, "a", savepoint.AtSeq(seq))
		require.NoError(t, err)
		heads = append(heads, st.Head)
	}
	require.NoError(t, db.Close())
	spoil(t, path, "snapshots", "a", 0)

	db, s = reopen(t, path, k, nil)
	st, err := s.Load(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, after(9), st.Value)
	assert.Equal(t, heads[10], st.Head)
	assert.Empty(t, db.Quarantined())
	rep, err := s.Recover(ctx, "a", savepoint.RecoverOptions{DryRun: true})
	require.NoError(t, err)
	assert.Equal(t, "replaced", rep.Source)
	assert.EqualValues(t, 6, rep.From)
	assert.Equal(t, 4, rep.Replayed)
	for seq := uint64(6); seq <= 10; seq++ {
		st, err := s.At(ctx, "a", savepoint.AtSeq(seq))
		require.NoError(t, err)
		assert.Equal(t, after(int(seq)-1), st.Value)
		assert.Equal(t, heads[seq], st.Head)
	}
	for seq := range uint64(6) {
		_, err := s.At(ctx, "a", savepoint.AtSeq(seq))
		says(t, err, savepoint.ErrCorrupt, `"a"`, "snapshot 0")
	}
	h, err := s.Append(ctx, "a", entry(6), savepoint.Key("six"))
	require.NoError(t, err)
	assert.EqualValues(t, 7, h.Seq, "the key is known: nothing is written twice")
	well(t, s, "b", 9)
}

func TestDamage_Ladder_KeysSurvive(t *testing.T) {
	// Losing snapshots never makes a write with a key happen twice.
	k := ledgerKind(5)
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, k, nil)
	ctx := t.Context()
	_, err := s.Append(ctx, "a", entry(1), savepoint.Key("one"))
	require.NoError(t, err)
	write(t, s, "a", 2, 6)
	_, err = s.Save(ctx, "a", after(6))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for _, seqs := range [][]uint64{{5}, {5, 0}} {
		p := copied(t, path)
		spoil(t, p, "snapshots", "a", seqs...)
		_, s = reopen(t, p, k, nil)
		h, err := s.Append(ctx, "a", entry(1), savepoint.Key("one"))
		require.NoError(t, err)
		assert.EqualValues(t, 1, h.Seq, "damaged: %v", seqs)
		st, err := s.Load(ctx, "a")
		require.NoError(t, err)
		assert.EqualValues(t, 7, st.Seq)
	}
}

func TestDamage_LosingSnapshotsNeverChangesAnswers(t *testing.T) {
	c := newClock()
	o := &savepoint.Options{Now: c.Now}
	for _, st := range []savepoint.Strategy{savepoint.Hybrid, savepoint.EventSourced, savepoint.Versioned} {
		t.Run(st.String(), func(t *testing.T) {
			k := ledgerKind(7)
			k.Strategy = st
			path := filepath.Join(t.TempDir(), "game.db")
			db, s := reopen(t, path, k, o)
			ctx := t.Context()
			for i := 1; i <= 30; i++ {
				c.turn(time.Second)
				write(t, s, "a", i, i)
				switch i {
				case 12:
					_, err := s.Save(ctx, "a", after(12), savepoint.By("ann"))
					require.NoError(t, err)
				case 15:
					_, err := s.Mark(ctx, "a", 14, nil)
					require.NoError(t, err)
				case 20:
					_, err := s.Snapshot(ctx, "a", savepoint.Tag("keep"))
					require.NoError(t, err)
				case 23:
					_, err := s.Delete(ctx, "a")
					require.NoError(t, err)
				}
			}
			type answer struct {
				st  savepoint.State[ledger]
				err string
			}
			look := func(s *savepoint.Store[ledger]) (all []answer) {
				points := []savepoint.Point{savepoint.Latest(), savepoint.BeforeError(), savepoint.AtRevision(1)}
				for seq := range uint64(36) {
					points = append(points, savepoint.AtSeq(seq))
				}
				for back := range 32 {
					points = append(points, savepoint.AtTime(c.Now().Add(-time.Second*time.Duration(back))))
				}
				for _, p := range points {
					st, err := s.At(ctx, "a", p)
					a := answer{st: st}
					if err != nil {
						a.err = err.Error()
					}
					all = append(all, a)
				}
				st, err := s.Load(ctx, "a")
				require.NoError(t, err)
				return append(all, answer{st: st})
			}
			want := look(s)
			seqs := map[uint64]bool{}
			for info, err := range s.Snapshots(ctx, "a", savepoint.SnapshotRange{}) {
				require.NoError(t, err)
				seqs[info.Seq] = true
			}
			if st == savepoint.Hybrid {
				assert.Greater(t, len(seqs), 4)
			}
			require.NoError(t, db.Close())
			delete(seqs, 0) // the base
			for seq := range seqs {
				remove(t, path, "snapshots", "a", seq)
			}
			db, s = reopen(t, path, k, o)
			got := look(s)
			for i := range want {
				assert.Equal(t, want[i], got[i])
			}
			v, err := s.Verify(ctx, "a")
			require.NoError(t, err)
			assert.True(t, v.OK(), "%v", v.Divergences)
			require.NoError(t, db.Close())
		})
	}
}

func TestOriginal_09(t *testing.T) {
	// Checksums were written and never compared: a tampered snapshot restored happily.
	for _, st := range strategies {
		t.Run(st.String(), func(t *testing.T) {
			k := ledgerKind(5)
			k.Strategy = st
			path := filepath.Join(t.TempDir(), "game.db")
			db, s := reopen(t, path, k, &savepoint.Options{NoCompression: true})
			ctx := t.Context()
			write(t, s, "a", 1, 5)
			_, err := s.Save(ctx, "a", ledger{Sum: 1000, Last: "a poor man"})
			require.NoError(t, err)
			require.NoError(t, db.Close())
			tampered := 0
			inFile(t, path, func(tx *bolt.Tx) error {
				snaps := tx.Bucket([]byte("snapshots"))
				return snaps.ForEach(func(key, v []byte) error {
					if at := bytes.Index(v, []byte("a poor man")); at >= 0 {
						tampered++
						return snaps.Put(bytes.Clone(key), sealed(bytes.Replace(bytes.Clone(v), []byte("a poor man"), []byte("a rich man"), 1)))
					}
					return nil
				})
			})
			_, s = reopen(t, path, k, nil)
			got, err := s.Load(ctx, "a")
			if st == savepoint.SnapshotOnly {
				require.Equal(t, 1, tampered)
				says(t, err, savepoint.ErrQuarantined, "snapshot 6", `"a"`)
				require.ErrorIs(t, err, savepoint.ErrCorrupt)
				at5, err := s.At(ctx, "a", savepoint.AtSeq(5))
				require.NoError(t, err)
				assert.Equal(t, after(5), at5.Value, "the others are still there")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "a poor man", got.Value.Last, "%d snapshots tampered with", tampered)
			for info, err := range s.Snapshots(ctx, "a", savepoint.SnapshotRange{Newest: true, Limit: 1}) {
				require.NoError(t, err)
				if tampered > 0 {
					require.ErrorIs(t, info.Err, savepoint.ErrCorrupt)
				}
			}
		})
	}
}
