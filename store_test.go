package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/engine"
)

// TestStore_AppendLoadView appends a few events and reads the state by Load and View, with its head.
// row A4, A6, B1, B11, D3, D7, G13
func TestStore_AppendLoadView(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		h := begin(t, s, "g-1", 3)
		assert.EqualValues(t, 4, h.Seq)
		assert.Equal(t, "turn", h.Phase)
		assert.NotZero(t, h.Pos)
		assert.Equal(t, "g-1", h.ID)
		assert.Equal(t, savepoint.V(1, 0, 0), h.Version)
		assert.False(t, h.Created.IsZero())
		assert.False(t, h.Updated.Before(h.Created))
		st := load(t, s, "g-1")
		assert.Equal(t, h, st.Head)
		assert.Equal(t, []string{"7H", "7S", "8H"}, st.Value.Played)
		assert.Equal(t, map[int][]string{0: {"9H", "TH", "JH"}, 1: {"8S", "9S", "TS", "JS"}}, st.Value.Hands)

		require.NoError(t, s.View(ctx, "g-1", func(v *savepoint.State[table]) error {
			assert.Equal(t, st, *v)
			return nil
		}))
		why := errors.New("why")
		require.ErrorIs(t, s.View(ctx, "g-1", func(*savepoint.State[table]) error { return why }), why)

		_, err := s.Load(ctx, "g-2")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		require.NotErrorIs(t, err, savepoint.ErrDeleted)
	})
}

// TestStore_Append_RefusesAndGoesOn refuses events by Check, Apply, Validate, Legal, IfSeq and size: nothing changes, and the
// machine takes the next event.
// row A13, D16, E11, L9
func TestStore_Append_RefusesAndGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		h := begin(t, s, "g-1", 2)
		before := load(t, s, "g-1")

		_, err := s.Append(ctx, "g-1", played{1, "8S"})
		require.ErrorIs(t, err, errNotYourTurn, "Check")
		_, err = s.Append(ctx, "g-1", &noted{Text: "x", Fail: true})
		require.ErrorContains(t, err, "noted fails", "Apply")
		var p *savepoint.PanicError
		_, err = s.Append(ctx, "g-1", &noted{Text: "x", Panic: true})
		require.ErrorAs(t, err, &p)
		assert.Equal(t, "Apply", p.In)
		_, err = s.Append(ctx, "g-1", &noted{Text: "invalid"})
		require.ErrorContains(t, err, "not valid", "Validate")
		_, err = s.Append(ctx, "g-1", moved{"waiting"})
		require.ErrorIs(t, err, savepoint.ErrIllegal)
		_, err = s.Append(ctx, "g-1", nil)
		require.ErrorIs(t, err, savepoint.ErrBadEvent)
		_, err = s.Append(ctx, "g-1", (*noted)(nil))
		require.ErrorIs(t, err, savepoint.ErrBadEvent)
		var c *savepoint.ConflictError
		_, err = s.Append(ctx, "g-1", plays[2], savepoint.IfSeq(7))
		require.ErrorAs(t, err, &c)
		require.ErrorIs(t, err, savepoint.ErrConflict)
		assert.EqualValues(t, 7, c.Want)
		assert.EqualValues(t, 3, c.Have)
		_, err = s.Append(ctx, "g-1", &noted{Text: string(make([]byte, 1<<20))})
		require.ErrorIs(t, err, savepoint.ErrTooLarge)

		assert.Equal(t, before, load(t, s, "g-1"), "a refused event changes nothing")
		h2, err := s.Append(ctx, "g-1", plays[2], savepoint.IfSeq(h.Seq))
		require.NoError(t, err)
		assert.Equal(t, h.Seq+1, h2.Seq)
	})
}

// TestStore_GoAcksInOrder resolves the acks of one machine in the order of its records.
func TestStore_GoAcksInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		var acks []*savepoint.Ack
		acks = append(acks, s.Go(ctx, "g-1", deal()))
		for range 200 {
			acks = append(acks, s.Go(ctx, "g-1", &noted{Text: "x"}))
		}
		<-acks[200].Done()
		for i, a := range acks {
			select {
			case <-a.Done():
			default:
				t.Fatalf("ack %d resolved after ack 200", i)
			}
			h, err := a.Wait(ctx)
			require.NoError(t, err)
			assert.EqualValues(t, i+1, h.Seq)
		}
	})
}

// TestStore_Concurrent appends from many goroutines:
//  1. every acknowledged event is there once;
//  2. the seqs have no holes;
//  3. the states are those of the events.
//
// row B17, D1
func TestStore_Concurrent(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		const writers, each = 8, 60
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					id := []string{"a", "b", "c"}[(w+i)%3]
					_, err := s.Append(ctx, id, &noted{Text: "x"})
					assert.NoError(t, err)
					assert.NoError(t, s.View(ctx, id, func(*savepoint.State[table]) error { return nil }))
				}
			})
		}
		wg.Wait()
		var sum uint64
		for _, id := range []string{"a", "b", "c"} {
			seq := uint64(0)
			for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
				require.NoError(t, err)
				seq++
				require.Equal(t, seq, rec.Seq)
			}
			assert.Equal(t, seq, load(t, s, id).Seq)
			sum += seq
			rep, err := s.Verify(ctx, id)
			require.NoError(t, err)
			assert.True(t, rep.OK(), "%v", rep.Divergences)
		}
		assert.EqualValues(t, writers*each, sum)
	})
}

// TestStore_View_Free views a cached machine without any allocation.
func TestStore_View_Free(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	begin(t, s, "g-1", 2)
	read := func(*savepoint.State[table]) error { return nil }
	ctx := context.Background()
	require.NoError(t, s.View(ctx, "g-1", read))
	assert.Zero(t, testing.AllocsPerRun(1000, func() { _ = s.View(ctx, "g-1", read) }))
}

// TestStore_View_NotDurable views a state whose write then fails: View returns the error, whatever the engine's reason is.
func TestStore_View_NotDurable(t *testing.T) {
	for _, why := range []error{errDisk, savepoint.ErrClosed, savepoint.ErrDiskFull} {
		bubble(t, func(t *testing.T, ctx context.Context) {
			f := newFaulty()
			db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
			defer db.Close()
			gate := make(chan struct{})
			f.set(func() {
				f.gate = gate
				f.fail = func(int) (bool, error) { return false, fmt.Errorf("%w: %w", engine.ErrNothingStored, why) }
			})
			a := s.Go(ctx, "g", added{N: 1})
			viewed := make(chan error, 1)
			go func() { viewed <- s.View(ctx, "g", func(*savepoint.State[tally]) error { return nil }) }()
			synctest.Wait()
			close(gate)
			require.ErrorIs(t, a.Err(), why)
			require.ErrorIs(t, <-viewed, why)
		})
	}
}

// TestStore_Reads_WhileOthersWrite lets the machine go on between any two loads of a reader: the readers succeed.
func TestStore_Reads_WhileOthersWrite(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
		defer db.Close()
		write := func() {
			for range 4 { // more states than are kept
				_, err := s.Append(ctx, "g", added{N: 1})
				require.NoError(t, err)
			}
		}
		write()
		busy := false
		f.set(func() {
			f.loaded = func(string, engine.LoadRange) {
				if !busy {
					busy = true
					write()
					busy = false
				}
			}
		})
		_, err := s.At(ctx, "g", savepoint.Latest())
		require.NoError(t, err)
		rep, err := s.Verify(ctx, "g")
		require.NoError(t, err)
		assert.True(t, rep.OK())
		_, err = s.Fork(ctx, "g", savepoint.Latest(), "h")
		require.NoError(t, err)
	})
}

// kept is an event with a map, which Apply puts into the state.
type kept struct{ Hand map[string]any }

func (e kept) Apply(k *keeper, _ savepoint.Meta) error { k.Hand = e.Hand; return nil }

// keeper is a state with a map.
type keeper struct {
	Phase string
	Hand  map[string]any
}

// TestStore_CallersAreIsolated changes events, states and records after handing them over and after getting them: nothing that
// is stored changes.
// row H6
func TestStore_CallersAreIsolated(t *testing.T) {
	db := open(t, engines["file"](t), nil)
	s, err := savepoint.Register(db, savepoint.Kind[keeper]{Name: "keeper", Events: savepoint.Events[keeper]{"kept": kept{}}})
	require.NoError(t, err)
	ctx := t.Context()
	hand := map[string]any{"ann": 7}
	_, err = s.Append(ctx, "g", kept{hand})
	require.NoError(t, err)
	hand["ann"] = "changed"
	st, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"ann": int64(7)}, st.Value.Hand, "an int in an any is int64 at once, not only after a restart")
	st.Value.Hand["ann"] = "changed"
	again, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, int64(7), again.Value.Hand["ann"])
	for rec, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
		require.NoError(t, err)
		rec.Event.(kept).Hand["ann"] = "changed"
	}
	whole := keeper{Hand: map[string]any{"bob": []any{1}}}
	_, err = s.Save(ctx, "g", whole)
	require.NoError(t, err)
	whole.Hand["bob"].([]any)[0] = "changed"
	rep, err := s.Verify(ctx, "g")
	require.NoError(t, err)
	assert.True(t, rep.OK(), "%v", rep.Divergences)
	again, err = s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"bob": []any{int64(1)}}, again.Value.Hand)
}

// TestStore_List_PagesInOrder lists more machines than one page has: in the order of their ids, by prefix, start and limit,
// and without those of a kind whose name has the same beginning.
// row A1
func TestStore_List_PagesInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		other, err := savepoint.Register(db, document.Kind("tabl"))
		require.NoError(t, err)
		_, err = other.Save(t.Context(), "e-0001", savepoint.Doc{})
		require.NoError(t, err)
		var want []string
		var acks []*savepoint.Ack
		for i := range 600 {
			want = append(want, fmt.Sprintf("g-%04d", i))
			acks = append(acks, s.Go(t.Context(), want[i], deal()))
		}
		for _, a := range acks {
			require.NoError(t, a.Err())
		}
		list := func(o savepoint.ListOptions) (ids []string) {
			for h, err := range s.List(t.Context(), o) {
				require.NoError(t, err)
				assert.EqualValues(t, 1, h.Seq)
				assert.Equal(t, "turn", h.Phase)
				ids = append(ids, h.ID)
			}
			return ids
		}
		assert.Equal(t, want, list(savepoint.ListOptions{}))
		assert.Equal(t, want[:300], list(savepoint.ListOptions{Limit: 300}))
		assert.Equal(t, want[300:], list(savepoint.ListOptions{After: want[299]}))
		assert.Equal(t, want[110:120], list(savepoint.ListOptions{Prefix: "g-011"}))
		_, err = s.Delete(t.Context(), want[0])
		require.NoError(t, err)
		assert.Equal(t, want[1:], list(savepoint.ListOptions{}))
	})
}

// TestStore_BadIDs passes bad ids to every method: each returns ErrBadID with the reason, and nothing is queued.
func TestStore_BadIDs(t *testing.T) {
	bad := map[string]string{
		"":                         "empty",
		strings.Repeat("x", 256):   "256 bytes, more than 255",
		strings.Repeat("é", 128):   "256 bytes, more than 255",
		"a\xff":                    "not valid UTF-8",
		"a\x00":                    "control character U+0000 at byte 1",
		"\n":                       "control character U+000A at byte 0",
		"tab\t":                    "control character U+0009 at byte 3",
		"del\x7f":                  "control character U+007F at byte 3",
		"c1\u0085":                 "control character U+0085 at byte 2",
		strings.Repeat("x", 1<<16): "65536 bytes",
	}
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		begin(t, s, "good", 1)
		groups := db.Stats().Groups
		for id, why := range bad {
			_, err := s.Append(ctx, id, deal())
			says(t, err, savepoint.ErrBadID, why)
			assert.Less(t, len(err.Error()), 1000, "a long id is not repeated in full")
			_, err = s.Load(ctx, id)
			says(t, err, savepoint.ErrBadID, why)
			_, err = s.At(ctx, id, savepoint.AtSeq(0))
			says(t, err, savepoint.ErrBadID, why)
			for _, err := range s.Events(ctx, id, savepoint.EventRange{}) {
				says(t, err, savepoint.ErrBadID, why)
			}
			says(t, s.Go(ctx, id, deal()).Err(), savepoint.ErrBadID, why)
			says(t, s.View(ctx, id, func(*savepoint.State[table]) error { return nil }), savepoint.ErrBadID, why)
			says(t, s.Purge(ctx, id), savepoint.ErrBadID, why)
			says(t, s.Warm(ctx, "good", id), savepoint.ErrBadID, why)
			_, err = s.Recover(ctx, id, savepoint.RecoverOptions{})
			says(t, err, savepoint.ErrBadID, why)
			_, err = s.Verify(ctx, id)
			says(t, err, savepoint.ErrBadID, why)
			_, err = s.Fork(ctx, "good", savepoint.Latest(), id)
			says(t, err, savepoint.ErrBadID, why)
			says(t, db.Update(ctx, func(tx *savepoint.Tx) error { _, err := s.In(tx, id); return err }), savepoint.ErrBadID, why)
		}
		assert.Equal(t, groups, db.Stats().Groups, "nothing was queued")
		assert.Zero(t, db.Stats().Queue)
	})
}

// TestStore_StrangeIDsDoNotMix uses ids that look alike or are prefixes of others, in two kinds: no two share anything.
// row A1
func TestStore_StrangeIDsDoNotMix(t *testing.T) {
	ids := []string{
		"a", "aa", "aaa", "ab", "a/", "a/b", "a b", " a", "a ", "A", "а" /* Cyrillic */, "ａ" /* full width */, "á", "a\u0301",
		".", "..", "../", "../a", "../../etc/passwd", "/", "/a", "a\u200b", "a\u202e", "\U0001F0A1", "%00", "a\\0", "nul",
		"\ufffd", strings.Repeat("a", 254), strings.Repeat("a", 255), strings.Repeat("é", 127) + "a", "0", "00", "_", "\u007e",
	}
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		other := tableKind()
		other.Name = "tabl" // followed by an id that starts with "e" it is the same bytes as the other kind and id
		o, err := savepoint.Register(db, other)
		require.NoError(t, err)
		for i, id := range ids {
			for range i%3 + 1 {
				_, err := s.Append(ctx, id, &noted{Text: id})
				require.NoError(t, err, "%q", id)
			}
			if len(id) < 255 {
				_, err := o.Append(ctx, "e"+id, &noted{Text: "other " + id})
				require.NoError(t, err)
			}
		}
		check := func() {
			t.Helper()
			for i, id := range ids {
				st := load(t, s, id)
				assert.Equal(t, id, st.ID)
				assert.Equal(t, id+" by ", st.Value.Note)
				n := 0
				for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
					require.NoError(t, err)
					assert.Equal(t, id, rec.Event.(*noted).Text)
					n++
				}
				assert.Equal(t, i%3+1, n, "%q", id)
				assert.Equal(t, []uint64{0}, seqs(infos(t, s, id, savepoint.SnapshotRange{})))
			}
		}
		check()
		var got []string
		for h, err := range s.List(ctx, savepoint.ListOptions{}) {
			require.NoError(t, err)
			got = append(got, h.ID)
		}
		want := slices.Sorted(slices.Values(ids))
		assert.Equal(t, want, got, "each id once, in their order")
		got = nil
		for h, err := range s.List(ctx, savepoint.ListOptions{Prefix: "a", After: "a", Limit: 3}) {
			require.NoError(t, err)
			got = append(got, h.ID)
		}
		assert.Equal(t, []string{"a ", "a b", "a/"}, got)

		require.NoError(t, s.Purge(ctx, "aa"))
		_, err = s.Load(ctx, "aa")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		_, err = s.Append(ctx, "aa", &noted{Text: "aa"})
		require.NoError(t, err)
		_, err = s.Append(ctx, "aa", &noted{Text: "aa"})
		require.NoError(t, err)
		check()
	})
}
