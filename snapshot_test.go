package savepoint_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// clock is a clock that tests turn.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) Now() time.Time       { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) turn(d time.Duration) { c.at.Add(d.Microseconds()) }

func infos(t *testing.T, s *savepoint.Store[table], id string, r savepoint.SnapshotRange) (out []savepoint.SnapshotInfo) {
	t.Helper()
	for info, err := range s.Snapshots(t.Context(), id, r) {
		require.NoError(t, err)
		require.NoError(t, info.Err)
		out = append(out, info)
	}
	return out
}

func seqs(list []savepoint.SnapshotInfo) (out []uint64) {
	for _, i := range list {
		out = append(out, i.Seq)
	}
	return out
}

func note(t testing.TB, s *savepoint.Store[table], id string, n int) {
	t.Helper()
	for i := range n {
		_, err := s.Append(t.Context(), id, &noted{Text: fmt.Sprint(i)})
		require.NoError(t, err)
	}
}

// onEachKind is onEach with a kind and options of the test's own.
func onEachKind(t *testing.T, o savepoint.Options, k savepoint.Kind[table], fn func(t *testing.T, s *savepoint.Store[table])) {
	for name, path := range engines {
		t.Run(name, func(t *testing.T) {
			db := open(t, path(t), &o)
			s, err := savepoint.Register(db, k)
			require.NoError(t, err)
			fn(t, s)
		})
	}
}

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
		// the base and the tagged one do not count
		assert.Equal(t, []uint64{0, 12, 32, 37, 42}, seqs(infos(t, s, "g", savepoint.SnapshotRange{}))) // row C3
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
		assert.True(t, found, "the newest one is an optimisation like the others")
		assert.Equal(t, []uint64{0, 32, 37}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})))
		rep, err := s.Verify(t.Context(), "g")
		require.NoError(t, err)
		assert.True(t, rep.OK())
	})
}

func TestSnapshot_Interval_CountsFromTheLastStored(t *testing.T) {
	// row C5: the interval survives a restart
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
	begin(t, s, "g", 2) // the first write brings the base; the phase then stays
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
	assert.Equal(t, []uint64{0, 8}, seqs(infos(t, s, "g", savepoint.SnapshotRange{})), "row C4: too old, never the newest, never the base") // row C4
	_, err = s.Append(ctx, "g", &noted{Text: "last"})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	db = open(t, path, nil)
	s, err = savepoint.Register(db, k)
	require.NoError(t, err)
	list := infos(t, s, "g", savepoint.SnapshotRange{Newest: true, Limit: 1})
	assert.EqualValues(t, 9, list[0].Seq, "row B16: the snapshot of Close") // row B16
	assert.Equal(t, "close", list[0].Reason)
	before, err := s.At(ctx, "g", savepoint.BeforeError())
	require.NoError(t, err)
	assert.EqualValues(t, 1, before.Seq)
}

func TestSnapshot_ManyMoreThanTen(t *testing.T) {
	// the eleventh snapshot of a machine hung for ever
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

func TestSnapshot_TagKeepsFromPruningAfterReopening(t *testing.T) {
	// the first snapshot after opening lost its tag in the index that pruning reads
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

// A clock that jumps prunes snapshots sooner or later, and changes no answer.
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
				require.NoError(t, err, "row C4") // row C4
				assert.Equal(t, fmt.Sprint(seq%5, " by "), st.Value.Note)
			}
			assert.True(t, infos(t, s, "g", savepoint.SnapshotRange{})[0].Base)
			verified(t, s, "g")
		})
	}
}
