package savepoint_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/archive"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/engine"
)

// TestCompact_LogStartsAtThePoint removes the records before a point: what is after it reads as before, what is before it is
// ErrCompacted, the report counts what is really gone, snapshots with a tag and keys stay, and a second
// Compact up to the same point removes nothing.
// row D12, E5
func TestCompact_LogStartsAtThePoint(t *testing.T) {
	for _, strategy := range []savepoint.Strategy{savepoint.Hybrid, savepoint.EventSourced, savepoint.Versioned} {
		k := kindOf(strategy)
		k.Snapshot.Events, k.Snapshot.Keep = 10, -1
		c := newClock()
		onEachKind(t, savepoint.Options{Now: c.Now}, k, func(t *testing.T, s *savepoint.Store[table]) {
			ctx := t.Context()
			var times []time.Time
			for i := range 60 {
				c.turn(time.Second)
				times = append(times, c.Now())
				opts := []savepoint.WriteOption{savepoint.Key(fmt.Sprint("key ", i))}
				_, err := s.Append(ctx, "g", &noted{Text: fmt.Sprint(i)}, opts...)
				require.NoError(t, err)
				if i == 11 {
					_, err = s.Snapshot(ctx, "g", savepoint.Tag("keep"))
					require.NoError(t, err)
				}
			}
			_, err := s.Mark(ctx, "g", 20, errors.New("a mistake"))
			require.NoError(t, err)
			note(t, s, "other", 5)
			full, others := pastOf(t, s, "g", 0), pastOf(t, s, "other", 0)

			rep, err := s.Compact(ctx, "g", savepoint.AtTime(times[24]))
			require.NoError(t, err)
			bytes := rep.Bytes
			assert.EqualValues(t, 25, rep.Base)
			assert.Equal(t, 25, rep.Records, "the report counts what is really gone")
			assert.Positive(t, rep.Bytes)
			assert.Equal(t, map[savepoint.Strategy]int{savepoint.Hybrid: 3, savepoint.EventSourced: 1, savepoint.Versioned: 3}[strategy], rep.Snapshots)
			assert.Equal(t, full.from(25), pastOf(t, s, "g", 25))
			assert.Equal(t, others, pastOf(t, s, "other", 0))
			verified(t, s, "g")

			for _, p := range []savepoint.Point{savepoint.AtSeq(24), savepoint.AtSeq(0), savepoint.AtTime(times[24].Add(-1)), savepoint.BeforeError(), savepoint.AtSeq(12 - 1)} {
				_, err = s.At(ctx, "g", p)
				require.ErrorIs(t, err, savepoint.ErrCompacted, p.String())
			}
			st, err := s.At(ctx, "g", savepoint.AtTime(times[25].Add(-1)))
			require.NoError(t, err)
			assert.EqualValues(t, 25, st.Seq, "the base is the newest record of that time")
			st, err = s.At(ctx, "g", savepoint.AtSnapshot(12))
			require.NoError(t, err, "a snapshot with a tag stays")
			assert.Equal(t, full.at[12].Value, st.Value)

			for i := range 60 { // the keys of the removed records are still known
				h, err := s.Append(ctx, "g", &noted{Text: fmt.Sprint(i)}, savepoint.Key(fmt.Sprint("key ", i)))
				require.NoError(t, err)
				require.EqualValues(t, i+1, h.Seq)
			}
			for _, to := range []uint64{25, 10} {
				rep, err = s.Compact(ctx, "g", savepoint.AtSeq(to))
				require.NoError(t, err)
				assert.Zero(t, rep.Records, "nothing was removed a second time")
				assert.EqualValues(t, 25, rep.Base)
			}
			_, err = s.Compact(ctx, "g", savepoint.AtSeq(62))
			require.ErrorIs(t, err, savepoint.ErrNoPoint)
			rep, err = s.Compact(ctx, "g", savepoint.Latest())
			require.NoError(t, err)
			assert.Equal(t, 36, rep.Records)
			assert.Greater(t, rep.Bytes, bytes)
			assert.Equal(t, full.head, load(t, s, "g"))
			assert.Empty(t, pastOf(t, s, "g", 61).events)
			verified(t, s, "g")
			h, err := s.Append(ctx, "g", &noted{Text: "on"}, savepoint.IfSeq(61))
			require.NoError(t, err)
			assert.EqualValues(t, 62, h.Seq)
			_, err = s.Compact(ctx, "missing", savepoint.Latest())
			require.ErrorIs(t, err, savepoint.ErrNotFound)
		})
	}
}

// TestCompact_StaysAfterReopening compacts and reopens, with and without a journal: the log still starts at the point, and the
// keys of the removed records are known.
func TestCompact_StaysAfterReopening(t *testing.T) {
	path := engines["file"](t)
	k := tableKind()
	k.Snapshot = savepoint.SnapshotPolicy{Events: -1, NoClose: true}
	for _, journal := range []int64{-1, 1 << 20} {
		db, err := savepoint.Open(path, &savepoint.Options{Journal: journal})
		require.NoError(t, err)
		s, err := savepoint.Register(db, k)
		require.NoError(t, err)
		begin(t, s, "deleted", 3)
		_, err = s.Delete(t.Context(), "deleted")
		require.NoError(t, err)
		begin(t, s, "g", 2)
		_, err = s.Append(t.Context(), "g", plays[2], savepoint.Key("once"))
		require.NoError(t, err)
		for _, p := range plays[3:8] {
			_, err = s.Append(t.Context(), "g", p)
			require.NoError(t, err)
		}
		full := pastOf(t, s, "g", 0)
		_, err = s.Compact(t.Context(), "deleted", savepoint.Latest())
		require.NoError(t, err)
		_, err = s.Compact(t.Context(), "g", savepoint.AtSeq(4))
		require.NoError(t, err)
		require.NoError(t, db.Close())

		db, err = savepoint.Open(path, &savepoint.Options{Journal: journal})
		require.NoError(t, err)
		s, err = savepoint.Register(db, k)
		require.NoError(t, err)
		assert.Equal(t, full.from(4), pastOf(t, s, "g", 4))
		h, err := s.Append(t.Context(), "g", plays[2], savepoint.Key("once"))
		require.NoError(t, err)
		assert.EqualValues(t, 4, h.Seq, "the key of the removed record is known")
		verified(t, s, "g")
		_, err = s.Snapshot(t.Context(), "g", savepoint.Tag("end"))
		require.NoError(t, err)
		_, err = s.Compact(t.Context(), "g", savepoint.Latest())
		require.NoError(t, err)
		tagged := infos(t, s, "g", savepoint.SnapshotRange{Tag: "end"})
		require.Len(t, tagged, 1)
		assert.True(t, tagged[0].Base)
		_, err = s.Load(t.Context(), "deleted")
		require.ErrorIs(t, err, savepoint.ErrDeleted)
		for _, id := range []string{"g", "deleted"} {
			require.NoError(t, s.Purge(t.Context(), id))
		}
		require.NoError(t, db.Close())
	}
}

// TestCompact_ManySegments archives more bytes than one segment takes.
func TestCompact_ManySegments(t *testing.T) {
	k := kindOf(savepoint.Hybrid)
	k.Snapshot.Events = 3
	text := make([]byte, 900_000)
	for i := range text {
		text[i] = byte('a' + rand.IntN(26))
	}
	onEachKind(t, savepoint.Options{Archive: newShelf()}, k, func(t *testing.T, s *savepoint.Store[table]) {
		for i := range 25 { // more bytes than one segment takes
			_, err := s.Append(t.Context(), "g", &noted{Text: fmt.Sprint(i, string(text))})
			require.NoError(t, err)
		}
		want := load(t, s, "g")
		rep, err := s.Compact(t.Context(), "g", savepoint.AtSeq(24))
		require.NoError(t, err)
		assert.Equal(t, 2, rep.Segments)
		assert.Equal(t, 24, rep.Records)
		assert.EqualValues(t, 24, rep.Base)
		assert.Greater(t, rep.Bytes, int64(24*900_000))
		assert.Equal(t, want, load(t, s, "g"))
		verified(t, s, "g")
	})
}

// dice is an event whose Apply is not deterministic.
type dice struct{}

func (dice) Apply(t *table, _ savepoint.Meta) error { t.Turn = rand.IntN(1 << 30); return nil }

// TestCompact_RefusesWhatItCannotProve has an Apply that is not deterministic in the log: Compact returns an error and removes
// nothing. Under snapshot-only Compact is ErrUnsupported.
func TestCompact_RefusesWhatItCannotProve(t *testing.T) {
	k := tableKind()
	k.Events["dice"] = dice{}
	onEachKind(t, savepoint.Options{}, k, func(t *testing.T, s *savepoint.Store[table]) {
		begin(t, s, "g", 2)
		_, err := s.Append(t.Context(), "g", dice{})
		require.NoError(t, err)
		_, err = s.Append(t.Context(), "g", moved{To: "scoring"})
		require.NoError(t, err)
		for _, to := range []uint64{2, 5} {
			rep, err := s.Compact(t.Context(), "g", savepoint.AtSeq(to))
			require.ErrorContains(t, err, "nothing is removed")
			assert.Zero(t, rep.Records)
			assert.Zero(t, rep.Base)
		}
	})
	onEachKind(t, savepoint.Options{}, kindOf(savepoint.SnapshotOnly), func(t *testing.T, s *savepoint.Store[table]) {
		note(t, s, "g", 2)
		_, err := s.Compact(t.Context(), "g", savepoint.Latest())
		require.ErrorIs(t, err, savepoint.ErrUnsupported)
	})
}

// TestCompact_RefusesAfterApplyChanged changes Apply so that replay results in other states than those that are stored: Compact
// removes nothing, so the stored states stay provable.
func TestCompact_RefusesAfterApplyChanged(t *testing.T) {
	f := newFaulty()
	f.stays = true
	k := tallyKind("tally", savepoint.Hybrid, savepoint.SnapshotPolicy{Events: 10, Every: -1})
	db, s := openFaulty(t, f, savepoint.Options{}, k)
	add(t, s, "g", 15)
	require.NoError(t, db.Close())
	k.Events["added"] = addedTwice{}
	db, s = openFaulty(t, f, savepoint.Options{}, k)
	want, err := s.Load(t.Context(), "g")
	require.NoError(t, err)
	for _, to := range []uint64{5, 10, 12, 15} {
		_, err := s.Compact(t.Context(), "g", savepoint.AtSeq(to))
		require.ErrorContains(t, err, "nothing is removed", "to %d", to)
	}
	assert.Equal(t, 15, recordsOf(t, s, "g"))
	st, err := s.Load(t.Context(), "g")
	require.NoError(t, err)
	assert.Equal(t, want, st)
	require.NoError(t, db.Close())
}

// addedTwice is added with an Apply that adds the number twice.
type addedTwice struct {
	N    int64
	Slot string
}

func (e addedTwice) Apply(t *tally, m savepoint.Meta) error {
	t.Sum += e.N
	return added(e).Apply(t, m)
}

// TestCompact_PurgedMeanwhile purges the machine and writes a new one of the same id while the archive stores the records of
// the first one: Compact goes on with the new one.
func TestCompact_PurgedMeanwhile(t *testing.T) {
	a := newShelf()
	onEachKind(t, savepoint.Options{Archive: a}, tableKind(), func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		begin(t, s, "g", 8)
		a.put = func(*archive.Segment) error {
			a.put = nil
			require.NoError(t, s.Purge(ctx, "g"))
			note(t, s, "g", 12)
			return nil
		}
		rep, err := s.Compact(ctx, "g", savepoint.AtSeq(8))
		require.NoError(t, err)
		assert.Equal(t, 8, rep.Records)
		st, err := s.At(ctx, "g", savepoint.AtSeq(8))
		require.NoError(t, err)
		assert.Equal(t, table{Phase: "waiting", Note: "7 by "}, st.Value)
		verified(t, s, "g")
	})
}

// TestCompact_ReadOnly returns ErrReadOnly from Compact and Retain.
func TestCompact_ReadOnly(t *testing.T) {
	path := engines["file"](t)
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	begin(t, register(t, db), "g", 2)
	require.NoError(t, db.Close())
	db = open(t, path, &savepoint.Options{ReadOnly: true})
	_, err = register(t, db).Compact(t.Context(), "g", savepoint.Latest())
	require.ErrorIs(t, err, savepoint.ErrReadOnly)
	_, err = db.Retain(t.Context())
	require.ErrorIs(t, err, savepoint.ErrReadOnly)
}

// TestCompact_AroundAGap compacts a log whose partial recovery left a gap: up to before the gap and up to after it, not into it.
func TestCompact_AroundAGap(t *testing.T) {
	f := newFaulty()
	db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
	defer func() { require.NoError(t, db.Close()) }()
	ctx := t.Context()
	for i := range 20 {
		_, err := s.Append(ctx, "g", added{N: int64(i)})
		require.NoError(t, err)
	}
	f.set(func() {
		f.damage = func(_ string, it *engine.Item) bool {
			if it.Part == engine.PartEvent && it.Seq == 8 {
				it.Err = &engine.Damage{Part: "event", Seq: 8, Why: errDisk}
			}
			return false
		}
	})
	_, err := s.Compact(ctx, "g", savepoint.AtSeq(5))
	require.ErrorIs(t, err, savepoint.ErrCorrupt, "the records after a damaged one cannot be proven")
	rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	require.EqualValues(t, 20, rep.LostTo)
	for i := range 5 {
		_, err := s.Append(ctx, "g", added{N: int64(i)})
		require.NoError(t, err)
	}
	want, err := s.Load(ctx, "g")
	require.NoError(t, err)
	for _, step := range []struct{ to, base uint64 }{{15, 15}, {5, 5}, {24, 24}} {
		gone, err := s.Compact(ctx, "g", savepoint.AtSeq(step.to))
		if step.to == 15 {
			require.ErrorIs(t, err, savepoint.ErrNoPoint)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, step.base, gone.Base)
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.Equal(t, want, st)
		verified(t, s, "g")
	}
}

// TestCompact_BesideWriters compacts while three goroutines append: each record is in the log or was counted as removed.
// row E5
func TestCompact_BesideWriters(t *testing.T) {
	k := kindOf(savepoint.Hybrid)
	k.Snapshot.Events = 7
	onEachKind(t, savepoint.Options{}, k, func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				for i := range 60 {
					if _, err := s.Append(ctx, "g", &noted{Text: fmt.Sprint(w, i)}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		gone := 0
		for gone < 100 && !t.Failed() {
			rep, err := s.Compact(ctx, "g", savepoint.Latest())
			if err != nil && !errors.Is(err, savepoint.ErrNotFound) {
				require.NoError(t, err)
			}
			gone += rep.Records
		}
		wg.Wait()
		want := load(t, s, "g")
		assert.EqualValues(t, 180, want.Seq)
		n := 0
		for _, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, 180, gone+n, "each record is in the log or was counted as removed")
		verified(t, s, "g")
	})
}

// TestCompact_AcrossAMigration compacts records of an older version: they are not rewritten, the newest snapshot among them
// becomes the base, and Unarchive brings all of them back.
func TestCompact_AcrossAMigration(t *testing.T) {
	f := newFaulty()
	f.stays = true
	docsOf := func(v uint16) (*savepoint.DB, *savepoint.Store[savepoint.Doc]) {
		k := document.Kind("game")
		k.Version = savepoint.V(v, 0, 0)
		k.Snapshot = savepoint.SnapshotPolicy{Events: 10, Every: -1, NoClose: true}
		if v == 2 {
			k.Migrations = []savepoint.Migration{{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0), Up: func(d savepoint.Doc) (savepoint.Doc, error) {
				d["stats"] = map[string]any{}
				return d, nil
			}}}
		}
		db, err := savepoint.Open("game", &savepoint.Options{Engine: f, Archive: newShelf()})
		require.NoError(t, err)
		s, err := savepoint.Register(db, k)
		require.NoError(t, err)
		return db, s
	}
	ctx := t.Context()
	db, s := docsOf(1)
	for i := range 35 {
		_, err := s.Append(ctx, "g", transition("turn", i))
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	db, s = docsOf(2)
	full := pastOf(t, s, "g", 0)
	require.True(t, full.head.Upcast)
	for range 2 {
		rep, err := s.Compact(ctx, "g", savepoint.Latest())
		require.NoError(t, err)
		assert.EqualValues(t, 30, rep.Base)
	}
	assert.Equal(t, full.from(30), pastOf(t, s, "g", 30))
	_, err := s.Append(ctx, "g", transition("turn", 35)) // stores the migration and this event
	require.NoError(t, err)
	rep, err := s.Compact(ctx, "g", savepoint.AtSeq(34))
	require.NoError(t, err)
	assert.EqualValues(t, 30, rep.Base)
	want, err := s.Load(ctx, "g")
	require.NoError(t, err)
	rep, err = s.Compact(ctx, "g", savepoint.Latest())
	require.NoError(t, err)
	assert.EqualValues(t, 37, rep.Base)
	got, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	old, err := s.At(ctx, "g", savepoint.AtSnapshot(30))
	require.NoError(t, err, "the snapshot that the migration started from stays")
	assert.Equal(t, full.at[30].Value, old.Value)
	verified(t, s, "g")
	back, err := s.Unarchive(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, 37, back.Records)
	assert.Equal(t, full.events, pastOf(t, s, "g", 0).events[:35])
	verified(t, s, "g")
	require.NoError(t, db.Close())
}

// TestCompact_BesideReaders compacts and unarchives a log of several pages while readers, which take no lock, iterate over it:
// they see less or more of the past, never damage.
// row D19
func TestCompact_BesideReaders(t *testing.T) {
	k := kindOf(savepoint.Hybrid)
	k.Snapshot = savepoint.SnapshotPolicy{Events: 700, Keep: -1, Every: -1}
	onEachKind(t, savepoint.Options{Archive: newShelf(), Cache: savepoint.CacheOptions{Off: true}}, k, func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		const records = 3000 // more than one page
		for range records / 500 {
			_, err := s.Update(ctx, "g", func(m *savepoint.Machine[table]) error {
				for range 500 {
					if err := m.Append(&noted{Text: "text"}); err != nil {
						return err
					}
				}
				return nil
			})
			require.NoError(t, err)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		repeat := func(fn func() error) {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := fn(); err != nil && !errors.Is(err, savepoint.ErrCompacted) {
						t.Errorf("a reader gets %v", err)
						return
					}
				}
			})
		}
		repeat(func() error { _, err := s.At(ctx, "g", savepoint.AtSeq(2600)); return err })
		repeat(func() error { _, err := s.Load(ctx, "g"); return err })
		repeat(func() error { rep, err := s.Verify(ctx, "g"); assert.True(t, rep.OK()); return err })
		for _, newest := range []bool{false, true} {
			repeat(func() error {
				last := uint64(0)
				for rec, err := range s.Events(ctx, "g", savepoint.EventRange{Newest: newest}) {
					if err != nil {
						return fmt.Errorf("newest %v: %w", newest, err)
					}
					last = rec.Seq
				}
				if !newest && last != records {
					return fmt.Errorf("the newest is %d", last)
				}
				return nil
			})
		}
		repeat(func() error {
			rep, err := s.DB().RecoverAll(ctx, savepoint.RecoverAllOptions{})
			if err == nil && len(rep.Failed) > 0 {
				err = fmt.Errorf("%s", rep.Failed[0])
			}
			return err
		})
		for range 2 {
			for to := uint64(300); to <= 2500; to += 1100 {
				_, err := s.Compact(ctx, "g", savepoint.AtSeq(to))
				require.NoError(t, err)
			}
			_, err := s.Unarchive(ctx, "g")
			require.NoError(t, err)
		}
		close(stop)
		wg.Wait()
		assert.Equal(t, records, recordsOf(t, s, "g"))
		assert.Empty(t, s.DB().Quarantined())
	})
}

// TestCompact_SnapshotAtTheBase takes a snapshot by hand at the base: it replaces the base, also for a recovery that has no
// head to read.
func TestCompact_SnapshotAtTheBase(t *testing.T) {
	f := newFaulty()
	db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
	ctx := t.Context()
	add(t, s, "g", 8)
	_, err := s.Compact(ctx, "g", savepoint.Latest())
	require.NoError(t, err)
	info, err := s.Snapshot(ctx, "g", savepoint.Tag("here"))
	require.NoError(t, err)
	assert.True(t, info.Base)
	add(t, s, "g", 3)
	f.set(func() { f.head = func(string) error { return errDisk } })
	rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{Partial: true, DryRun: true})
	require.NoError(t, err)
	assert.EqualValues(t, 11, rep.Seq)
	reads := 0
	f.set(func() {
		f.head = func(string) error {
			if reads++; reads < 4 {
				return errDisk
			}
			return nil
		}
	})
	_, err = s.Recover(ctx, "g", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	f.set(func() { f.head = nil })
	assert.Equal(t, 4, recordsOf(t, s, "g"), "the base and nothing before it is needed")
	verified(t, s, "g")
	require.NoError(t, db.Close())
}
