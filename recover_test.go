package savepoint_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/report"
)

// TestStore_Recover_ReplayLimitIsAnError recovers with MaxReplay: more records are an error, never a shorter replay. Points are
// tried in their order, and every recovery is listed with its reason and actor.
// row G6, G10, G14
func TestStore_Recover_ReplayLimitIsAnError(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		note(t, s, "g", 60)
		before := load(t, s, "g")
		rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(50), MaxReplay: 49})
		require.ErrorContains(t, err, "more than 49 records", "MaxReplay never shortens the replay")
		assert.Equal(t, report.Failed, rep.Status)
		assert.Equal(t, before, load(t, s, "g"))

		rep, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(50), MaxReplay: 50, DryRun: true})
		require.NoError(t, err)
		assert.Equal(t, 50, rep.Replayed)
		assert.Equal(t, before, load(t, s, "g"), "a dry run writes nothing")

		for i, to := range []uint64{50, 20} {
			rep, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(to), Reason: fmt.Sprint("test ", i), Actor: "ops"})
			require.NoError(t, err)
			assert.Equal(t, to, rep.Seq)
			assert.Equal(t, fmt.Sprint(to-1, " by "), load(t, s, "g").Value.Note)
		}
		_, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(500), Else: []savepoint.Point{savepoint.BeforeError(), savepoint.AtSeq(7)}})
		require.NoError(t, err, "the points are tried in their order")
		assert.Equal(t, "6 by ", load(t, s, "g").Value.Note)

		var past []string
		for r, err := range s.Recoveries(ctx, "g") {
			require.NoError(t, err)
			past = append(past, fmt.Sprint(r.Seq, " ", r.Report.To, " ", r.Report.Seq, " ", r.Report.Reason, " ", r.Actor, " ", r.Origin))
		}
		assert.Equal(t, []string{"61 seq 50 50 test 0 ops recovery", "62 seq 20 20 test 1 ops recovery", "63 seq 500 7   recovery"}, past)
		rv, err := s.Verify(ctx, "g")
		require.NoError(t, err)
		assert.True(t, rv.OK(), "%v", rv.Divergences)
	})
}

// TestStore_RecoverAndPurge_UnsavedWritesAndAQueueOfOne recovers and purges while unsaved writes wait, with a queue of one:
// nothing waits for ever.
func TestStore_RecoverAndPurge_UnsavedWritesAndAQueueOfOne(t *testing.T) {
	for _, what := range []string{"recover", "purge"} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context) {
				db, s := openFaulty(t, newFaulty(), savepoint.Options{Queue: 1}, snapshotOnly(-1))
				defer db.Close()
				a := s.Go(ctx, "g", added{N: 1})
				var err error
				if what == "recover" {
					_, err = s.Recover(ctx, "g", savepoint.RecoverOptions{})
				} else {
					err = s.Purge(ctx, "g")
				}
				require.NoError(t, err)
				require.NoError(t, a.Err())
			})
		})
	}
}

// TestStore_Recover_KeepsTheKeys repeats writes that a recovery rolled back: their keys return the first results, with and
// without the snapshot of the recovery.
func TestStore_Recover_KeepsTheKeys(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		f.stays = true
		k := tallyKind("tally", savepoint.Hybrid, noPolicy)
		db, s := openFaulty(t, f, savepoint.Options{}, k)
		for i := range 5 {
			_, err := s.Append(ctx, "g", added{N: int64(i)}, savepoint.Key(fmt.Sprint(i)))
			require.NoError(t, err)
		}
		rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(2)})
		require.NoError(t, err)
		again := func() {
			t.Helper()
			for i := range 5 {
				h, err := s.Append(ctx, "g", added{N: int64(i)}, savepoint.Key(fmt.Sprint(i)))
				require.NoError(t, err)
				assert.EqualValues(t, i+1, h.Seq)
			}
		}
		again()
		require.NoError(t, db.Close())
		db, s = openFaulty(t, f, savepoint.Options{}, k)
		again()
		_, err = s.DeleteSnapshot(ctx, "g", rep.Restored)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		db, s = openFaulty(t, f, savepoint.Options{}, k)
		again()
		require.NoError(t, db.Close())
	})
}

// TestStore_Recover_StateThatIsNotKept recovers a snapshot-only machine to states that are not kept: ErrNoPoint, also with
// Partial, because the machine is healthy.
func TestStore_Recover_StateThatIsNotKept(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, snapshotOnly(-1))
		defer db.Close()
		for range 8 {
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
		}
		found, err := s.DeleteSnapshot(ctx, "g", 7)
		require.NoError(t, err)
		require.True(t, found)
		for _, seq := range []uint64{2, 7} {
			_, err := s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(seq), Partial: true})
			require.ErrorIs(t, err, savepoint.ErrNoPoint, "the machine is healthy, so nothing is given up")
			require.NotErrorIs(t, err, savepoint.ErrCorrupt)
		}
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.EqualValues(t, 8, st.Value.Sum)
	})
}

// TestStore_Recover_PartialNeedsAMachine recovers a machine that does not exist: Partial restores what is left of a machine,
// it never creates one.
func TestStore_Recover_PartialNeedsAMachine(t *testing.T) {
	ctx := t.Context()
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	for _, dry := range []bool{true, false} {
		rep, err := s.Recover(ctx, "nobody", savepoint.RecoverOptions{Partial: true, DryRun: dry})
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		assert.Equal(t, report.Failed, rep.Status)
	}
	_, err := s.Load(ctx, "nobody")
	require.ErrorIs(t, err, savepoint.ErrNotFound)
}

// TestStore_Recover_Deleted recovers a deleted machine: the moment of the deletion is refused, with Partial too, and a moment
// before it brings the machine back.
func TestStore_Recover_Deleted(t *testing.T) {
	ctx := t.Context()
	db := open(t, savepoint.Memory, nil)
	s, err := savepoint.Register(db, ledgerKind(4))
	require.NoError(t, err)
	write(t, s, "a", 1, 5)
	_, err = s.Delete(ctx, "a")
	require.NoError(t, err)
	for _, o := range []savepoint.RecoverOptions{{}, {Partial: true}, {To: savepoint.AtSeq(6)}, {DryRun: true}} {
		_, err := s.Recover(ctx, "a", o)
		require.ErrorIs(t, err, savepoint.ErrDeleted, "%+v", o)
	}
	rep, err := s.Recover(ctx, "a", savepoint.RecoverOptions{Else: []savepoint.Point{savepoint.AtSeq(5)}})
	require.NoError(t, err)
	assert.Equal(t, report.Restored, rep.Status)
	assert.EqualValues(t, 5, rep.Seq)
	st, err := s.Load(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, after(5), st.Value)
}

// TestStore_Recover_PartialAfterElse recovers a damaged machine with points that it does not have: the prefix that the first
// point led to is not forgotten.
func TestStore_Recover_PartialAfterElse(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 8, "a")
	spoil(t, path, "events", "a", 5)
	_, s := reopen(t, path, k, nil)
	o := savepoint.RecoverOptions{Else: []savepoint.Point{savepoint.AtSnapshot(99), savepoint.AtSeq(99)}, Partial: true}
	rep, err := s.Recover(t.Context(), "a", o)
	require.NoError(t, err)
	assert.Equal(t, report.Partial, rep.Status)
	assert.Equal(t, []uint64{4, 5, 8}, []uint64{rep.Seq, rep.LostFrom, rep.LostTo})
}
