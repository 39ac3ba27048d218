package savepoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// gone is a history with a hole, as Events shows it.
type gone struct {
	seqs []uint64
	gaps []savepoint.GapError
	errs []error
}

func history(t testing.TB, s *savepoint.Store[ledger], id string, r savepoint.EventRange) (g gone) {
	t.Helper()
	for rec, err := range s.Events(t.Context(), id, r) {
		var gap *savepoint.GapError
		switch {
		case errors.As(err, &gap):
			g.gaps = append(g.gaps, *gap)
		case err != nil:
			g.errs = append(g.errs, err)
		default:
			g.seqs = append(g.seqs, rec.Seq)
		}
	}
	return g
}

func fromTo(from, to uint64) (out []uint64) {
	for s := from; s <= to; s++ {
		out = append(out, s)
	}
	return out
}

func TestDamage_Partial(t *testing.T) {
	// 1. one machine is set aside, the others serve; 2. nothing is given up but on request; 3. a partial recovery keeps the
	// longest good prefix, and everything written later, for good; 4. what was given up is named, never shown as something else.
	for _, st := range []savepoint.Strategy{savepoint.Hybrid, savepoint.EventSourced, savepoint.Versioned} {
		t.Run(st.String(), func(t *testing.T) {
			k := ledgerKind(-1)
			k.Strategy = st
			path := ledgers(t, k, nil, 100, "a", "b")
			spoil(t, path, "events", "a", 58)
			db, s := reopen(t, path, k, nil)
			ctx := t.Context()

			for range 2 {
				_, err := s.Load(ctx, "a")
				says(t, err, savepoint.ErrQuarantined, `"a"`, "event 58", "since")
				var c *savepoint.CorruptError
				require.ErrorAs(t, err, &c)
				assert.Equal(t, [4]any{"ledger", "a", "event", uint64(58)}, [4]any{c.Kind, c.ID, c.Part, c.Seq})
				_, err = s.Append(ctx, "a", entry(101))
				require.ErrorIs(t, err, savepoint.ErrQuarantined)
				well(t, s, "b", 100)
			}
			list := db.Quarantined()
			require.Len(t, list, 1)
			assert.Equal(t, "ledger", list[0].Kind)
			assert.Equal(t, "a", list[0].ID)
			assert.False(t, list[0].Since.IsZero())
			require.ErrorIs(t, list[0].Cause, savepoint.ErrCorrupt)
			assert.Equal(t, 1, db.Stats().Quarantined)

			at57, err := s.At(ctx, "a", savepoint.AtSeq(57))
			require.NoError(t, err, "before the damage")
			assert.Equal(t, after(57), at57.Value)
			for _, seq := range []uint64{58, 59, 100} {
				_, err = s.At(ctx, "a", savepoint.AtSeq(seq))
				require.ErrorIs(t, err, savepoint.ErrCorrupt)
			}
			g := history(t, s, "a", savepoint.EventRange{})
			assert.Equal(t, slices.Concat(fromTo(1, 57), fromTo(59, 100)), g.seqs)
			require.Len(t, g.gaps, 1)
			assert.Equal(t, [2]uint64{58, 58}, [2]uint64{g.gaps[0].From, g.gaps[0].To})
			require.Error(t, g.gaps[0].Why)
			_, err = s.Verify(ctx, "a")
			require.ErrorIs(t, err, savepoint.ErrCorrupt)

			rep, err := s.Recover(ctx, "a", savepoint.RecoverOptions{})
			require.ErrorIs(t, err, savepoint.ErrCorrupt, "not without being asked")
			require.NotNil(t, rep)
			assert.Equal(t, savepoint.RecoverFailed, rep.Status)
			require.NotEmpty(t, rep.Tried)
			assert.EqualValues(t, 57, rep.Tried[0].Good)
			assert.Len(t, db.Quarantined(), 1)

			groups := db.Stats().Groups
			dry, err := s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true, DryRun: true})
			require.NoError(t, err)
			assert.Equal(t, groups, db.Stats().Groups, "a dry run writes nothing")
			assert.Len(t, db.Quarantined(), 1)
			_, err = s.Load(ctx, "a")
			require.ErrorIs(t, err, savepoint.ErrQuarantined)

			rep, err = s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true, Reason: "a bad disk", Actor: "ann"})
			require.NoError(t, err)
			for _, r := range []*savepoint.RecoverReport{dry, rep} {
				assert.Equal(t, savepoint.RecoverPartial, r.Status)
				assert.Equal(t, []uint64{57, 100, 58, 100}, []uint64{r.Seq, r.Head, r.LostFrom, r.LostTo})
				assert.Contains(t, r.String(), "records 58 to 100 given up")
			}
			assert.True(t, dry.DryRun)
			assert.Zero(t, dry.Restored)
			assert.EqualValues(t, 101, rep.Restored)
			assert.Empty(t, db.Quarantined())

			_, err = s.Append(ctx, "a", entry(58))
			require.NoError(t, err)
			for turn := range 4 {
				switch turn {
				case 1, 2: // reopened
					require.NoError(t, db.Close())
					if turn == 2 { // without the snapshot of the recovery: the record itself tells the state
						remove(t, path, "snapshots", "a", 101)
					}
					db, s = reopen(t, path, k, nil)
				case 3:
					require.NoError(t, db.Close())
					o := &savepoint.Options{ReadOnly: true}
					db, s = reopen(t, path, k, o)
				}
				st, err := s.Load(ctx, "a")
				require.NoError(t, err)
				assert.EqualValues(t, 102, st.Seq)
				assert.Equal(t, after(58), st.Value)
				for seq := range uint64(104) {
					st, err := s.At(ctx, "a", savepoint.AtSeq(seq))
					switch {
					case seq <= 57:
						require.NoError(t, err)
						assert.Equal(t, after(int(seq)), st.Value)
					case seq == 101 || seq == 102:
						require.NoError(t, err)
						assert.Equal(t, after(int(seq)-44), st.Value)
					default:
						require.ErrorIs(t, err, savepoint.ErrNoPoint)
						var gap *savepoint.GapError
						if seq <= 100 {
							require.ErrorAs(t, err, &gap)
							assert.Equal(t, savepoint.GapError{From: 58, To: 100}, *gap)
							says(t, err, nil, "58 to 100", "given up by a recovery")
						}
					}
				}
				g := history(t, s, "a", savepoint.EventRange{})
				assert.Equal(t, gone{seqs: append(fromTo(1, 57), 101, 102), gaps: []savepoint.GapError{{From: 58, To: 100}}}, g)
				g = history(t, s, "a", savepoint.EventRange{Newest: true})
				slices.Reverse(g.seqs)
				assert.Equal(t, gone{seqs: append(fromTo(1, 57), 101, 102), gaps: []savepoint.GapError{{From: 58, To: 100}}}, g)
				g = history(t, s, "a", savepoint.EventRange{After: 70, To: 101})
				assert.Equal(t, gone{seqs: []uint64{101}, gaps: []savepoint.GapError{{From: 71, To: 100}}}, g)
				before, err := s.At(ctx, "a", savepoint.BeforeError())
				require.NoError(t, err)
				assert.EqualValues(t, 57, before.Seq)
				var recoveries []savepoint.Recovery
				for r, err := range s.Recoveries(ctx, "a") {
					require.NoError(t, err)
					recoveries = append(recoveries, r)
				}
				require.Len(t, recoveries, 1)
				assert.EqualValues(t, 101, recoveries[0].Seq)
				assert.Equal(t, "ann", recoveries[0].Actor)
				assert.Equal(t, savepoint.OriginRecovery, recoveries[0].Origin)
				assert.Equal(t, savepoint.RecoverPartial, recoveries[0].Report.Status)
				assert.EqualValues(t, 100, recoveries[0].Report.LostTo)
				assert.Equal(t, "a bad disk", recoveries[0].Report.Reason)
				v, err := s.Verify(ctx, "a")
				require.NoError(t, err)
				assert.True(t, v.OK(), "%v", v.Divergences)
				assert.Equal(t, []savepoint.GapError{{From: 58, To: 100}}, v.Gaps)
				well(t, s, "b", 100)
			}
		})
	}
}

func TestDamage_Event_TwoPartialRecoveries(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 10, "a")
	ctx := t.Context()
	spoil(t, path, "events", "a", 4)
	db, s := reopen(t, path, k, nil)
	_, err := s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	write(t, s, "a", 4, 9) // 12 to 17
	require.NoError(t, db.Close())
	spoil(t, path, "events", "a", 15)
	_, s = reopen(t, path, k, nil)
	_, err = s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	st, err := s.Load(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, after(6), st.Value)
	g := history(t, s, "a", savepoint.EventRange{})
	assert.Equal(t, gone{seqs: []uint64{1, 2, 3, 11, 12, 13, 14, 18}, gaps: []savepoint.GapError{{From: 4, To: 10}, {From: 15, To: 17}}}, g)
	v, err := s.Verify(ctx, "a")
	require.NoError(t, err)
	assert.True(t, v.OK())
	rep, err := s.Recover(ctx, "a", savepoint.RecoverOptions{To: savepoint.AtSeq(16), Else: []savepoint.Point{savepoint.AtSeq(5), savepoint.AtSeq(13)}})
	require.NoError(t, err)
	assert.EqualValues(t, 13, rep.Seq)
	_, err = s.Recover(ctx, "a", savepoint.RecoverOptions{To: savepoint.AtSeq(16)})
	require.ErrorIs(t, err, savepoint.ErrNoPoint)
}

func TestDamage_Event_SnapshotBehindItHelps(t *testing.T) {
	k := ledgerKind(10)
	path := ledgers(t, k, nil, 25, "a")
	spoil(t, path, "events", "a", 5)
	db, s := reopen(t, path, k, nil)
	well(t, s, "a", 25)
	assert.Empty(t, db.Quarantined())
	for seq := uint64(10); seq <= 25; seq++ {
		st, err := s.At(t.Context(), "a", savepoint.AtSeq(seq))
		require.NoError(t, err)
		assert.Equal(t, after(int(seq)), st.Value)
	}
	for seq := uint64(5); seq < 10; seq++ {
		_, err := s.At(t.Context(), "a", savepoint.AtSeq(seq))
		require.ErrorIs(t, err, savepoint.ErrCorrupt)
	}
	_, err := s.Verify(t.Context(), "a")
	says(t, err, savepoint.ErrCorrupt, "event 5")
}

func TestDamage_PointInTime_NeverAnOlderStateInSilence(t *testing.T) {
	for _, st := range strategies {
		t.Run(st.String(), func(t *testing.T) {
			c := newClock()
			k := ledgerKind(-1)
			k.Strategy = st
			path := filepath.Join(t.TempDir(), "game.db")
			db, s := reopen(t, path, k, &savepoint.Options{Now: c.Now})
			start := c.Now()
			for i := 1; i <= 10; i++ {
				c.turn(time.Minute)
				write(t, s, "a", i, i)
			}
			require.NoError(t, db.Close())
			bucket := "events"
			if st == savepoint.SnapshotOnly {
				bucket = "snapshots"
			}
			spoil(t, path, bucket, "a", 5, 10)
			_, s = reopen(t, path, k, &savepoint.Options{Now: c.Now})
			for i := 1; i <= 11; i++ {
				st, err := s.At(t.Context(), "a", savepoint.AtTime(start.Add(time.Duration(i)*time.Minute)))
				if err == nil {
					assert.EqualValues(t, i, st.Seq, "minute %d", i)
					assert.Equal(t, after(i), st.Value)
				}
				if i < 4 {
					require.NoError(t, err, "minute %d", i)
				}
			}
		})
	}
}

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

func TestDamage_MovedRecords(t *testing.T) {
	// 12 events, snapshots 0, 5, 10, in each of "a" and "b". Whatever is done to those of "a": the same answers or an error.
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
		damaged []uint64 // records that have to be told of
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
			var told []uint64
			for _, g := range history(t, s, "a", savepoint.EventRange{}).gaps {
				told = append(told, fromTo(g.From, g.To)...)
			}
			if !strings.HasSuffix(name, "head") {
				assert.Equal(t, c.damaged, told)
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

func TestDamage_Chain_ExchangedRecord(t *testing.T) {
	// A record of another history, whole in itself, at the right place: the digest of the chain finds it.
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

func TestDamage_Head(t *testing.T) {
	k := ledgerKind(5)
	path := ledgers(t, k, nil, 12, "a", "b", "c")
	spoil(t, path, "machines", "b")
	db, s := reopen(t, path, k, nil)
	ctx := t.Context()
	_, err := s.Load(ctx, "b")
	says(t, err, savepoint.ErrQuarantined, `"b"`, "head")
	require.ErrorIs(t, err, savepoint.ErrCorrupt)
	_, err = s.Append(ctx, "b", entry(13))
	require.ErrorIs(t, err, savepoint.ErrQuarantined)
	g := history(t, s, "b", savepoint.EventRange{})
	assert.Equal(t, fromTo(1, 12), g.seqs, "what can be found is shown")
	require.Len(t, g.errs, 1, "and that there may have been more")
	says(t, g.errs[0], savepoint.ErrCorrupt, "head", `"b"`)
	var list []string
	for h, err := range s.List(ctx, savepoint.ListOptions{}) {
		list = append(list, fmt.Sprint(h.ID, " ", errors.Is(err, savepoint.ErrCorrupt)))
	}
	assert.Equal(t, []string{"a false", "b true", "c false"}, list)
	rep, err := s.Recover(ctx, "b", savepoint.RecoverOptions{})
	says(t, err, savepoint.ErrCorrupt, "head", `"b"`)
	assert.Equal(t, savepoint.RecoverFailed, rep.Status)
	all, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{})
	require.NoError(t, err)
	assert.Equal(t, 2, all.Healthy)
	require.Len(t, all.Failed, 1)
	well(t, s, "a", 12)
	well(t, s, "c", 12)
	require.NoError(t, s.Purge(ctx, "b"), "a damaged head does not keep the id for ever")
	assert.Empty(t, db.Quarantined())
	write(t, s, "b", 1, 3)
	well(t, s, "b", 3)
}

func TestDamage_Head_PartialRecovery(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, path string)
		good int
	}{
		"head only":       {func(*testing.T, string) {}, 12},
		"and a snapshot":  {func(t *testing.T, p string) { spoil(t, p, "snapshots", "b", 10) }, 12},
		"and an event":    {func(t *testing.T, p string) { spoil(t, p, "events", "b", 12) }, 11},
		"and more events": {func(t *testing.T, p string) { spoil(t, p, "events", "b", 2, 11) }, 10},
	} {
		t.Run(name, func(t *testing.T) {
			k := ledgerKind(5)
			path := ledgers(t, k, nil, 12, "a", "b", "c")
			c.harm(t, path)
			spoil(t, path, "machines", "b")
			db, s := reopen(t, path, k, nil)
			ctx := t.Context()
			dry, err := s.Recover(ctx, "b", savepoint.RecoverOptions{Partial: true, DryRun: true})
			require.NoError(t, err)
			_, err = s.Load(ctx, "b")
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			rep, err := s.Recover(ctx, "b", savepoint.RecoverOptions{Partial: true})
			require.NoError(t, err)
			for _, r := range []*savepoint.RecoverReport{dry, rep} {
				assert.Equal(t, savepoint.RecoverPartial, r.Status, "nobody can say whether it is all")
				assert.EqualValues(t, c.good, r.Seq)
			}
			assert.EqualValues(t, 13, rep.Restored)
			assert.Empty(t, db.Quarantined())
			write(t, s, "b", c.good+1, c.good+3)
			for range 2 {
				st, err := s.Load(ctx, "b")
				require.NoError(t, err)
				assert.Equal(t, after(c.good+3), st.Value)
				assert.EqualValues(t, 16, st.Seq)
				for seq := 13; seq <= 16; seq++ {
					st, err := s.At(ctx, "b", savepoint.AtSeq(uint64(seq)))
					require.NoError(t, err)
					assert.Equal(t, after(c.good+seq-13), st.Value)
				}
				if name != "and more events" {
					st, err = s.At(ctx, "b", savepoint.AtSeq(7))
					require.NoError(t, err)
					assert.Equal(t, after(7), st.Value)
				}
				_, err = s.At(ctx, "b", savepoint.AtSeq(12))
				if c.good == 12 {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, savepoint.ErrNoPoint)
				}
				if name == "head only" || name == "and an event" {
					v, err := s.Verify(ctx, "b")
					require.NoError(t, err)
					assert.True(t, v.OK())
				}
				well(t, s, "a", 12)
				require.NoError(t, db.Close())
				db, s = reopen(t, path, k, nil)
			}
		})
	}
}

func TestDamage_Head_EarlierGapsAreFoundAgain(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 10, "a")
	spoil(t, path, "events", "a", 4)
	db, s := reopen(t, path, k, nil)
	_, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	write(t, s, "a", 4, 5) // 12 and 13
	require.NoError(t, db.Close())
	spoil(t, path, "machines", "a")
	db, s = reopen(t, path, k, nil)
	rep, err := db.RecoverAll(t.Context(), savepoint.RecoverAllOptions{Partial: true})
	require.NoError(t, err)
	assert.Equal(t, 1, rep.Recovered)
	st, err := s.Load(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, after(5), st.Value)
	g := history(t, s, "a", savepoint.EventRange{})
	assert.Equal(t, gone{seqs: []uint64{1, 2, 3, 11, 12, 13, 14}, gaps: []savepoint.GapError{{From: 4, To: 10}}}, g)
	v, err := s.Verify(t.Context(), "a")
	require.NoError(t, err)
	assert.True(t, v.OK())
}

func TestDamage_OneOfAHundred(t *testing.T) {
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

func TestDamage_Quarantine_Cleared(t *testing.T) {
	k := ledgerKind(-1)
	whole := ledgers(t, k, nil, 9, "a", "b")
	spoil(t, whole, "events", "a", 5)
	for name, clear := range map[string]func(t *testing.T, db *savepoint.DB, s *savepoint.Store[ledger]){
		"Recover": func(t *testing.T, db *savepoint.DB, s *savepoint.Store[ledger]) {
			_, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{To: savepoint.AtSeq(3)})
			require.NoError(t, err, "a point before the damage")
			st, err := s.Load(t.Context(), "a")
			require.NoError(t, err)
			assert.Equal(t, after(3), st.Value)
		},
		"Purge": func(t *testing.T, db *savepoint.DB, s *savepoint.Store[ledger]) {
			require.NoError(t, s.Purge(t.Context(), "a"))
			_, err := s.Load(t.Context(), "a")
			require.ErrorIs(t, err, savepoint.ErrNotFound)
		},
		"Register": func(t *testing.T, db *savepoint.DB, s *savepoint.Store[ledger]) {
			_, err := savepoint.Register(db, k)
			require.NoError(t, err)
			assert.Empty(t, db.Quarantined())
			_, err = s.Load(t.Context(), "a") // tried at once, and found wanting
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			assert.Len(t, db.Quarantined(), 1)
			_, err = savepoint.Register(db, k)
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := copied(t, whole)
			db, s := reopen(t, path, k, nil)
			_, err := s.Load(t.Context(), "a")
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			require.Len(t, db.Quarantined(), 1)
			clear(t, db, s)
			assert.Empty(t, db.Quarantined())
			require.NoError(t, db.Close())
			db, s = reopen(t, path, k, nil)
			assert.Empty(t, db.Quarantined(), "it lives in memory")
			well(t, s, "b", 9)
		})
	}
}

// sick is an engine whose machines cannot be read while it is told so.
type sick struct {
	engine.Engine
	ill   atomic.Bool
	loads atomic.Int64 // of events
}

func (e *sick) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	if want.Events || want.Snapshot != engine.NoSnapshot {
		e.loads.Add(1)
		if e.ill.Load() {
			return engine.Head{Number: 1}, &engine.Damage{Machine: machine, Part: "head", Why: errors.New("it is ill")}
		}
	}
	return e.Engine.Load(ctx, machine, want, fn)
}

func TestDamage_Quarantine_TriedAgainEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &sick{Engine: memory.New()}
		db, err := savepoint.Open("a name", &savepoint.Options{Engine: e, Cache: savepoint.CacheOptions{Off: true}})
		require.NoError(t, err)
		defer func() { assert.NoError(t, db.Close()) }()
		s, err := savepoint.Register(db, ledgerKind(-1))
		require.NoError(t, err)
		write(t, s, "a", 1, 3)
		e.ill.Store(true)
		_, err = s.Load(t.Context(), "a")
		require.ErrorIs(t, err, savepoint.ErrQuarantined)
		since, loads := db.Quarantined()[0].Since, e.loads.Load()
		for range 9 {
			time.Sleep(time.Second) // of the bubble
			_, err = s.Load(t.Context(), "a")
			require.ErrorIs(t, err, savepoint.ErrQuarantined)
			says(t, err, nil, "it is ill")
		}
		assert.Equal(t, loads, e.loads.Load(), "not tried again")
		time.Sleep(time.Second)
		_, err = s.Load(t.Context(), "a")
		require.ErrorIs(t, err, savepoint.ErrQuarantined)
		assert.Greater(t, e.loads.Load(), loads, "tried again")
		assert.Equal(t, since, db.Quarantined()[0].Since)
		e.ill.Store(false)
		_, err = s.Load(t.Context(), "a")
		require.ErrorIs(t, err, savepoint.ErrQuarantined)
		time.Sleep(10 * time.Second)
		well(t, s, "a", 3)
		assert.Empty(t, db.Quarantined())
	})
}

func TestDamage_RecoverAll(t *testing.T) {
	c := newClock()
	o := &savepoint.Options{Now: c.Now}
	k := ledgerKind(-1)
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, k, o)
	docs, err := savepoint.Register(db, savepoint.DocKind("wallet"))
	require.NoError(t, err)
	ctx := t.Context()
	start := c.Now()
	for i := range 12 {
		c.turn(time.Hour)
		write(t, s, fmt.Sprintf("m-%02d", i), 1, 5)
	}
	_, err = docs.Save(ctx, "w", savepoint.Doc{"coins": 1})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for _, i := range []int{3, 7, 9} {
		spoil(t, path, "events", fmt.Sprintf("m-%02d", i), 3)
	}
	db, s = reopen(t, path, k, o)
	docs, err = savepoint.Register(db, savepoint.DocKind("wallet"))
	require.NoError(t, err)

	var progress []int
	rep, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{Workers: 3, Progress: func(done, total int) {
		assert.Equal(t, 13, total)
		progress = append(progress, done)
	}})
	require.NoError(t, err)
	assert.Equal(t, []int{13, 10, 0, 3}, []int{rep.Machines, rep.Healthy, rep.Recovered, len(rep.Failed)})
	assert.Len(t, progress, 13)
	assert.True(t, slices.IsSorted(progress))
	for _, f := range rep.Failed {
		assert.Equal(t, savepoint.RecoverFailed, f.Status)
		require.NotEmpty(t, f.Tried)
		assert.EqualValues(t, 2, f.Tried[0].Good)
		assert.Contains(t, []string{"m-03", "m-07", "m-09"}, f.ID)
	}
	var ids []string
	for _, q := range db.Quarantined() {
		ids = append(ids, q.ID)
	}
	assert.Equal(t, []string{"m-03", "m-07", "m-09"}, ids)
	assert.Zero(t, db.Stats().Groups, "nothing was written")

	rep, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Kinds: []string{"ledger"}, Since: start.Add(5 * time.Hour), Until: start.Add(9 * time.Hour)})
	require.NoError(t, err)
	assert.Equal(t, 5, rep.Machines, "hours 5 to 9")
	assert.Len(t, rep.Failed, 1, "m-07 in hour 8")
	rep, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Kinds: []string{"wallet"}})
	require.NoError(t, err)
	assert.Equal(t, 1, rep.Machines)

	rep, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Partial: true, DryRun: true})
	require.NoError(t, err)
	assert.Equal(t, 3, rep.Recovered, "would be")
	assert.Zero(t, db.Stats().Groups)
	rep, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Partial: true, Until: start.Add(9 * time.Hour), Workers: 2})
	require.NoError(t, err)
	assert.Equal(t, []int{9, 7, 2, 0}, []int{rep.Machines, rep.Healthy, rep.Recovered, len(rep.Failed)})
	assert.Len(t, db.Quarantined(), 1)
	for _, id := range []string{"m-03", "m-07"} {
		st, err := s.Load(ctx, id)
		require.NoError(t, err)
		assert.Equal(t, after(2), st.Value)
		assert.EqualValues(t, 6, st.Seq)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = db.RecoverAll(cancelled, savepoint.RecoverAllOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = docs.Load(ctx, "w")
	require.NoError(t, err)
}

// told hands on the messages of a log.
type told struct {
	slog.Handler
	what chan string
}

func (h told) Handle(_ context.Context, r slog.Record) error { h.what <- r.Message; return nil }
func (h told) Enabled(context.Context, slog.Level) bool      { return true }

func TestDamage_BackgroundLook(t *testing.T) {
	k := ledgerKind(-1)
	path := filepath.Join(t.TempDir(), "game.db")
	_, s := reopen(t, path, k, &savepoint.Options{Journal: -1})
	write(t, s, "a", 1, 9)
	write(t, s, "b", 1, 9)
	unclean := copied(t, path) // as a crash would leave it
	spoil(t, unclean, "events", "a", 5)
	looked := func(path string, o savepoint.Options) bool {
		t.Helper()
		h := told{slog.DiscardHandler, make(chan string, 100)}
		o.Logger = slog.New(h)
		db, s := reopen(t, path, k, &o)
		well(t, s, "b", 9)
		found := false
		if !o.NoRecoverAll && path == unclean {
			for m := range h.what {
				if found = strings.HasPrefix(m, "looked at all machines"); found {
					require.Len(t, db.Quarantined(), 1, "before anybody asked for it")
					break
				}
			}
		}
		require.NoError(t, db.Close())
		close(h.what)
		for m := range h.what {
			found = found || strings.HasPrefix(m, "looked at all machines")
		}
		return found
	}
	again := copied(t, unclean)
	assert.True(t, looked(unclean, savepoint.Options{}))
	assert.False(t, looked(again, savepoint.Options{NoRecoverAll: true}))
	again = copied(t, unclean) // closed now
	assert.False(t, looked(again, savepoint.Options{}), "it was closed")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.NotEmpty(t, b)
}

var (
	cheats atomic.Int64 // what a cheating Apply reads
	factor atomic.Int64 // what an Apply that changes multiplies with
	broken atomic.Bool
)

type cheated struct{ N int }

func (e cheated) Apply(l *ledger, _ savepoint.Meta) error {
	l.Sum, l.Count = l.Sum+uint64(cheats.Add(1)), l.Count+1
	return nil
}

type multiplied struct{ N int }

func (e multiplied) Apply(l *ledger, _ savepoint.Meta) error {
	if broken.Load() {
		return errors.New("this program has a bug")
	}
	l.Sum, l.Count = l.Sum+uint64(e.N)*uint64(factor.Load()), l.Count+1
	return nil
}

func unsteadyKind(every int) savepoint.Kind[ledger] {
	k := ledgerKind(every)
	k.Events["cheated"], k.Events["multiplied"] = cheated{}, multiplied{}
	return k
}

func TestDamage_Verify_NamesACheat(t *testing.T) {
	for name, path := range engines {
		t.Run(name, func(t *testing.T) {
			db := open(t, path(t), nil)
			s, err := savepoint.Register(db, unsteadyKind(5))
			require.NoError(t, err)
			ctx := t.Context()
			write(t, s, "well", 1, 12)
			write(t, s, "a", 1, 6)
			_, err = s.Append(ctx, "a", cheated{})
			require.NoError(t, err)
			write(t, s, "a", 8, 12)
			v, err := s.Verify(ctx, "a")
			require.NoError(t, err)
			assert.False(t, v.OK())
			require.Len(t, v.Divergences, 1, "%v", v.Divergences)
			d := v.Divergences[0]
			assert.EqualValues(t, 7, d.Seq, "%v", d)
			assert.Equal(t, "cheated", d.Name)
			assert.EqualValues(t, 10, d.At)
			assert.Contains(t, d.String(), "not deterministic")
			assert.Contains(t, d.String(), "Sum")
			v, err = s.Verify(ctx, "well")
			require.NoError(t, err)
			assert.True(t, v.OK())

			write(t, s, "live", 1, 2) // no snapshot is behind it: only the live state tells
			_, err = s.Append(ctx, "live", cheated{})
			require.NoError(t, err)
			write(t, s, "live", 4, 4)
			v, err = s.Verify(ctx, "live")
			require.NoError(t, err)
			require.Len(t, v.Divergences, 1)
			assert.EqualValues(t, 3, v.Divergences[0].Seq, "%v", v.Divergences[0])
			assert.Equal(t, "cheated", v.Divergences[0].Name)
		})
	}
}

func TestDamage_Verify_NamesAChangedApply(t *testing.T) {
	for _, every := range []int{1, 4} {
		factor.Store(1)
		path := filepath.Join(t.TempDir(), "game.db")
		db, s := reopen(t, path, unsteadyKind(every), nil)
		write(t, s, "a", 1, 5)
		_, err := s.Append(t.Context(), "a", multiplied{N: 3})
		require.NoError(t, err)
		write(t, s, "a", 7, 12)
		require.NoError(t, db.Close())
		factor.Store(2)
		_, s = reopen(t, path, unsteadyKind(every), nil)
		v, err := s.Verify(t.Context(), "a")
		require.NoError(t, err)
		require.Len(t, v.Divergences, 1, "told once: %v", v.Divergences)
		d := v.Divergences[0]
		if every == 1 {
			assert.Equal(t, savepoint.Divergence{Seq: 6, Name: "multiplied", At: 6, What: d.What}, d)
		} else {
			assert.EqualValues(t, 8, d.At, "between snapshots 4 and 8")
			assert.LessOrEqual(t, d.Seq, uint64(8))
			assert.Greater(t, d.Seq, uint64(4))
		}
	}
}

func TestDamage_BrokenApply_LeavesQuarantineWithTheNextProgram(t *testing.T) {
	factor.Store(1)
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, unsteadyKind(-1), nil)
	write(t, s, "a", 1, 3)
	_, err := s.Append(t.Context(), "a", multiplied{N: 3})
	require.NoError(t, err)
	write(t, s, "b", 1, 3)
	want, err := s.Load(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	broken.Store(true)
	defer broken.Store(false)
	db, s = reopen(t, path, unsteadyKind(-1), nil)
	_, err = s.Load(t.Context(), "a")
	says(t, err, savepoint.ErrQuarantined, "event 4", "multiplied", "this program has a bug")
	well(t, s, "b", 3)
	rep, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true, DryRun: true})
	require.NoError(t, err)
	assert.Equal(t, []uint64{3, 4, 4}, []uint64{rep.Seq, rep.LostFrom, rep.LostTo})
	broken.Store(false)
	_, err = savepoint.Register(db, unsteadyKind(-1))
	require.NoError(t, err)
	got, err := s.Load(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Empty(t, db.Quarantined())
}
