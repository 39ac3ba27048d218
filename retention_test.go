package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/archive"
	"github.com/liap-tui/savepoint/engine"
)

// retaining opens a database on f with a kind that has the retention policy p and the final phase "end".
func retaining(t *testing.T, f *faulty, o savepoint.Options, p savepoint.RetentionPolicy) (*savepoint.DB, *savepoint.Store[tally]) {
	k := tallyKind("tally", savepoint.Hybrid, noPolicy)
	k.Retention, k.Final = p, []string{"end"}
	return openFaulty(t, f, o, k)
}

// TestRetention_OffUnlessSet keeps every record where no policy is set.
func TestRetention_OffUnlessSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		db, s := retaining(t, newFaulty(), savepoint.Options{}, savepoint.RetentionPolicy{})
		add(t, s, "g", 50)
		time.Sleep(1000 * time.Hour)
		rep, err := db.Retain(ctx)
		require.NoError(t, err)
		assert.Zero(t, rep.Machines)
		assert.Equal(t, 50, recordsOf(t, s, "g"))
		require.NoError(t, db.Close())
	})
}

// TestRetention_ByCountInTheBackground keeps the newest records of many machines, in batches and in few groups, without a call.
// row B14, D10, D11, K5
func TestRetention_ByCountInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f := newFaulty()
		db, s := retaining(t, f, savepoint.Options{Retention: savepoint.RetentionPolicy{MaxRecords: 20}}, savepoint.RetentionPolicy{Batch: 5})
		add(t, s, "few", 24)
		for m := range 130 {
			add(t, s, fmt.Sprint("many ", m), 30)
		}
		want, err := s.Load(ctx, "many 7")
		require.NoError(t, err)
		before := db.Stats().Groups
		f.set(func() { f.delay = func() { time.Sleep(time.Millisecond) } }) // writes that come meanwhile share a group
		time.Sleep(10 * time.Minute)
		assert.Equal(t, 24, recordsOf(t, s, "few"), "a batch has to gather")
		assert.Equal(t, 20, recordsOf(t, s, "many 7"), "the newest 20 records are kept")
		st, err := s.Load(ctx, "many 7")
		require.NoError(t, err)
		assert.Equal(t, want, st)
		stats := db.Stats()
		assert.EqualValues(t, 1, stats.Retention.Passes)
		assert.EqualValues(t, 130, stats.Retention.Machines)
		assert.EqualValues(t, 1300, stats.Retention.Records)
		assert.Zero(t, stats.Retention.Failed, stats.Retention.Error)
		assert.LessOrEqual(t, stats.Groups-before, int64(10), "many machines share a group")
		add(t, s, "few", 1)
		time.Sleep(time.Hour)
		assert.Equal(t, 20, recordsOf(t, s, "few"), "a batch has gathered")
		verified(t, s, "few")
		require.NoError(t, db.Close())
	})
}

// TestRetention_ByBytes keeps a log within its bytes while it grows.
// row E6
func TestRetention_ByBytes(t *testing.T) {
	onEachKind(t, savepoint.Options{RetainEvery: -1, Retention: savepoint.RetentionPolicy{MaxBytes: 2000}}, tableKind(), func(t *testing.T, s *savepoint.Store[table]) {
		note(t, s, "g", 100)
		rep, err := s.DB().Retain(t.Context())
		require.NoError(t, err)
		require.Empty(t, rep.Failed)
		n := recordsOf(t, s, "g")
		assert.Greater(t, n, 20)
		assert.Less(t, n, 80)
		assert.Equal(t, 100, n+rep.Records)
		again, err := s.DB().Retain(t.Context())
		require.NoError(t, err)
		assert.Zero(t, again.Records)
		note(t, s, "g", 1)
		again, err = s.DB().Retain(t.Context())
		require.NoError(t, err)
		assert.Zero(t, again.Records, "a quarter more has to gather")
		for range 12 {
			note(t, s, "g", 10)
			_, err = s.DB().Retain(t.Context())
			require.NoError(t, err)
			assert.LessOrEqual(t, recordsOf(t, s, "g"), 2*n, "the log stays within its bytes")
		}
		verified(t, s, "g")
	})
}

// TestRetention_ByAge_ClocksThatJump lets the clock jump a year in either direction, open and closed: records are removed by
// the age that the monotonic clock saw, not by their times.
// row J6
func TestRetention_ByAge_ClocksThatJump(t *testing.T) {
	for _, jump := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := newFaulty()
			f.stays = true
			var off time.Duration
			o := savepoint.Options{Now: func() time.Time { return time.Now().Add(off) }}
			p := savepoint.RetentionPolicy{MaxAge: 30 * 24 * time.Hour, ArchiveAfter: -1}
			db, s := retaining(t, f, o, p)
			add(t, s, "g", 10)
			off = jump // the clock is wrong
			add(t, s, "g", 10)
			time.Sleep(3 * time.Hour)
			assert.Equal(t, 20, recordsOf(t, s, "g"))
			require.NoError(t, db.Close())
			db, s = retaining(t, f, o, p)
			add(t, s, "g", 10)
			off = 0 // the clock is set right
			add(t, s, "g", 10)
			time.Sleep(20 * 24 * time.Hour)
			add(t, s, "g", 10)
			assert.Equal(t, 50, recordsOf(t, s, "g"), "nothing is older than 30 days")
			require.NoError(t, db.Close())
			time.Sleep(1000 * 24 * time.Hour) // nobody has the database open
			db, s = retaining(t, f, o, p)
			time.Sleep(9 * 24 * time.Hour)
			assert.Equal(t, 50, recordsOf(t, s, "g"))
			time.Sleep(2 * 24 * time.Hour)
			assert.Equal(t, 10, recordsOf(t, s, "g"), "what was written 31 days ago is removed, whatever its time says")
			verified(t, s, "g")
			st, err := s.Load(context.Background(), "g")
			require.NoError(t, err)
			assert.EqualValues(t, 50, st.Seq)
			time.Sleep(40 * 24 * time.Hour)
			assert.Zero(t, recordsOf(t, s, "g"))
			add(t, s, "g", 1)
			require.NoError(t, db.Close())
		})
	}
}

// TestRetention_ByAge_ShortLives opens and closes the database for forty minutes at a time: the lives add up to the age.
func TestRetention_ByAge_ShortLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaulty()
		f.stays = true
		for life := range 20 {
			db, s := retaining(t, f, savepoint.Options{}, savepoint.RetentionPolicy{MaxAge: 10 * time.Hour})
			if life == 0 {
				add(t, s, "g", 5)
			}
			time.Sleep(40 * time.Minute)
			if n := recordsOf(t, s, "g"); life < 15 {
				require.Equal(t, 5, n, "life %d", life)
			} else if life > 15 {
				require.Zero(t, n, "life %d", life)
			}
			require.NoError(t, db.Close())
		}
	})
}

// TestRetention_AroundAGap keeps the newest records of a log with a gap: the base never lies in the gap.
func TestRetention_AroundAGap(t *testing.T) {
	f := newFaulty()
	db, s := retaining(t, f, savepoint.Options{RetainEvery: -1}, savepoint.RetentionPolicy{MaxRecords: 14, Batch: 1})
	add(t, s, "g", 20)
	f.set(func() {
		f.damage = func(_ string, it *engine.Item) bool {
			return it.Part == engine.PartEvent && it.Seq >= 8 && it.Seq <= 20
		}
	})
	rep, err := s.Recover(t.Context(), "g", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	require.EqualValues(t, 8, rep.LostFrom)
	for _, step := range []struct {
		more int
		base uint64
	}{{5, 7}, {5, 7}, {10, 27}} {
		add(t, s, "g", step.more)
		_, err = db.Retain(t.Context())
		require.NoError(t, err)
		base := uint64(0)
		for info, err := range s.Snapshots(t.Context(), "g", savepoint.SnapshotRange{}) {
			require.NoError(t, err)
			if info.Base {
				base = info.Seq
			}
		}
		assert.Equal(t, step.base, base, "after %d more", step.more)
		verified(t, s, "g")
	}
	require.NoError(t, db.Close())
}

// TestRetention_UnarchivedBytesCountAgain brings archived records back: after a day they count again, and are removed again.
func TestRetention_UnarchivedBytesCountAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newShelf()
		db, s := retaining(t, newFaulty(), savepoint.Options{Archive: a}, savepoint.RetentionPolicy{MaxBytes: 500})
		add(t, s, "g", 60)
		time.Sleep(time.Hour)
		short := recordsOf(t, s, "g")
		assert.Less(t, short, 30)
		_, err := s.Unarchive(t.Context(), "g")
		require.NoError(t, err)
		assert.Equal(t, 60, recordsOf(t, s, "g"))
		time.Sleep(26 * time.Hour)
		assert.Equal(t, short, recordsOf(t, s, "g"))
		require.NoError(t, db.Close())
	})
}

// TestRetention_FinishedMachinesAreArchivedAndComeBack archives the records of finished and deleted machines after a day: the
// states stay, and Unarchive brings everything back as it was.
// row J5
func TestRetention_FinishedMachinesAreArchivedAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		a := newShelf()
		db, s := retaining(t, newFaulty(), savepoint.Options{Archive: a}, savepoint.RetentionPolicy{ArchiveAfter: 24 * time.Hour})
		for _, id := range []string{"open", "finished", "deleted"} {
			add(t, s, id, 12)
		}
		_, err := s.Append(ctx, "finished", &turned{To: "end"})
		require.NoError(t, err)
		full := pastOf(t, s, "finished", 0)
		_, err = s.Delete(ctx, "deleted")
		require.NoError(t, err)
		time.Sleep(23 * time.Hour)
		assert.Equal(t, 13, recordsOf(t, s, "finished"))
		time.Sleep(2 * time.Hour)
		assert.Zero(t, recordsOf(t, s, "finished"), "the records of a finished machine are archived")
		assert.Zero(t, recordsOf(t, s, "deleted"))
		assert.Equal(t, 12, recordsOf(t, s, "open"))
		assert.EqualValues(t, 2, db.Stats().Retention.Archived)
		st, err := s.Load(ctx, "finished")
		require.NoError(t, err)
		assert.Equal(t, full.head, st, "the state is the same as before")

		rep, err := s.Unarchive(ctx, "finished")
		require.NoError(t, err)
		assert.Equal(t, 13, rep.Records)
		assert.Zero(t, rep.Base)
		assert.Equal(t, full, pastOf(t, s, "finished", 0), "the history is the same as before")
		verified(t, s, "finished")
		time.Sleep(20 * time.Hour)
		assert.Equal(t, 13, recordsOf(t, s, "finished"), "its records are left alone for a day")
		time.Sleep(6 * time.Hour)
		assert.Zero(t, recordsOf(t, s, "finished"))
		_, err = s.Append(ctx, "finished", &turned{To: "any"}) // the machine leaves its final phase
		require.NoError(t, err)
		_, err = s.Unarchive(ctx, "finished")
		require.NoError(t, err)
		assert.Equal(t, 14, recordsOf(t, s, "finished"))
		verified(t, s, "finished")
		_, err = s.Unarchive(ctx, "open")
		require.NoError(t, err, "a log that is whole has nothing to bring back")
		_, err = s.Unarchive(ctx, "missing")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		require.NoError(t, db.Close())
	})
}

// TestRetention_FailingArchive lets the archive fail and panic for one machine: nothing of that machine is removed, and the
// others are not affected.
func TestRetention_FailingArchive(t *testing.T) {
	for what, put := range map[string]func(*archive.Segment) error{
		"error": func(*archive.Segment) error { return errDisk },
		"panic": func(*archive.Segment) error { panic(errDisk) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				a := newShelf()
				a.put = func(c *archive.Segment) error {
					if c.ID == "good" {
						return nil
					}
					return put(c)
				}
				db, s := retaining(t, newFaulty(), savepoint.Options{Archive: a}, savepoint.RetentionPolicy{MaxRecords: 5, Batch: 1})
				add(t, s, "bad", 20)
				add(t, s, "good", 20)
				rep, err := s.Compact(ctx, "bad", savepoint.Latest())
				require.ErrorIs(t, err, errDisk)
				require.ErrorContains(t, err, "nothing is removed")
				assert.Zero(t, rep.Records)
				all, err := db.Retain(ctx)
				require.NoError(t, err)
				require.Len(t, all.Failed, 1)
				require.ErrorIs(t, all.Failed[0], errDisk)
				assert.Equal(t, 15, all.Records)
				assert.Equal(t, 20, recordsOf(t, s, "bad"))
				assert.Equal(t, 5, recordsOf(t, s, "good"), "the failure of one machine does not affect another one")
				stats := db.Stats().Retention
				assert.EqualValues(t, 1, stats.Failed)
				assert.Contains(t, stats.Error, "bad")
				a.put = nil
				_, err = db.Retain(ctx)
				require.NoError(t, err)
				assert.Equal(t, 5, recordsOf(t, s, "bad"))
				require.NoError(t, db.Close())
			})
		})
	}
}

// TestRetention_BadPolicies refuses policies that cannot work, and takes values below zero as off.
func TestRetention_BadPolicies(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	k := tableKind()
	k.Retention.ArchiveAfter = time.Hour
	_, err := savepoint.Register(db, k)
	require.ErrorContains(t, err, "Options.Archive")
	k = tableKind()
	k.Final, k.Phase, k.Legal = []string{"end"}, nil, nil
	_, err = savepoint.Register(db, k)
	require.ErrorContains(t, err, "Final")
	k = tableKind() // values below zero switch a limit off
	k.Retention = savepoint.RetentionPolicy{MaxRecords: -1, Batch: -1, MaxBytes: -1, MaxAge: -time.Hour, ArchiveAfter: -1}
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	note(t, s, "g", 30)
	rep, err := db.Retain(t.Context())
	require.NoError(t, err)
	assert.Zero(t, rep.Machines)
	_, err = s.Unarchive(t.Context(), "g")
	require.ErrorIs(t, err, savepoint.ErrUnsupported)
}

// TestRetention_Stops ends a pass when writing stops, and when its ctx ends.
func TestRetention_Stops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f := newFaulty()
		db, s := retaining(t, f, savepoint.Options{RetainEvery: -1}, savepoint.RetentionPolicy{MaxRecords: 5, Batch: 1})
		for m := range 200 {
			add(t, s, fmt.Sprint(m), 10)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, err := db.Retain(over)
		require.ErrorIs(t, err, context.Canceled)
		f.set(func() { f.fail = func(int) (bool, error) { return false, errDisk } })
		rep, err := db.Retain(ctx)
		require.ErrorIs(t, err, savepoint.ErrStopped)
		assert.Zero(t, rep.Records)
		assert.Error(t, errors.Unwrap(err))
		require.NoError(t, db.Close())
	})
}
