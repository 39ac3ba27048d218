package savepoint_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
)

// TestDB_Close_EveryMethod calls every exported method of DB and Store after Close: each returns ErrClosed or is one of those
// that read memory only. A method that is missing in its tables fails the test.
func TestDB_Close_EveryMethod(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		begin(t, s, "g", 3)
		var kept *savepoint.Machine[table]
		var keptTx *savepoint.Tx
		require.NoError(t, db.Update(ctx, func(tx *savepoint.Tx) (err error) {
			keptTx = tx
			kept, err = s.In(tx, "g")
			return err
		}))
		var alone *savepoint.Machine[table]
		_, err := s.Update(ctx, "g", func(m *savepoint.Machine[table]) error { alone = m; return nil })
		require.NoError(t, err)
		for _, m := range []*savepoint.Machine[table]{kept, alone} {
			says(t, m.Append(plays[3]), nil, "after its callback")
			says(t, m.Save(table{}), nil, "after its callback")
			assert.NotPanics(t, func() {
				assert.Equal(t, "g", m.ID())
				_ = m.Head()
				assert.Nil(t, m.State(), "the live state is out of reach after the callback")
			})
		}
		_, err = s.In(keptTx, "g")
		says(t, err, nil, "after its callback")

		require.NoError(t, db.Close())
		require.NoError(t, db.Close(), "a second Close")
		update := func(m *savepoint.Machine[table]) error { t.Error("it ran"); return nil }
		never := func(tx *savepoint.Tx) error { t.Error("it ran"); return nil }
		harmless := func() error { return savepoint.ErrClosed }
		ofDB := map[string]func() error{
			"Buckets":     func() error { _, err := db.Buckets(ctx); return err },
			"Close":       harmless,
			"Shutdown":    func() error { assert.NoError(t, db.Shutdown(ctx)); return savepoint.ErrClosed },
			"Flush":       func() error { return db.Flush(ctx) },
			"Feed":        func() error { return only(db.Feed(ctx, 0)) },
			"FeedPos":     func() error { _, err := db.FeedPos(ctx, "x"); return err },
			"Retain":      func() error { _, err := db.Retain(ctx); return err },
			"Anomalies":   func() error { assert.Empty(t, db.Anomalies()); return savepoint.ErrClosed },
			"SaveFeedPos": func() error { return db.SaveFeedPos(ctx, "x", 1) },
			"Outcome":     func() error { _, err := db.Outcome(ctx, "x"); return err },
			"OpenReport":  func() error { assert.True(t, db.OpenReport().Clean); return savepoint.ErrClosed },
			"Path":        func() error { assert.NotEmpty(t, db.Path()); return savepoint.ErrClosed },
			"Query":       func() error { _, err := db.Query(ctx, savepoint.Query{}); return err },
			"Quarantined": func() error { assert.Empty(t, db.Quarantined()); return savepoint.ErrClosed },
			"RecoverAll":  func() error { _, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{}); return err },
			"Stats":       func() error { assert.NotZero(t, db.Stats().Groups); return savepoint.ErrClosed },
			"Update":      func() error { return db.Update(ctx, never) },
		}
		ofStore := map[string]func() error{
			"Append":          func() error { _, err := s.Append(ctx, "g", plays[3]); return err },
			"At":              func() error { _, err := s.At(ctx, "g", savepoint.AtSeq(1)); return err },
			"DB":              func() error { assert.Same(t, db, s.DB()); return savepoint.ErrClosed },
			"Delete":          func() error { _, err := s.Delete(ctx, "g"); return err },
			"DeleteSnapshot":  func() error { _, err := s.DeleteSnapshot(ctx, "g", 4); return err },
			"Events":          func() error { return only(s.Events(ctx, "g", savepoint.EventRange{})) },
			"Query":           func() error { _, err := s.Query(ctx, savepoint.Query{}); return err },
			"Watch":           func() error { return only(s.Watch(ctx, "g", 0)) },
			"Migrate":         func() error { _, err := s.Migrate(ctx, savepoint.MigrateOptions{}); return err },
			"Compact":         func() error { _, err := s.Compact(ctx, "g", savepoint.AtSeq(1)); return err },
			"Unarchive":       func() error { _, err := s.Unarchive(ctx, "g"); return err },
			"MigrationStatus": func() error { _, err := s.MigrationStatus(ctx); return err },
			"Fork":            func() error { _, err := s.Fork(ctx, "g", savepoint.AtSeq(1), "f"); return err },
			"Go":              func() error { return s.Go(ctx, "g", plays[3]).Err() },
			"GoUpdate":        func() error { return s.GoUpdate(ctx, "g", update).Err() },
			"In": func() error {
				return db.Update(ctx, func(tx *savepoint.Tx) error { _, err := s.In(tx, "g"); return err })
			},
			"Kind": func() error { assert.Equal(t, "table", s.Kind()); return savepoint.ErrClosed },
			"List": func() error { return only(s.List(ctx, savepoint.ListOptions{})) },
			"Load": func() error { _, err := s.Load(ctx, "g"); return err },
			"MachineStats": func() error {
				_, _, err := s.MachineStats(ctx, "g")
				assert.NoError(t, err)
				return savepoint.ErrClosed
			},
			"Mark":       func() error { _, err := s.Mark(ctx, "g", 1, nil); return err },
			"Purge":      func() error { return s.Purge(ctx, "g") },
			"Recover":    func() error { _, err := s.Recover(ctx, "g", savepoint.RecoverOptions{}); return err },
			"Recoveries": func() error { return only(s.Recoveries(ctx, "g")) },
			"Save":       func() error { _, err := s.Save(ctx, "g", table{}); return err },
			"Snapshot":   func() error { _, err := s.Snapshot(ctx, "g"); return err },
			"Snapshots":  func() error { return only(s.Snapshots(ctx, "g", savepoint.SnapshotRange{})) },
			"Update":     func() error { _, err := s.Update(ctx, "g", update); return err },
			"Verify":     func() error { _, err := s.Verify(ctx, "g"); return err },
			"View":       func() error { return s.View(ctx, "g", func(*savepoint.State[table]) error { return nil }) },
			"Warm":       func() error { return s.Warm(ctx, "g") },
		}
		for typ, table := range map[reflect.Type]map[string]func() error{
			reflect.TypeOf(db): ofDB, reflect.TypeOf(s): ofStore,
		} {
			for i := range typ.NumMethod() {
				name := typ.Method(i).Name
				if assert.Contains(t, table, name, "%v: this test has no call of it", typ) {
					assert.ErrorIs(t, table[name](), savepoint.ErrClosed, "%v.%s", typ, name)
				}
			}
		}
		_, err = savepoint.Register(db, document.Kind("late"))
		require.ErrorIs(t, err, savepoint.ErrClosed)
	})
}

// only returns the error of an iterator that yields nothing but that error.
func only[T any](seq func(yield func(T, error) bool)) (last error) {
	n := 0
	for _, err := range seq {
		if n++; n > 1 {
			return fmt.Errorf("%d items", n)
		}
		last = err
	}
	return last
}

// TestDB_Close_WhileIterating closes the database inside a range over Events: the iterator ends with ErrClosed, never with a
// list that is silently too short.
func TestDB_Close_WhileIterating(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		for i := range 600 {
			s.Go(t.Context(), "g", &noted{Text: fmt.Sprint(i)})
			s.Go(t.Context(), fmt.Sprint("m-", i), &noted{Text: "x"})
		}
		require.NoError(t, db.Flush(context.Background()))
		n, last := 0, error(nil)
		for _, err := range s.Events(t.Context(), "g", savepoint.EventRange{}) {
			if n++; n == 1 {
				require.NoError(t, db.Close())
			}
			last = err
		}
		require.ErrorIs(t, last, savepoint.ErrClosed, "a short list ends with an error")
		require.ErrorIs(t, only(s.List(t.Context(), savepoint.ListOptions{})), savepoint.ErrClosed)
	})
	assert.NotEmpty(t, slices.Collect(maps.Keys(engines)))
}

// TestDB_Shutdown_CallbackThatDoesNotEnd keeps a callback running: Shutdown returns when its ctx ends.
func TestDB_Shutdown_CallbackThatDoesNotEnd(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		end := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			_, err := s.Update(ctx, "g", func(*savepoint.Machine[tally]) error { <-end; return nil })
			ended <- err
		}()
		synctest.Wait()
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		closed := make(chan error, 1)
		go func() { closed <- db.Shutdown(short) }()
		time.Sleep(2 * time.Minute) // of the bubble's clock
		select {
		case err := <-closed:
			require.ErrorIs(t, err, context.DeadlineExceeded)
		default:
			t.Error("Shutdown still waits after its ctx has ended")
		}
		close(end)
		<-ended
	})
}
