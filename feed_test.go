package savepoint_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// inOrder reads n records of a feed after a position, and returns them as text with the position of the last one.
func inOrder(t *testing.T, db *savepoint.DB, from uint64, n int) (out []string, pos uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pos = from
	for rec, err := range db.Feed(ctx, from) {
		require.NoError(t, err)
		require.Greater(t, rec.Pos, pos)
		pos = rec.Pos
		out = append(out, fmt.Sprintf("%s/%s %d %s %T", rec.Kind, rec.ID, rec.Seq, rec.Name, rec.Event))
		if len(out) == n {
			break
		}
	}
	return out, pos
}

// TestFeed_OrderAndResume reads every record of every kind in the order of the acknowledgements, typed where the kind is
// registered, and resumes from any position.
// row D7, D9
func TestFeed_OrderAndResume(t *testing.T) {
	onEachFeed(t, func(t *testing.T, db *savepoint.DB) {
		tables := register(t, db)
		docs, err := savepoint.Register(db, document.Kind("doc"))
		require.NoError(t, err)
		ctx := t.Context()
		var want []string
		for i := range 40 {
			id := fmt.Sprint("t", i%7)
			if i < 7 {
				_, err = tables.Append(ctx, id, deal())
				want = append(want, fmt.Sprintf("table/%s %d dealt savepoint_test.dealt", id, 1+i/7))
			} else {
				_, err = tables.Append(ctx, id, &noted{Text: "x"})
				want = append(want, fmt.Sprintf("table/%s %d noted *savepoint_test.noted", id, 1+i/7))
			}
			require.NoError(t, err)
			_, err = docs.Append(ctx, "d", document.Transition{Action: "go", To: "there"})
			require.NoError(t, err)
			want = append(want, fmt.Sprintf("doc/d %d transition document.Transition", i+1))
		}
		_, err = tables.Save(ctx, "t0", table{Phase: "turn"})
		require.NoError(t, err)
		require.NoError(t, err)
		_, err = tables.Delete(ctx, "t1")
		require.NoError(t, err)
		want = append(want, "table/t0 7 _replaced *savepoint.Replaced[github.com/liap-tui/savepoint_test.table]",
			"table/t1 7 _deleted *savepoint.Unchanged[github.com/liap-tui/savepoint_test.table]")
		got, _ := inOrder(t, db, 0, len(want))
		require.Equal(t, want, got)
		for at, pos := 0, uint64(0); at < len(want); at += 9 {
			n := min(9, len(want)-at)
			got, pos = inOrder(t, db, pos, n)
			require.Equal(t, want[at:at+n], got)
		}
	})
}

// TestFeed_Live keeps ranging over a feed: after the newest record it waits for the next one, and the loop's body may write to
// the machine it sees.
func TestFeed_Live(t *testing.T) {
	onEachFeed(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := s.Append(ctx, "a", deal())
		require.NoError(t, err)
		n := 0
		for rec, err := range db.Feed(ctx, 0) {
			require.NoError(t, err)
			n++
			require.Equal(t, uint64(n), rec.Seq)
			if n == 30 {
				break
			}
			_, err = s.Load(ctx, rec.ID)
			require.NoError(t, err)
			if n%2 == 0 {
				_, err = s.Append(ctx, rec.ID, &noted{Text: "from the body"})
				require.NoError(t, err)
				continue
			}
			go s.Append(context.Background(), "a", &noted{Text: "from elsewhere"})
		}
		require.Equal(t, 30, n)
	})
}

// TestFeed_Ends ends a feed by its ctx, and by Close while it waits: each with its error. A feed that starts after Close ends
// at once.
func TestFeed_Ends(t *testing.T) {
	onEachFeed(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		_, err := s.Append(t.Context(), "a", deal())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		last := func(ctx context.Context, seen func()) error {
			var last error
			for _, err := range db.Feed(ctx, 0) {
				if last = err; err == nil {
					seen()
				}
			}
			return last
		}
		require.ErrorIs(t, last(ctx, cancel), context.Canceled)
		waits := make(chan struct{})
		ended := make(chan error, 1)
		go func() { ended <- last(context.Background(), func() { close(waits) }) }()
		<-waits
		require.NoError(t, db.Close())
		require.ErrorIs(t, <-ended, savepoint.ErrClosed)
		require.ErrorIs(t, last(context.Background(), func() {}), savepoint.ErrClosed)
	})
}

// TestFeed_UnknownKind reads records whose kind is not registered: their events are documents.
func TestFeed_UnknownKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.db")
	db := open(t, path, nil)
	_, err := register(t, db).Append(t.Context(), "a", deal(), savepoint.By("ann"))
	require.NoError(t, err)
	_, err = register(t, db).Delete(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for _, readOnly := range []bool{false, true} {
		db := open(t, path, &savepoint.Options{ReadOnly: readOnly})
		var got []savepoint.AnyRecord
		for rec, err := range db.Feed(t.Context(), 0) {
			require.NoError(t, err)
			if got = append(got, rec); len(got) == 2 {
				break
			}
		}
		require.Equal(t, []any{"ann", "ann", "bob"}, append([]any{got[0].Actor}, got[0].Event.(savepoint.Doc)["Seats"].([]any)...))
		require.Nil(t, got[1].Event)
		require.Equal(t, "_deleted", got[1].Name)
		require.NoError(t, db.Close())
	}
}

// TestFeed_PurgedAndCompacted leaves out purged machines, and reports the records that a compaction removed once.
func TestFeed_PurgedAndCompacted(t *testing.T) {
	eng := memory.New()
	db := open(t, "kept", &savepoint.Options{Engine: eng})
	s := register(t, db)
	for _, id := range []string{"a", "b", "c"} {
		_, err := s.Append(t.Context(), id, deal())
		require.NoError(t, err)
		_, err = s.Append(t.Context(), id, &noted{})
		require.NoError(t, err)
	}
	require.NoError(t, s.Purge(t.Context(), "b"))
	got, _ := inOrder(t, db, 0, 4)
	require.Equal(t, "table/c 1 dealt savepoint_test.dealt", got[2])

	out := make([]engine.Result, 1)
	require.NoError(t, eng.Commit(t.Context(), []engine.Step{{Writes: []engine.Write{{Machine: "\x05tablea", Expect: 2, Seq: 2, TrimTo: 2}}}}, out))
	require.NoError(t, out[0].Err)
	n := 0
	for rec, err := range db.Feed(t.Context(), 0) {
		if n++; n == 1 {
			require.ErrorIs(t, err, savepoint.ErrCompacted)
			require.Equal(t, "a", rec.ID)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, "c", rec.ID)
		if n == 3 {
			break
		}
	}
	got, _ = inOrder(t, db, 3, 2) // it starts after the removed records
	require.Len(t, got, 2)
}

// orderly is a faulty engine that has a feed.
type orderly struct {
	*faulty
	engine.Feeder
}

// Feed calls loaded as a Load of machine "" does.
func (o orderly) Feed(ctx context.Context, after uint64, fn func(engine.Record) error) (uint64, error) {
	upTo, err := o.Feeder.Feed(ctx, after, fn)
	o.mu.Lock()
	loaded := o.loaded
	o.mu.Unlock()
	if loaded != nil {
		loaded("", engine.LoadRange{})
	}
	return upTo, err
}

// TestFeed_BetweenReadAndWait writes in the moment after a read has found nothing and before the wait starts: the record is
// shown, also when writing stops in that moment.
func TestFeed_BetweenReadAndWait(t *testing.T) {
	type take func(seq uint64, err error) bool
	follow := map[string]func(ctx context.Context, db *savepoint.DB, s *savepoint.Store[table], yield take){
		"": func(ctx context.Context, db *savepoint.DB, _ *savepoint.Store[table], yield take) {
			db.Feed(ctx, 0)(func(rec savepoint.AnyRecord, err error) bool { return yield(rec.Seq, err) })
		},
		"\x05tablea": func(ctx context.Context, _ *savepoint.DB, s *savepoint.Store[table], yield take) {
			s.Watch(ctx, "a", 0)(func(rec savepoint.Record[table], err error) bool { return yield(rec.Seq, err) })
		},
	}
	for reads, follow := range follow {
		for _, stops := range []bool{false, true} {
			eng := memory.New()
			f := newFaulty()
			f.Engine = eng
			db := open(t, "kept", &savepoint.Options{Engine: orderly{f, eng}})
			s := register(t, db)
			_, err := s.Append(t.Context(), "a", deal())
			require.NoError(t, err)
			broken := fmt.Errorf("%w: the disk is gone", engine.ErrInDoubt)
			meanwhile := func(machine string, _ engine.LoadRange) {
				if machine != reads {
					return
				}
				f.set(func() { f.loaded = nil })
				_, err := s.Append(t.Context(), "a", &noted{})
				require.NoError(t, err)
				if stops {
					f.set(func() { f.fail = func(int) (bool, error) { return false, broken } })
					_, err = s.Append(t.Context(), "b", deal())
					require.ErrorIs(t, err, broken)
				}
			}
			var seqs []uint64
			var last error
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			follow(ctx, db, s, func(seq uint64, err error) bool {
				if last = err; err != nil {
					return true
				}
				if seqs = append(seqs, seq); seq == 1 {
					f.set(func() { f.loaded = meanwhile })
				}
				return stops || seq == 1
			})
			require.Equal(t, []uint64{1, 2}, seqs, "reads of %q, writing stops: %v", reads, stops)
			if stops {
				require.ErrorIs(t, last, broken)
			} else {
				require.NoError(t, last)
			}
		}
	}
}

// TestFeed_AfterFailStop stops writing while feeds wait: they show what is durable, then return the cause.
func TestFeed_AfterFailStop(t *testing.T) {
	eng := memory.New()
	f := newFaulty()
	f.Engine = eng
	db, err := savepoint.Open("kept", &savepoint.Options{Engine: orderly{f, eng}})
	require.NoError(t, err)
	defer db.Close()
	s := register(t, db)
	_, err = s.Append(t.Context(), "a", deal())
	require.NoError(t, err)
	waits := make(chan struct{}, 2)
	ended := make(chan error, 2)
	go func() {
		for _, err := range db.Feed(t.Context(), 0) {
			if err != nil {
				ended <- err
			} else {
				waits <- struct{}{}
			}
		}
	}()
	go func() {
		for _, err := range s.Watch(t.Context(), "a", 0) {
			if err != nil {
				ended <- err
			} else {
				waits <- struct{}{}
			}
		}
	}()
	<-waits
	<-waits
	broken := fmt.Errorf("%w: the disk is gone", engine.ErrInDoubt)
	f.set(func() { f.fail = func(int) (bool, error) { return false, broken } })
	_, err = s.Append(t.Context(), "b", deal())
	require.Error(t, err)
	for range 2 {
		err := <-ended
		require.ErrorIs(t, err, savepoint.ErrStopped)
		require.ErrorIs(t, err, broken)
	}
}

// TestFeed_Unsupported ranges over a feed of an engine without one: ErrUnsupported.
func TestFeed_Unsupported(t *testing.T) {
	db := open(t, "kept", &savepoint.Options{Engine: newFaulty()})
	for _, err := range db.Feed(t.Context(), 0) {
		require.ErrorIs(t, err, savepoint.ErrUnsupported)
	}
}

// TestFeed_SavedPosition stores a feed's position under a name, and reads it after reopening.
func TestFeed_SavedPosition(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.db")
	db := open(t, path, nil)
	pos, err := db.FeedPos(t.Context(), "mails")
	require.NoError(t, err)
	require.Zero(t, pos)
	require.NoError(t, db.SaveFeedPos(t.Context(), "mails", 7))
	require.ErrorIs(t, db.SaveFeedPos(t.Context(), "", 7), savepoint.ErrBadID)
	require.NoError(t, db.Close())
	db = open(t, path, &savepoint.Options{ReadOnly: true})
	pos, err = db.FeedPos(t.Context(), "mails")
	require.NoError(t, err)
	require.Equal(t, uint64(7), pos)
	require.ErrorIs(t, db.SaveFeedPos(t.Context(), "mails", 8), savepoint.ErrReadOnly)
}
