package savepoint_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/report"
)

// TestDamage_Head damages a machine's head: the machine is quarantined, its records are still listed with an error that says
// there may be more, List names it, other machines serve, and Purge makes the id usable again.
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
	assert.Equal(t, fromTo(1, 12), g.seqs, "the records that can be found are listed")
	require.Len(t, g.errs, 1, "an error says that there may be more")
	says(t, g.errs[0], savepoint.ErrCorrupt, "head", `"b"`)
	var list []string
	for h, err := range s.List(ctx, savepoint.ListOptions{}) {
		list = append(list, fmt.Sprint(h.ID, " ", errors.Is(err, savepoint.ErrCorrupt)))
	}
	assert.Equal(t, []string{"a false", "b true", "c false"}, list)
	rep, err := s.Recover(ctx, "b", savepoint.RecoverOptions{})
	says(t, err, savepoint.ErrCorrupt, "head", `"b"`)
	assert.Equal(t, report.Failed, rep.Status)
	all, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{})
	require.NoError(t, err)
	assert.Equal(t, 2, all.Healthy)
	require.Len(t, all.Failed, 1)
	well(t, s, "a", 12)
	well(t, s, "c", 12)
	require.NoError(t, s.Purge(ctx, "b"), "Purge makes the id usable again")
	assert.Empty(t, db.Quarantined())
	write(t, s, "b", 1, 3)
	well(t, s, "b", 3)
}

// TestDamage_Head_PartialRecovery recovers a machine without a head, also with damaged events and snapshots: a dry run and the
// recovery report the same, and the machine goes on after the last good record.
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
			for _, r := range []*report.Recover{dry, rep} {
				assert.Equal(t, report.Partial, r.Status, "without a head nothing proves that the records are complete")
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

// TestDamage_Head_PartialRecoveryPrunes recovers a machine without a head whose kind keeps two snapshots: the snapshot that the
// recovery stores prunes the oldest one.
func TestDamage_Head_PartialRecoveryPrunes(t *testing.T) {
	k := ledgerKind(3)
	k.Snapshot.Keep = 2
	path := ledgers(t, k, nil, 7, "a")
	spoil(t, path, "machines", "a")
	_, s := reopen(t, path, k, nil)
	rep, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	assert.EqualValues(t, 8, rep.Restored)
	var seqs []uint64
	for info, err := range s.Snapshots(t.Context(), "a", savepoint.SnapshotRange{}) {
		require.NoError(t, err)
		seqs = append(seqs, info.Seq)
	}
	assert.Equal(t, []uint64{0, 6, 8}, seqs)
	st, err := s.Load(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, after(7), st.Value)
}

// TestDamage_Head_PartialGivesUpNoIntactRecords recovers a machine without a head whose records after the damage follow a whole
// state: a MaxReplay that is too small for them is an error, and they are not given up.
func TestDamage_Head_PartialGivesUpNoIntactRecords(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 4, "a")
	db, s := reopen(t, path, k, nil)
	_, err := s.Save(t.Context(), "a", after(5))
	require.NoError(t, err)
	write(t, s, "a", 6, 10)
	require.NoError(t, db.Close())
	spoil(t, path, "events", "a", 2)
	spoil(t, path, "machines", "a")
	_, s = reopen(t, path, k, nil)
	rep, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true, MaxReplay: 4})
	says(t, err, savepoint.ErrCorrupt, "head", "more than 4 records")
	assert.Equal(t, report.Failed, rep.Status)
	assert.Zero(t, rep.Restored)
	rep, err = s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true, MaxReplay: 5})
	require.NoError(t, err)
	assert.Equal(t, []any{"replaced", uint64(5), uint64(10), uint64(0)}, []any{rep.Source, rep.From, rep.Seq, rep.LostTo})
	st, err := s.Load(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, after(10), st.Value)
}

// TestDamage_Head_NothingIsLeft recovers a machine of which only a damaged head is left: the report names one attempt, because
// without snapshots and records there is nothing more to try.
func TestDamage_Head_NothingIsLeft(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 1, "a")
	remove(t, path, "events", "a", 1)
	remove(t, path, "snapshots", "a", 0)
	spoil(t, path, "machines", "a")
	_, s := reopen(t, path, k, nil)
	rep, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true})
	says(t, err, savepoint.ErrCorrupt, "head")
	assert.Equal(t, report.Failed, rep.Status)
	assert.Len(t, rep.Tried, 1)
}

// TestDamage_Head_EarlierGapsAreFoundAgain loses the head of a machine that a partial recovery had left with a gap: a recovery
// without the head finds that gap again.
func TestDamage_Head_EarlierGapsAreFoundAgain(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 10, "a")
	spoil(t, path, "events", "a", 4)
	db, s := reopen(t, path, k, nil)
	_, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	write(t, s, "a", 4, 5) // seqs 12 and 13
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
