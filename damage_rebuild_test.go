package savepoint_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/report"
)

// TestDamage_Rebuild_TriesInOrder damages or removes snapshots of a machine with 30 events and snapshots at 0, 10, 20 and 30:
// the state is rebuilt from the newest good one, and the report names what was tried before.
// row E4, G5, G6, G9, G12, G16, G20
func TestDamage_Rebuild_TriesInOrder(t *testing.T) {
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
			assert.Equal(t, report.Healthy, rep.Status, "the state is the same as without damage")
			assert.Zero(t, rep.Restored)
			for _, r := range []*report.Recover{dry, rep} {
				assert.Equal(t, c.source, r.Source)
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

// TestDamage_Rebuild_FromASave damages the only snapshot, the base: the state is rebuilt from a Save in the log, and points
// before it are damaged.
// row G6
func TestDamage_Rebuild_FromASave(t *testing.T) {
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
	assert.EqualValues(t, 7, h.Seq, "the key is known, so nothing is written twice")
	well(t, s, "b", 9)
}

// TestDamage_Rebuild_KeysSurvive damages snapshots: a write that is repeated under its key still happens once.
func TestDamage_Rebuild_KeysSurvive(t *testing.T) {
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

// TestDamage_Rebuild_WithoutSnapshots removes all snapshots but the base: every point has the same state as before.
func TestDamage_Rebuild_WithoutSnapshots(t *testing.T) {
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
			read := func(s *savepoint.Store[ledger]) (all []answer) {
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
			want := read(s)
			seqs := map[uint64]bool{}
			for info, err := range s.Snapshots(ctx, "a", savepoint.SnapshotRange{}) {
				require.NoError(t, err)
				seqs[info.Seq] = true
			}
			if st == savepoint.Hybrid {
				assert.Greater(t, len(seqs), 4)
			}
			require.NoError(t, db.Close())
			delete(seqs, 0) // the base is needed
			for seq := range seqs {
				remove(t, path, "snapshots", "a", seq)
			}
			db, s = reopen(t, path, k, o)
			got := read(s)
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

// TestDamage_Rebuild_FromALaterSnapshot damages an event before a good snapshot: the machine serves, only the points between
// the event and the snapshot are damaged.
func TestDamage_Rebuild_FromALaterSnapshot(t *testing.T) {
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

// TestDamage_Rebuild_AtTimeNeverShowsAnOlderState damages records in the middle and at the end: AtTime returns the right state
// or an error, never an older state.
func TestDamage_Rebuild_AtTimeNeverShowsAnOlderState(t *testing.T) {
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
