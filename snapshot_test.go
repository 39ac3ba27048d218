package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
)

// TestSnapshot_ByEvents_KeepPrunes takes a snapshot every five events and by hand: the newest ones, the base and those with a
// tag are kept, they are listed in both orders and by tag, restored, and deleted, except the base.
// row A7, B4, B10, B12, C3, C6, C8, C9, C11, C14, C19, D13, G2, G15, J6
func TestSnapshot_ByEvents_KeepPrunes(t *testing.T) {
	k := tableKind()
	k.Snapshot = savepoint.SnapshotPolicy{Events: 5, Keep: 3}
	onEachKind(t, savepoint.Options{}, k, func(t *testing.T, s *savepoint.Store[table]) {
		note(t, s, "g", 12)
		assert.Equal(t, []uint64{0, 5, 10}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
		info, err := s.Snapshot(t.Context(), "g", savepoint.Tag("keep me"), savepoint.Because("a test"))
		require.NoError(t, err)
		assert.EqualValues(t, 12, info.Seq)
		assert.Equal(t, "a test", info.Reason)
		note(t, s, "g", 30)
		// the base and the tagged one are kept besides
		assert.Equal(t, []uint64{0, 12, 32, 37, 42}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
		assert.Equal(t, []uint64{42, 37}, seqs(infos(t, s, "g", savepoint.SnapshotRange{Newest: true, Limit: 2})))
		tagged := infos(t, s, "g", savepoint.SnapshotRange{Tag: "keep me"})
		require.Len(t, tagged, 1)
		assert.Equal(t, info, tagged[0])

		st, err := s.At(t.Context(), "g", savepoint.AtSnapshot(12))
		require.NoError(t, err)
		assert.Equal(t, "11 by ", st.Value.Note)
		_, err = s.At(t.Context(), "g", savepoint.AtSnapshot(13))
		require.ErrorIs(t, err, savepoint.ErrNoPoint)
		_, err = s.DeleteSnapshot(t.Context(), "g", 0)
		require.ErrorContains(t, err, "base of the log")
		found, err := s.DeleteSnapshot(t.Context(), "g", 12)
		require.NoError(t, err)
		assert.True(t, found)
		found, err = s.DeleteSnapshot(t.Context(), "g", 12)
		require.NoError(t, err)
		assert.False(t, found)
		found, err = s.DeleteSnapshot(t.Context(), "g", 42)
		require.NoError(t, err)
		assert.True(t, found, "the newest one may be deleted like the others")
		assert.Equal(t, []uint64{0, 32, 37}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
		rep, err := s.Verify(t.Context(), "g")
		require.NoError(t, err)
		assert.True(t, rep.OK())
	})
}

// TestSnapshot_Interval_CountsFromTheLastStored takes snapshots by time: the interval goes on over a restart.
// row C5
func TestSnapshot_Interval_CountsFromTheLastStored(t *testing.T) {
	c := newClock()
	k := tableKind()
	k.Snapshot = savepoint.SnapshotPolicy{Events: -1, Every: time.Minute, NoClose: true}
	path := engines["file"](t)
	db, err := savepoint.Open(path, &savepoint.Options{Now: c.Now})
	require.NoError(t, err)
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	note(t, s, "g", 2)
	c.turn(40 * time.Second)
	note(t, s, "g", 1)
	assert.Equal(t, []uint64{0}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
	require.NoError(t, db.Close())

	db = open(t, path, &savepoint.Options{Now: c.Now})
	s, err = savepoint.Register(db, k)
	require.NoError(t, err)
	c.turn(10 * time.Second)
	note(t, s, "g", 1)
	assert.Equal(t, []uint64{0}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
	c.turn(10 * time.Second)
	note(t, s, "g", 1)
	assert.Equal(t, []uint64{0, 5}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
	c.turn(59 * time.Second)
	note(t, s, "g", 1)
	assert.Equal(t, []uint64{0, 5}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
}

// TestSnapshot_PhaseErrorPredicateAgeClose takes snapshots on a change of phase, on a mark, by predicate and at Close, and
// prunes by age, but never the newest one and never the base.
// row A11, B15, B16, C4, C7, C18, J3, J8
func TestSnapshot_PhaseErrorPredicateAgeClose(t *testing.T) {
	c := newClock()
	k := tableKind()
	k.Snapshot = savepoint.SnapshotPolicy{Events: -1, Every: -1, OnPhase: true, OnError: true, Keep: -1, MaxAge: time.Hour}
	k.SnapshotWhen = func(t *table) bool { return t.Note == "now by " }
	path := engines["file"](t)
	db, err := savepoint.Open(path, &savepoint.Options{Now: c.Now})
	require.NoError(t, err)
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	ctx := t.Context()
	begin(t, s, "g", 2) // the first write stores the base, and the phase does not change after it
	assert.Equal(t, []uint64{0}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
	_, err = s.Append(ctx, "g", moved{"scoring"})
	require.NoError(t, err)
	assert.Equal(t, []uint64{0, 4}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
	_, err = s.Mark(ctx, "g", 2, errors.New("a card was lost"))
	require.NoError(t, err)
	assert.Equal(t, []uint64{0, 4, 5}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
	_, err = s.Append(ctx, "g", &noted{Text: "now"})
	require.NoError(t, err)
	_, err = s.Append(ctx, "g", &noted{Text: "later"})
	require.NoError(t, err)
	assert.Equal(t, []uint64{0, 4, 5, 6}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
	c.turn(2 * time.Hour)
	_, err = s.Append(ctx, "g", &noted{Text: "now"})
	require.NoError(t, err)
	assert.Equal(t, []uint64{0, 8}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})), "the old ones are pruned, but not the newest one and not the base")
	_, err = s.Append(ctx, "g", &noted{Text: "last"})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	db = open(t, path, nil)
	s, err = savepoint.Register(db, k)
	require.NoError(t, err)
	list := infos(t, s, "g", savepoint.SnapshotRange{Newest: true, Limit: 1})
	assert.EqualValues(t, 9, list[0].Seq, "the snapshot that Close took")
	assert.Equal(t, "close", list[0].Reason)
	before, err := s.At(ctx, "g", savepoint.BeforeError())
	require.NoError(t, err)
	assert.EqualValues(t, 1, before.Seq)
}

// TestSnapshot_ManyMoreThanTen takes 120 snapshots of one machine. In the original the eleventh one hung for ever.
func TestSnapshot_ManyMoreThanTen(t *testing.T) {
	k := tableKind()
	k.Snapshot = savepoint.SnapshotPolicy{Events: 1, Keep: -1}
	onEachKind(t, savepoint.Options{}, k, func(t *testing.T, s *savepoint.Store[table]) {
		note(t, s, "g", 120)
		assert.Len(t, infos(t, s, "g", savepoint.SnapshotRange{}), 121)
		for _, info := range infos(t, s, "g", savepoint.SnapshotRange{})[1:] {
			st, err := s.At(t.Context(), "g", savepoint.AtSnapshot(info.Seq))
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintf("%d by ", info.Seq-1), st.Value.Note)
		}
	})
}

// TestSnapshot_TagKeepsFromPruningAfterReopening tags the first snapshot after opening: pruning keeps it. Its tag was once
// missing in the list that pruning reads.
func TestSnapshot_TagKeepsFromPruningAfterReopening(t *testing.T) {
	path := t.TempDir() + "/game.db"
	k := tableKind()
	k.Snapshot = savepoint.SnapshotPolicy{Events: -1, Every: -1, Keep: 1, NoClose: true}
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	note(t, s, "g", 1)
	require.NoError(t, db.Close())
	db = open(t, path, nil)
	s, err = savepoint.Register(db, k)
	require.NoError(t, err)
	_, err = s.Snapshot(t.Context(), "g", savepoint.Tag("kept"))
	require.NoError(t, err)
	for range 3 {
		note(t, s, "g", 1)
		_, err = s.Snapshot(t.Context(), "g")
		require.NoError(t, err)
	}
	assert.Equal(t, []uint64{1}, seqs(infos(t, s, "g", savepoint.SnapshotRange{Tag: "kept"})))
	assert.Equal(t, []uint64{0, 1, 4}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
}

// TestSnapshot_MaxAge_ClockJumps lets the clock jump a year: snapshots are pruned sooner or later, and every read returns the same.
// row C4
func TestSnapshot_MaxAge_ClockJumps(t *testing.T) {
	k := tableKind()
	k.Snapshot = savepoint.SnapshotPolicy{Events: 2, Every: -1, MaxAge: time.Hour}
	for _, jump := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		c := newClock()
		onEachKind(t, savepoint.Options{Now: c.Now, Cache: savepoint.CacheOptions{Off: true}}, k, func(t *testing.T, s *savepoint.Store[table]) {
			for range 3 {
				note(t, s, "g", 5)
				c.turn(jump)
				note(t, s, "g", 5)
				c.turn(-jump)
			}
			for seq := range uint64(30) {
				st, err := s.At(t.Context(), "g", savepoint.AtSeq(seq+1))
				require.NoError(t, err)
				assert.Equal(t, fmt.Sprint(seq%5, " by "), st.Value.Note)
			}
			assert.True(t, infos(t, s, "g", savepoint.SnapshotRange{})[0].Base)
			verified(t, s, "g")
		})
	}
}

// TestSnapshot_RefusedWritesDoNotDisturbPruning mixes queued and refused writes: as many snapshots are kept as without.
func TestSnapshot_RefusedWritesDoNotDisturbPruning(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, savepoint.SnapshotPolicy{Events: 1, Every: -1, Keep: 2, NoClose: true}))
		defer db.Close()
		gate := make(chan struct{})
		f.set(func() { f.gate = gate })
		for i := range 12 {
			s.Go(ctx, "g", added{N: int64(i)})
			_, err := s.Append(ctx, "g", added{N: failsInApply})
			require.Error(t, err)
		}
		close(gate)
		require.NoError(t, db.Flush(ctx))
		var got []uint64
		for info, err := range s.Snapshots(ctx, "g", savepoint.SnapshotRange{}) {
			require.NoError(t, err)
			got = append(got, info.Seq)
		}
		assert.Equal(t, []uint64{0, 11, 12}, got)
	})
}

// TestSnapshot_SameRecordAgain_KeepsTheTags takes several snapshots at one record: the tags add up.
func TestSnapshot_SameRecordAgain_KeepsTheTags(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		_, err = s.Snapshot(ctx, "g", savepoint.Tag("release"))
		require.NoError(t, err)
		info, err := s.Snapshot(ctx, "g", savepoint.Tag("other"))
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"release", "other"}, info.Tags)
		_, err = s.Snapshot(ctx, "g")
		require.NoError(t, err)
		n := 0
		for range s.Snapshots(ctx, "g", savepoint.SnapshotRange{Tag: "release"}) {
			n++
		}
		assert.Equal(t, 1, n)
	})
}

// TestStore_DeleteSnapshot_Damaged deletes a damaged snapshot, which makes the machine verify again.
func TestStore_DeleteSnapshot_Damaged(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		f.stays = true
		k := tallyKind("tally", savepoint.Hybrid, noPolicy)
		db, s := openFaulty(t, f, savepoint.Options{}, k)
		for range 3 {
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
			_, err = s.Snapshot(ctx, "g")
			require.NoError(t, err)
		}
		require.NoError(t, db.Close())
		f.set(func() {
			f.damage = func(m string, it *engine.Item) bool {
				if it.Part == engine.PartSnapshot && it.Seq == 2 {
					it.Bytes, it.Err = nil, &engine.Damage{Machine: m, Part: "snapshot", Seq: 2, Why: errDisk}
				}
				return false
			}
		})
		db, s = openFaulty(t, f, savepoint.Options{}, k)
		defer db.Close()
		found, err := s.DeleteSnapshot(ctx, "g", 2)
		require.NoError(t, err)
		assert.True(t, found)
		_, err = s.Verify(ctx, "g")
		require.NoError(t, err)
	})
}
