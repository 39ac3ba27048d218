package savepoint_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/report"
)

// The thirteen ways in which the Python original lost or mixed up games, each with a test that it cannot happen here. The
// comments say what went wrong there.

// TestOriginal_01_RecoverySucceeds: recovering a state always failed, because the manager built its recovery without any
// strategy.
// row B13, G1, G11
func TestOriginal_01_RecoverySucceeds(t *testing.T) {
	_, s := docs(t, nil, nil)
	ctx := t.Context()
	for i := range 5 {
		_, err := s.Append(ctx, "g", transition("turn", i))
		require.NoError(t, err)
	}
	rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{})
	require.NoError(t, err)
	assert.Equal(t, report.Healthy, rep.Status)
	rep, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(3), Reason: "a test"})
	require.NoError(t, err)
	assert.Equal(t, report.Restored, rep.Status)
	assert.EqualValues(t, 6, rep.Restored)
	st, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, savepoint.Doc{"phase": "turn", "n": int64(2)}, st.Value)
}

// TestOriginal_02_HybridReloadsTheNewest: after two saves and dropped caches a load returned the first save, and a replay nested
// the second one inside it.
// row B4, B7, D4
func TestOriginal_02_HybridReloadsTheNewest(t *testing.T) {
	path := engines["file"](t)
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	s, err := savepoint.Register(db, document.Kind("game"))
	require.NoError(t, err)
	ctx := t.Context()
	for i := range 2 {
		_, err = s.Save(ctx, "g", savepoint.Doc{"save": i + 1})
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	db = open(t, path, nil)
	s, err = savepoint.Register(db, document.Kind("game"))
	require.NoError(t, err)
	st, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, savepoint.Doc{"save": int64(2)}, st.Value)
	at, err := s.At(ctx, "g", savepoint.AtSeq(2))
	require.NoError(t, err)
	assert.Equal(t, st.Value, at.Value)
}

// TestOriginal_03_SnapshotOnlySavesAreStored: under snapshot-only a save within the snapshot interval reported success and wrote
// nothing.
// row B2
func TestOriginal_03_SnapshotOnlySavesAreStored(t *testing.T) {
	path := engines["file"](t)
	kind := document.Kind("game")
	kind.Strategy = savepoint.SnapshotOnly
	kind.Snapshot = savepoint.SnapshotPolicy{Every: time.Hour, NoClose: true}
	ctx := t.Context()
	for i := range 3 {
		db, err := savepoint.Open(path, nil)
		require.NoError(t, err)
		s, err := savepoint.Register(db, kind)
		require.NoError(t, err)
		if i > 0 {
			st, err := s.Load(ctx, "g")
			require.NoError(t, err)
			assert.Equal(t, savepoint.Doc{"save": int64(i)}, st.Value)
		}
		_, err = s.Save(ctx, "g", savepoint.Doc{"save": i + 1})
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
}

// TestOriginal_04_DeletedMachinesStayDeleted: a deleted machine still loaded.
// row B9
func TestOriginal_04_DeletedMachinesStayDeleted(t *testing.T) {
	for _, st := range strategies {
		_, s := docs(t, nil, func(k *savepoint.Kind[savepoint.Doc]) { k.Strategy = st })
		ctx := t.Context()
		_, err := s.Save(ctx, "g", savepoint.Doc{"n": 1})
		require.NoError(t, err)
		_, err = s.Delete(ctx, "g")
		require.NoError(t, err)
		_, err = s.Load(ctx, "g")
		require.ErrorIs(t, err, savepoint.ErrDeleted, st.String())
		for range s.List(ctx, savepoint.ListOptions{}) {
			t.Fatal("a deleted machine is listed")
		}
	}
}

// TestOriginal_05_RecoveryReplaysRecentEvents: hybrid recovery ignored every transition of the hour after the snapshot, and
// ignored the point in time.
// row G3, G7, G12
func TestOriginal_05_RecoveryReplaysRecentEvents(t *testing.T) {
	c := newClock()
	_, s := docs(t, &savepoint.Options{Now: c.Now}, func(k *savepoint.Kind[savepoint.Doc]) { k.Snapshot.Events = 4 })
	ctx := t.Context()
	var times []time.Time
	for i := range 10 {
		c.turn(time.Minute)
		times = append(times, c.Now())
		_, err := s.Append(ctx, "g", transition("turn", i))
		require.NoError(t, err)
	}
	for i, at := range times {
		st, err := s.At(ctx, "g", savepoint.AtTime(at.Add(time.Second)))
		require.NoError(t, err)
		assert.Equal(t, int64(i), st.Value["n"])
	}
	rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtTime(times[5])})
	require.NoError(t, err)
	assert.EqualValues(t, 6, rep.Seq)
	st, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, int64(5), st.Value["n"])
}

// TestOriginal_06_RetentionKeepsTheCreatedState: retention by count dropped the "created" event silently, and the state was
// rebuilt without it.
// row D10
func TestOriginal_06_RetentionKeepsTheCreatedState(t *testing.T) {
	path, o := engines["file"](t), &savepoint.Options{RetainEvery: -1, Retention: savepoint.RetentionPolicy{MaxRecords: 10, Batch: 1}}
	for _, st := range []savepoint.Strategy{savepoint.Hybrid, savepoint.EventSourced, savepoint.Versioned} {
		db, err := savepoint.Open(path, o)
		require.NoError(t, err)
		k := document.Kind(st.String())
		k.Strategy, k.Snapshot.NoClose = st, true
		s, err := savepoint.Register(db, k)
		require.NoError(t, err)
		ctx := t.Context()
		_, err = s.Append(ctx, "g", document.Update{Set: map[string]any{"created": "with this"}})
		require.NoError(t, err)
		for i := range 49 {
			_, err = s.Append(ctx, "g", transition("turn", i))
			require.NoError(t, err)
		}
		rep, err := db.Retain(ctx)
		require.NoError(t, err)
		assert.Equal(t, 40, rep.Records)
		require.NoError(t, db.Close())

		db, err = savepoint.Open(path, o)
		require.NoError(t, err)
		s, err = savepoint.Register(db, k)
		require.NoError(t, err)
		got, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.Equal(t, savepoint.Doc{"created": "with this", "phase": "turn", "n": int64(48)}, got.Value)
		assert.EqualValues(t, 50, got.Seq)
		_, err = s.At(ctx, "g", savepoint.AtSeq(1))
		require.ErrorIs(t, err, savepoint.ErrCompacted, "a removed point is an error")
		require.NoError(t, db.Close())
	}
}

// TestOriginal_07_LogKeepsMachinesApart: the log in memory returned another machine's transitions once its ring wrapped.
// row E7
func TestOriginal_07_LogKeepsMachinesApart(t *testing.T) {
	for name, path := range engines {
		db := open(t, path(t), &savepoint.Options{RetainEvery: -1, Retention: savepoint.RetentionPolicy{MaxRecords: 8, Batch: 1}})
		s, err := savepoint.Register(db, document.Kind("game"))
		require.NoError(t, err)
		ctx := t.Context()
		for i := range 200 {
			id := fmt.Sprint("g-", i%7)
			_, err := s.Append(ctx, id, transition(id, i))
			require.NoError(t, err)
			if i%40 == 39 {
				_, err = db.Retain(ctx)
				require.NoError(t, err)
			}
		}
		for m := range 7 {
			id, last := fmt.Sprint("g-", m), uint64(0)
			for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
				require.NoError(t, err)
				assert.Equal(t, id, rec.ID, name)
				assert.Equal(t, id, rec.To)
				assert.True(t, last == 0 || rec.Seq == last+1)
				last = rec.Seq
			}
			st, err := s.Load(ctx, id)
			require.NoError(t, err)
			assert.Equal(t, st.Seq, last)
		}
	}
}

// TestOriginal_08_SnapshotsInNumericOrder: the newest snapshot was chosen by the order of strings, so that number 9 beat number 12.
// row C12, C13, G9
func TestOriginal_08_SnapshotsInNumericOrder(t *testing.T) {
	_, s := docs(t, nil, func(k *savepoint.Kind[savepoint.Doc]) {
		k.Snapshot = savepoint.SnapshotPolicy{Events: 1, Keep: -1}
	})
	ctx := t.Context()
	for i := range 12 {
		_, err := s.Append(ctx, "g", transition("turn", i+1))
		require.NoError(t, err)
	}
	var order []uint64
	for info, err := range s.Snapshots(ctx, "g", savepoint.SnapshotRange{Newest: true}) {
		require.NoError(t, err)
		order = append(order, info.Seq)
	}
	assert.Equal(t, []uint64{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, order)
	rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{})
	require.NoError(t, err)
	assert.EqualValues(t, 12, rep.From, "the recovery starts from the newest snapshot")
	assert.Zero(t, rep.Replayed)
	rep, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSnapshot(9)})
	require.NoError(t, err)
	assert.EqualValues(t, 9, rep.Seq, "one snapshot by its seq")
	st, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, int64(9), st.Value["n"])
}

// TestOriginal_09_ChecksumsAreCompared: checksums were written and never compared, so that a tampered snapshot was restored.
// row C10
func TestOriginal_09_ChecksumsAreCompared(t *testing.T) {
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
			tampered := tamper(t, path, "a poor man", "a rich man")
			_, s = reopen(t, path, k, nil)
			got, err := s.Load(ctx, "a")
			if st == savepoint.SnapshotOnly {
				require.Equal(t, 1, tampered)
				says(t, err, savepoint.ErrQuarantined, "snapshot 6", `"a"`)
				require.ErrorIs(t, err, savepoint.ErrCorrupt)
				at5, err := s.At(ctx, "a", savepoint.AtSeq(5))
				require.NoError(t, err)
				assert.Equal(t, after(5), at5.Value, "the other snapshots are still readable")
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

// TestOriginal_10_BeforeErrorIsBeforeIt: "before error" returned what happened after the error, and its validator could never
// fail.
// row A13, G4, G8
func TestOriginal_10_BeforeErrorIsBeforeIt(t *testing.T) {
	_, s := docs(t, nil, nil)
	ctx := t.Context()
	for i := range 6 {
		_, err := s.Append(ctx, "g", transition("turn", i+1))
		require.NoError(t, err)
	}
	_, err := s.At(ctx, "g", savepoint.BeforeError())
	require.ErrorIs(t, err, savepoint.ErrNoPoint)
	_, err = s.Mark(ctx, "g", 4, errors.New("the pot is wrong"))
	require.NoError(t, err)
	_, err = s.Append(ctx, "g", transition("turn", 7))
	require.NoError(t, err)
	st, err := s.At(ctx, "g", savepoint.BeforeError())
	require.NoError(t, err)
	assert.Equal(t, int64(3), st.Value["n"])
	rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.BeforeError()})
	require.NoError(t, err)
	assert.EqualValues(t, 3, rep.Seq)

	// A state that the validator refuses is neither written nor recovered.
	path, kind := engines["file"](t), document.Kind("game")
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	lenient, err := savepoint.Register(db, kind)
	require.NoError(t, err)
	for _, n := range []int{12, 13, 14} {
		_, err = lenient.Append(ctx, "g", transition("turn", n))
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	kind.Validate = func(d *savepoint.Doc) error {
		if (*d)["n"] == int64(13) {
			return errors.New("thirteen")
		}
		return nil
	}
	strict, err := savepoint.Register(open(t, path, nil), kind)
	require.NoError(t, err)
	_, err = strict.Append(ctx, "g", transition("turn", 13))
	require.ErrorContains(t, err, "thirteen")
	_, err = strict.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(2)})
	require.ErrorContains(t, err, "thirteen")
	st, err = strict.Load(ctx, "g")
	require.NoError(t, err)
	assert.EqualValues(t, 3, st.Seq, "nothing was restored")
	rep, err = strict.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(1)})
	require.NoError(t, err)
	assert.EqualValues(t, 4, rep.Restored)
}

// TestOriginal_11_VerifyWithManyMachines: the integrity check failed for every machine as soon as a second one existed.
// row D15
func TestOriginal_11_VerifyWithManyMachines(t *testing.T) {
	_, s := docs(t, nil, nil)
	ctx := t.Context()
	for i := range 30 {
		_, err := s.Append(ctx, fmt.Sprint("g-", i%3), transition("turn", i))
		require.NoError(t, err)
	}
	for i := range 3 {
		rep, err := s.Verify(ctx, fmt.Sprint("g-", i))
		require.NoError(t, err)
		assert.True(t, rep.OK(), "%v", rep.Divergences)
		assert.Equal(t, 10, rep.Events)
	}
}

// TestOriginal_12_CacheIsolatesAndStaysFresh: the cache was first in, first out, returned the caller's live object, and went
// stale when an event was stored by another path.
// row H5
func TestOriginal_12_CacheIsolatesAndStaysFresh(t *testing.T) {
	db, s := docs(t, &savepoint.Options{Cache: savepoint.CacheOptions{Machines: 2}}, nil)
	ctx := t.Context()
	mine := savepoint.Doc{"hand": map[string]any{"ann": "7H"}}
	_, err := s.Save(ctx, "a", mine)
	require.NoError(t, err)
	mine["hand"].(map[string]any)["ann"] = "stolen"
	st, err := s.Load(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, "7H", st.Value["hand"].(map[string]any)["ann"])
	st.Value["hand"].(map[string]any)["ann"] = "stolen too"
	st, err = s.Load(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, "7H", st.Value["hand"].(map[string]any)["ann"])

	_, err = s.Save(ctx, "b", savepoint.Doc{})
	require.NoError(t, err)
	_, err = s.Load(ctx, "a") // a is used again, so b is the one to evict
	require.NoError(t, err)
	_, err = s.Save(ctx, "c", savepoint.Doc{})
	require.NoError(t, err)
	before := db.Stats().Cache
	_, err = s.Load(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, before.Misses, db.Stats().Cache.Misses, "the least recently used machine is evicted, not the first one")
	_, err = s.Load(ctx, "b")
	require.NoError(t, err)
	assert.Equal(t, before.Misses+1, db.Stats().Cache.Misses)

	require.NoError(t, db.Update(ctx, func(tx *savepoint.Tx) error { // the event comes by another path
		m, err := s.In(tx, "a")
		if err != nil {
			return err
		}
		return m.Append(document.Update{Set: map[string]any{"hand": map[string]any{"ann": "8H"}}})
	}))
	st, err = s.Load(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, "8H", st.Value["hand"].(map[string]any)["ann"])
}

// TestOriginal_13_VersionsCompareAndMigrate: the second save of versions crashed, equal versions made at different times were
// unequal, and no migration could be registered.
// row B5
func TestOriginal_13_VersionsCompareAndMigrate(t *testing.T) {
	path := engines["file"](t)
	kind := document.Kind("game")
	kind.Strategy = savepoint.Versioned
	ctx := t.Context()
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	s, err := savepoint.Register(db, kind)
	require.NoError(t, err)
	var heads []savepoint.Head
	for i := range 3 {
		h, err := s.Save(ctx, "g", savepoint.Doc{"n": i})
		require.NoError(t, err)
		heads = append(heads, h)
	}
	assert.Equal(t, heads[0].Version, heads[2].Version)
	assert.Equal(t, savepoint.V(1, 0, 0), heads[2].Version)
	assert.EqualValues(t, 3, heads[2].Revision)
	require.NoError(t, db.Close())

	kind.Version = savepoint.V(2, 0, 0)
	kind.Migrations = []savepoint.Migration{{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0),
		Up: func(d savepoint.Doc) (savepoint.Doc, error) { d["doubled"] = 2 * d["n"].(int64); return d, nil }}}
	db = open(t, path, nil)
	s, err = savepoint.Register(db, kind)
	require.NoError(t, err)
	st, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, savepoint.Doc{"n": int64(2), "doubled": int64(4)}, st.Value)
}
