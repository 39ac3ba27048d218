//lint:file-ignore U1000 the fields are there to be looked at by reflection

package savepoint_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// says checks that err matches the sentinel (nil = any error) and that its text has all the words: what is wrong, where,
// and what to do.
func says(t testing.TB, err, sentinel error, words ...string) {
	t.Helper()
	if !assert.Error(t, err) {
		return
	}
	if sentinel != nil {
		assert.ErrorIs(t, err, sentinel)
	}
	for _, w := range words {
		assert.ErrorContains(t, err, w)
	}
}

// soon is for files that are in use: the default waits a second.
func soon() *savepoint.Options { return &savepoint.Options{LockTimeout: 20 * time.Millisecond} }

// made is a closed file with machines "a" to "c" of kind table.
func made(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "game.db")
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	s := register(t, db)
	for i, id := range []string{"a", "b", "c"} {
		begin(t, s, id, i+2)
	}
	require.NoError(t, db.Close())
	return path
}

func TestBadID_Refused(t *testing.T) {
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

func TestBadID_StrangeIDsDoNotMix(t *testing.T) {
	ids := []string{
		"a", "aa", "aaa", "ab", "a/", "a/b", "a b", " a", "a ", "A", "а" /* Cyrillic */, "ａ" /* full width */, "á", "a\u0301",
		".", "..", "../", "../a", "../../etc/passwd", "/", "/a", "a\u200b", "a\u202e", "\U0001F0A1", "%00", "a\\0", "nul",
		"\ufffd", strings.Repeat("a", 254), strings.Repeat("a", 255), strings.Repeat("é", 127) + "a", "0", "00", "_", "\u007e",
	}
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		other := tableKind()
		other.Name = "tabl" // with "e" in front of an id: the same bytes
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
		look := func() {
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
		look()
		var got []string
		for h, err := range s.List(ctx, savepoint.ListOptions{}) {
			require.NoError(t, err)
			got = append(got, h.ID)
		}
		want := slices.Sorted(slices.Values(ids))
		assert.Equal(t, want, got, "all, once, in the order of the ids")
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
		look()
	})
}

func TestBadKind_Unregistered_StaysIntact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.db")
	ctx := t.Context()
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	s := register(t, db)
	docs, err := savepoint.Register(db, savepoint.DocKind("wallet"))
	require.NoError(t, err)
	for i := range 5 {
		begin(t, s, fmt.Sprint("g-", i), i)
		_, err := docs.Save(ctx, fmt.Sprint("g-", i), savepoint.Doc{"coins": i})
		require.NoError(t, err)
	}
	var want []savepoint.State[table]
	for i := range 5 {
		want = append(want, load(t, s, fmt.Sprint("g-", i)))
	}
	require.NoError(t, db.Close())

	db, err = savepoint.Open(path, nil) // without the kind table
	require.NoError(t, err)
	docs, err = savepoint.Register(db, savepoint.DocKind("wallet"))
	require.NoError(t, err)
	_, err = docs.Append(ctx, "g-1", savepoint.DocUpdate{Set: map[string]any{"coins": 100}})
	require.NoError(t, err)
	require.NoError(t, docs.Purge(ctx, "g-2"))
	n := 0
	for _, err := range docs.List(ctx, savepoint.ListOptions{}) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 4, n)
	rep, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{Partial: true})
	require.NoError(t, err)
	assert.Equal(t, 4, rep.Healthy)
	assert.Equal(t, 4, rep.Machines, "those of registered kinds")
	_, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Kinds: []string{"table"}})
	says(t, err, nil, "table", "not registered")
	require.NoError(t, db.Close())

	db = open(t, path, nil)
	s = register(t, db)
	for i := range 5 {
		assert.Equal(t, want[i], load(t, s, fmt.Sprint("g-", i)))
		rep, err := s.Verify(ctx, fmt.Sprint("g-", i))
		require.NoError(t, err)
		assert.True(t, rep.OK())
	}
}

func TestBadKind_RegisteredTwice(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	again, err := savepoint.Register(db, tableKind())
	require.NoError(t, err)
	assert.Same(t, s, again)

	var ke *savepoint.KindError
	_, err = savepoint.Register(db, savepoint.DocKind("table"))
	require.ErrorAs(t, err, &ke) // row F11
	says(t, err, nil, `"table"`, "savepoint.Doc", "savepoint_test.table")
	k := tableKind()
	k.Events["moved"] = &moved{}
	_, err = savepoint.Register(db, k)
	says(t, err, nil, `"table"`, "moved")
	k = tableKind()
	delete(k.Events, "moved")
	_, err = savepoint.Register(db, k)
	says(t, err, nil, `"table"`, "events")
	k = tableKind()
	k.Version = savepoint.V(1, 1, 0)
	_, err = savepoint.Register(db, k)
	says(t, err, nil, `"table"`, "1.0.0", "1.1.0")
	begin(t, s, "g", 1) // the first one goes on
}

type (
	secretive struct {
		Open string
		hand []string
	}
	secretMove struct {
		Card   string
		secret int
	}
	piped struct{ C chan int }
)

func (e secretMove) Apply(t *table, _ savepoint.Meta) error {
	t.Note = fmt.Sprint(e.secret)
	return nil
}
func (e piped) Apply(*table, savepoint.Meta) error { return nil }

func TestBadKind_Refusals(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	for name, c := range map[string]struct {
		change func(*savepoint.Kind[table])
		words  []string
	}{
		"no name":         {func(k *savepoint.Kind[table]) { k.Name = "" }, []string{"name", "empty"}},
		"long name":       {func(k *savepoint.Kind[table]) { k.Name = strings.Repeat("k", 256) }, []string{"256 bytes, more than 255"}},
		"NUL in the name": {func(k *savepoint.Kind[table]) { k.Name = "k\x00" }, []string{"control character"}},
		"library's name":  {func(k *savepoint.Kind[table]) { k.Events["_saved"] = &secretMove{} }, []string{`"_saved"`}},
		"empty name":      {func(k *savepoint.Kind[table]) { k.Events[""] = &secretMove{} }, []string{`event name ""`, "empty"}},
		"nil prototype":   {func(k *savepoint.Kind[table]) { k.Events["none"] = nil }, []string{`"none"`, "no prototype"}},
		"dropped field":   {func(k *savepoint.Kind[table]) { k.Events["secret"] = secretMove{} }, []string{`"secret"`, "secretMove.secret", "not exported", "export it"}},
		"channel":         {func(k *savepoint.Kind[table]) { k.Events["piped"] = piped{} }, []string{`"piped"`, "piped.C", "chan"}},
		"two names":       {func(k *savepoint.Kind[table]) { k.Events["walked"] = moved{} }, []string{"savepoint_test.moved", `"moved"`, `"walked"`}},
		"bad strategy":    {func(k *savepoint.Kind[table]) { k.Strategy = 99 }, []string{"trategy", "99"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := tableKind()
			k.Name = "refused"
			c.change(&k)
			_, err := savepoint.Register(db, k)
			var ke *savepoint.KindError
			require.ErrorAs(t, err, &ke)
			assert.Len(t, ke.Problems, 1)
			says(t, err, nil, c.words...)
		})
	}
	t.Run("all at once", func(t *testing.T) {
		k := tableKind()
		k.Name = "refused"
		k.Events["_x"], k.Events["secret"], k.Events["walked"] = piped{}, secretMove{}, moved{}
		_, err := savepoint.Register(db, k)
		says(t, err, nil, `"_x"`, "secretMove.secret", `"walked"`)
	})
	t.Run("state", func(t *testing.T) {
		_, err := savepoint.Register(db, savepoint.Kind[secretive]{Name: "refused"})
		var ke *savepoint.KindError
		require.ErrorAs(t, err, &ke)
		says(t, err, nil, "secretive.hand", "not exported")
		_, err = savepoint.Register(db, savepoint.Kind[struct{ F func() }]{Name: "refused"})
		says(t, err, nil, "F", "func")
	})
	_, err := savepoint.Register(db, savepoint.Kind[table]{Name: "refused"})
	require.NoError(t, err, "what was refused left nothing behind")
}

func TestBadKind_LostEvents_Versions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.db")
	again := func(change func(*savepoint.Kind[table])) error {
		t.Helper()
		db, err := savepoint.Open(path, nil)
		require.NoError(t, err)
		defer func() { assert.NoError(t, db.Close()) }()
		k := tableKind()
		k.Version = savepoint.V(1, 2, 0)
		change(&k)
		s, err := savepoint.Register(db, k)
		if err == nil {
			_, err := s.Load(t.Context(), "g")
			require.NoError(t, err)
		}
		return err
	}
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	k := tableKind()
	k.Version = savepoint.V(1, 2, 0)
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	begin(t, s, "g", 3)
	note(t, s, "g", 2)
	note(t, s, "h", 1)
	require.NoError(t, db.Close())

	lost := again(func(k *savepoint.Kind[table]) { delete(k.Events, "noted"); delete(k.Events, "played") })
	var ke *savepoint.KindError
	require.ErrorAs(t, lost, &ke)
	says(t, lost, nil, `3 records of event "noted"`, `3 records of event "played"`, "list it")
	require.NoError(t, again(func(k *savepoint.Kind[table]) { delete(k.Events, "moved") }), "none of it is there")

	older := again(func(k *savepoint.Kind[table]) { k.Version = savepoint.V(1, 1, 9) })
	says(t, older, savepoint.ErrNewer, `"table"`, "1.2.0", "1.1.9")
	require.NotErrorIs(t, older, savepoint.ErrCorrupt)
	major := again(func(k *savepoint.Kind[table]) { k.Version = savepoint.V(2, 0, 0) })
	require.ErrorAs(t, major, &ke)
	says(t, major, nil, `"table"`, "1.2.0", "2.0.0", "major version")
	require.NoError(t, again(func(*savepoint.Kind[table]) {}), "what was refused left nothing behind")
	require.NoError(t, again(func(k *savepoint.Kind[table]) { k.Version = savepoint.V(1, 3, 0) }))
	says(t, again(func(*savepoint.Kind[table]) {}), savepoint.ErrNewer, "1.3.0", "1.2.0")
}

type stranger struct{ Text string }

func (stranger) Apply(*table, savepoint.Meta) error { return nil }

func TestBadEvent_Refused(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		begin(t, s, "g", 1)
		before, groups := load(t, s, "g"), db.Stats().Groups
		for name, c := range map[string]struct {
			ev    savepoint.Event[table]
			words []string
		}{
			"nil":                     {nil, []string{"nil", `"g"`}},
			"nil pointer":             {(*noted)(nil), []string{"nil", `"g"`}},
			"unknown type":            {stranger{}, []string{`"table"`, "savepoint_test.stranger"}},
			"pointer for a value":     {&moved{To: "turn"}, []string{"*savepoint_test.moved", "append the value"}},
			"nil pointer for a value": {(*moved)(nil), []string{"append the value"}},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := s.Append(ctx, "g", c.ev)
				says(t, err, savepoint.ErrBadEvent, c.words...)
				says(t, s.Go(ctx, "g", c.ev).Err(), savepoint.ErrBadEvent, c.words...)
				_, err = s.Append(ctx, "g", c.ev, savepoint.Key("k"))
				says(t, err, savepoint.ErrBadEvent, c.words...)
				_, err = s.Update(ctx, "g", func(m *savepoint.Machine[table]) error {
					require.NoError(t, m.Append(&noted{Text: "before"}))
					_ = m.Append(c.ev)
					return nil
				})
				says(t, err, savepoint.ErrBadEvent, c.words...)
			})
		}
		_, err := savepoint.Register(db, savepoint.Kind[table]{Name: "pointers", Events: savepoint.Events[table]{"moved": &moved{}}})
		require.NoError(t, err)
		p, err := savepoint.Register(db, savepoint.Kind[table]{Name: "pointers", Events: savepoint.Events[table]{"moved": &moved{}}})
		require.NoError(t, err)
		_, err = p.Append(ctx, "g", moved{To: "turn"})
		says(t, err, savepoint.ErrBadEvent, "append a pointer")
		assert.Equal(t, before, load(t, s, "g"))
		assert.Equal(t, groups, db.Stats().Groups)
	})
}

type nothing struct{}

func (nothing) Apply(*table, savepoint.Meta) error { return nil }

func TestBadEvent_TooLarge(t *testing.T) {
	const limit = 1000
	for name, path := range engines {
		t.Run(name, func(t *testing.T) {
			db := open(t, path(t), &savepoint.Options{MaxEvent: limit})
			k := tableKind()
			k.Events["nothing"] = nothing{}
			s, err := savepoint.Register(db, k)
			require.NoError(t, err)
			ctx := t.Context()
			_, err = s.Append(ctx, "g", nothing{})
			require.NoError(t, err, "0 bytes")
			fits := 0 // the longest text that is taken
			for step := 512; step > 0; step /= 2 {
				if _, err := s.Append(ctx, "g", &noted{Text: strings.Repeat("x", fits+step)}); err == nil {
					fits += step
				}
			}
			require.Greater(t, fits, limit-100)
			before, groups := load(t, s, "g"), db.Stats().Groups
			for _, n := range []int{fits + 1, fits + 2, 10 * limit} {
				big := &noted{Text: strings.Repeat("x", n)}
				_, err = s.Append(ctx, "g", big)
				says(t, err, savepoint.ErrTooLarge, `"noted"`, `"g"`, fmt.Sprint(limit-fits+n, " bytes"), "MaxEvent 1000")
				says(t, s.Go(ctx, "g", big).Err(), savepoint.ErrTooLarge)
				_, err = s.Update(ctx, "g", func(m *savepoint.Machine[table]) error { return m.Append(&noted{Text: "a"}, big) })
				says(t, err, savepoint.ErrTooLarge)
			}
			assert.Equal(t, groups, db.Stats().Groups, "nothing was queued")
			assert.Zero(t, db.Stats().Queue)
			assert.Equal(t, before, load(t, s, "g"))
			_, err = s.Append(ctx, "g", &noted{Text: strings.Repeat("x", fits)})
			require.NoError(t, err, "the limit itself")
		})
	}
}

func TestBadState_TooLarge(t *testing.T) {
	big := table{Note: strings.Repeat("x", 2000)}
	for name, path := range engines {
		t.Run(name, func(t *testing.T) {
			db := open(t, path(t), &savepoint.Options{MaxState: 1000})
			ctx := t.Context()
			k := tableKind()
			k.Snapshot = savepoint.SnapshotPolicy{Events: 3, NoClose: true}
			s, err := savepoint.Register(db, k)
			require.NoError(t, err)
			begin(t, s, "g", 1)
			before, groups := load(t, s, "g"), db.Stats().Groups
			_, err = s.Save(ctx, "g", big)
			says(t, err, savepoint.ErrTooLarge, `"g"`, "state", "MaxState 1000")
			_, err = s.Update(ctx, "g", func(m *savepoint.Machine[table]) error { return m.Save(big) })
			says(t, err, savepoint.ErrTooLarge, "MaxState 1000")
			_, err = s.Append(ctx, "g", &noted{Text: big.Note}) // its snapshot is due
			says(t, err, savepoint.ErrTooLarge, "MaxState 1000")
			assert.Equal(t, before, load(t, s, "g"))
			assert.Equal(t, groups, db.Stats().Groups)
			note(t, s, "g", 1)

			k = kindOf(savepoint.SnapshotOnly)
			k.Name = "only"
			only, err := savepoint.Register(db, k)
			require.NoError(t, err)
			_, err = only.Append(ctx, "g", &noted{Text: big.Note})
			says(t, err, savepoint.ErrTooLarge, "MaxState 1000")
			_, err = only.Load(ctx, "g")
			require.ErrorIs(t, err, savepoint.ErrNotFound)
		})
	}
}

// judged fails as it is told, in Check.
type judged struct{ Fail, Panic bool }

var errJudged = errors.New("judged")

func (e judged) Check(*table, savepoint.Meta) error {
	if e.Panic {
		panic(errJudged)
	}
	if e.Fail {
		return errJudged
	}
	return nil
}

func (e judged) Apply(*table, savepoint.Meta) error { return nil }

func TestBadCallback_FailsOrPanics(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		k := tableKind()
		k.Events["judged"] = judged{}
		k.Validate = func(v *table) error {
			switch v.Note {
			case "invalid by ":
				return errJudged
			case "validate panics by ":
				panic(errJudged)
			}
			return nil
		}
		k.Phase = func(v *table) string {
			if v.Note == "phase panics by " {
				panic(errJudged)
			}
			return v.Phase
		}
		s, err := savepoint.Register(db, k)
		require.NoError(t, err)
		begin(t, s, "g", 2)
		before, groups := load(t, s, "g"), db.Stats().Groups
		for name, c := range map[string]struct {
			ev savepoint.Event[table]
			in string // of a panic
			is error
		}{
			"Check fails":     {judged{Fail: true}, "", errJudged},
			"Check panics":    {judged{Panic: true}, "Check", errJudged},
			"Apply fails":     {&noted{Text: "x", Fail: true}, "", nil},
			"Apply panics":    {&noted{Text: "x", Panic: true}, "Apply", nil},
			"Validate fails":  {&noted{Text: "invalid"}, "", errJudged},
			"Validate panics": {&noted{Text: "validate panics"}, "Validate", errJudged},
			"Phase panics":    {&noted{Text: "phase panics"}, "Phase", errJudged},
		} {
			t.Run(name, func(t *testing.T) {
				for way, write := range map[string]func() error{
					"Append": func() error { _, err := s.Append(ctx, "g", c.ev); return err },
					"Go":     func() error { return s.Go(ctx, "g", c.ev).Err() },
					"Update": func() error {
						_, err := s.Update(ctx, "g", func(m *savepoint.Machine[table]) error {
							require.NoError(t, m.Append(plays[2]))
							_ = m.Append(c.ev)
							return nil
						})
						return err
					},
					"across": func() error {
						return db.Update(ctx, func(tx *savepoint.Tx) error {
							m, err := s.In(tx, "g")
							require.NoError(t, err)
							require.NoError(t, m.Append(plays[2]))
							_ = m.Append(c.ev)
							return nil
						})
					},
				} {
					err := write()
					says(t, err, c.is, "table", `"g"`)
					var p *savepoint.PanicError
					if c.in != "" && assert.ErrorAs(t, err, &p, way) {
						assert.Equal(t, c.in, p.In)
						assert.NotEmpty(t, p.Stack)
						says(t, err, nil, "panic in "+c.in)
					}
					assert.Equal(t, before, load(t, s, "g"))
				}
			})
		}
		panics := func(*savepoint.Machine[table]) error { panic("in fn") }
		_, err = s.Update(ctx, "g", panics)
		says(t, err, nil, `"g"`, "panic in the callback", "in fn")
		says(t, s.GoUpdate(ctx, "g", panics).Err(), nil, "panic in the callback")
		_, err = s.Update(ctx, "g", nil)
		says(t, err, nil, `"g"`, "callback is nil")
		says(t, db.Update(ctx, func(*savepoint.Tx) error { panic("in fn") }), nil, "panic in the callback")
		says(t, db.Update(ctx, nil), nil, "callback is nil")
		says(t, db.Update(ctx, func(tx *savepoint.Tx) error {
			m, err := s.In(tx, "g")
			require.NoError(t, err)
			require.NoError(t, m.Append(plays[2]))
			return errJudged
		}), errJudged)
		says(t, s.View(ctx, "g", func(*savepoint.State[table]) error { panic("in fn") }), nil, `"g"`, "panic in the callback")
		says(t, s.View(ctx, "g", nil), nil, `"g"`, "callback")
		assert.Equal(t, before, load(t, s, "g"))
		assert.Equal(t, groups, db.Stats().Groups)
		_, err = s.Append(ctx, "g", plays[2], savepoint.IfSeq(3)) // the lock is free, the committer lives
		require.NoError(t, err)

		k = tableKind()
		k.Name, k.New = "new panics", func() table { panic(errJudged) }
		n, err := savepoint.Register(db, k)
		require.NoError(t, err)
		_, err = n.Append(ctx, "g", deal())
		says(t, err, errJudged, "panic in New")
		_, err = n.Load(ctx, "g")
		says(t, err, errJudged, "panic in New")
		k.Name, k.New, k.Phase = "phase panics", nil, func(*table) string { panic(errJudged) }
		n, err = savepoint.Register(db, k)
		require.NoError(t, err)
		_, err = n.Append(ctx, "g", deal())
		says(t, err, errJudged, "panic in Phase")
		assert.Empty(t, db.Quarantined())
	})
}

func TestBadWrite_IllegalPhase_WrongSeq(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		begin(t, s, "g", 2)
		before := load(t, s, "g")
		_, err := s.Append(ctx, "g", moved{To: "waiting"})
		says(t, err, savepoint.ErrIllegal, `"g"`, `"moved"`, `"turn"`, `"waiting"`, "Legal")
		_, err = s.Save(ctx, "g", table{Phase: "nowhere"})
		says(t, err, savepoint.ErrIllegal, `"g"`, `"turn"`, `"nowhere"`)
		assert.EqualValues(t, 2, db.Stats().Illegal)

		for want, write := range map[uint64]func(o ...savepoint.WriteOption) error{
			7: func(o ...savepoint.WriteOption) error { _, err := s.Append(ctx, "g", plays[2], o...); return err },
			2: func(o ...savepoint.WriteOption) error { _, err := s.Save(ctx, "g", before.Value, o...); return err },
			0: func(o ...savepoint.WriteOption) error { return s.Go(ctx, "g", plays[2], o...).Err() },
			1: func(o ...savepoint.WriteOption) error { _, err := s.Delete(ctx, "g", o...); return err },
			4: func(o ...savepoint.WriteOption) error {
				return db.Update(ctx, func(tx *savepoint.Tx) error { _, err := s.In(tx, "g", o...); return err })
			},
			5: func(o ...savepoint.WriteOption) error {
				_, err := s.Update(ctx, "g", func(*savepoint.Machine[table]) error { t.Error("it ran"); return nil }, o...)
				return err
			},
		} {
			err := write(savepoint.IfSeq(want))
			var c *savepoint.ConflictError
			require.ErrorAs(t, err, &c)
			assert.Equal(t, savepoint.ConflictError{Kind: "table", ID: "g", Want: want, Have: 3}, *c)
			says(t, err, savepoint.ErrConflict, `"g"`, "is at seq 3", fmt.Sprint("not at ", want), "load it again")
		}
		_, err = s.Append(ctx, "new", deal(), savepoint.IfSeq(1))
		says(t, err, savepoint.ErrConflict, `"new"`, "is at seq 0", "not at 1")
		assert.Equal(t, before, load(t, s, "g"))
		assert.EqualValues(t, 7, db.Stats().Conflicts)
	})
}

func TestBadOptions_Refused(t *testing.T) {
	for field, o := range map[string]*savepoint.Options{
		"LockTimeout": {LockTimeout: -1}, "MaxEvent": {MaxEvent: -1}, "MaxState": {MaxState: -1}, "Queue": {Queue: -1},
		"QueueBytes": {QueueBytes: -1}, "trategy": {Strategy: 77}, "Cache": {Cache: savepoint.CacheOptions{Bytes: -1}},
	} {
		path := filepath.Join(t.TempDir(), "game.db")
		_, err := savepoint.Open(path, o)
		says(t, err, nil, "savepoint: Options", field)
		assert.NoFileExists(t, path)
	}
}

// holder is how an error names the process that has a file, where the system tells.
func holder(pid int) string {
	if runtime.GOOS == "linux" {
		return fmt.Sprint("pid ", pid)
	}
	return "another process, or in this one"
}

func TestBadFile_Locked_SameProcess(t *testing.T) {
	path := made(t)
	db := open(t, path, nil)
	_, err := savepoint.Open(path, soon())
	says(t, err, savepoint.ErrLocked, path, "this", holder(os.Getpid()))
	o := soon()
	o.ReadOnly = true
	_, err = savepoint.Open(path, o)
	says(t, err, savepoint.ErrLocked, path)
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))
	_, err = savepoint.Open(link, soon())
	says(t, err, savepoint.ErrLocked, link)
	assert.EqualValues(t, 3, load(t, register(t, db), "a").Seq)
	require.NoError(t, db.Close())
	open(t, path, soon())
}

// TestBadFile_Locked_ChildProcess also is the child, which holds the file until its input ends.
func TestBadFile_Locked_ChildProcess(t *testing.T) {
	if path := os.Getenv("SAVEPOINT_TEST_HOLD"); path != "" {
		db := open(t, path, nil)
		_, err := register(t, db).Append(t.Context(), "a", plays[2])
		require.NoError(t, err)
		fmt.Println("holding")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		return
	}
	path := made(t)
	child := exec.Command(os.Args[0], "-test.run=^TestBadFile_Locked_ChildProcess$")
	child.Env = append(os.Environ(), "SAVEPOINT_TEST_HOLD="+path)
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "holding", lines.Text())
	_, err = savepoint.Open(path, soon())
	says(t, err, savepoint.ErrLocked, path, "is open in", holder(child.Process.Pid))
	o := soon()
	o.ReadOnly = true
	_, err = savepoint.Open(path, o)
	says(t, err, savepoint.ErrLocked, path)

	require.NoError(t, child.Process.Kill()) // its lock goes with it
	in.Close()
	_ = child.Wait()
	s := register(t, open(t, path, nil))
	assert.EqualValues(t, 4, load(t, s, "a").Seq)
}

// refuses checks that a file is refused and not changed, also when it is opened for reading.
func refuses(t *testing.T, path string, is []error, words ...string) {
	t.Helper()
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, readOnly := range []bool{false, true} {
		db, err := savepoint.Open(path, &savepoint.Options{ReadOnly: readOnly})
		if !assert.Error(t, err, "%d bytes", len(before)) {
			_ = db.Close()
			continue
		}
		matches := slices.ContainsFunc(is, func(e error) bool { return errors.Is(err, e) })
		assert.True(t, matches, "%d bytes: %v", len(before), err)
		says(t, err, nil, append(words, path)...)
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(before, after), "the file was changed")
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1, "nothing was left beside it")
}

func TestBadFile_NotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "no", "such", "game.db")
	_, err := savepoint.Open(path, nil)
	says(t, err, fs.ErrNotExist, path, "make it first")
	assert.NoDirExists(t, filepath.Join(dir, "no"))
	_, err = savepoint.Open("", nil)
	says(t, err, nil, "path is empty", "savepoint.Memory")
	_, err = savepoint.Open(dir, nil)
	says(t, err, savepoint.ErrForeign, dir, "is a directory", "name a file in it")
	path = filepath.Join(dir, "game.db")
	_, err = savepoint.Open(path, &savepoint.Options{ReadOnly: true})
	says(t, err, fs.ErrNotExist, path, "ReadOnly does not make it")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	below := filepath.Join(path, "game.db")
	_, err = savepoint.Open(below, nil)
	says(t, err, nil, below)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestBadFile_NotWritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everything")
	}
	path := made(t)
	require.NoError(t, os.Chmod(path, 0o400))
	_, err := savepoint.Open(path, nil)
	says(t, err, fs.ErrPermission, path, "ReadOnly")
	db := open(t, path, &savepoint.Options{ReadOnly: true})
	assert.EqualValues(t, 3, load(t, register(t, db), "a").Seq)
}

func TestBadFile_Empty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	refuses(t, path, []error{savepoint.ErrCorrupt}, "empty", "remove it")
}

func TestBadFile_Garbage(t *testing.T) {
	either := []error{savepoint.ErrCorrupt, savepoint.ErrForeign}
	whole, err := os.ReadFile(made(t))
	require.NoError(t, err)
	noise := make([]byte, 8192)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	path := filepath.Join(t.TempDir(), "game.db")
	for n := 1; n < 8192; n++ {
		if n > 100 && n%256 > 1 && n < 8180 && n%97 != 0 {
			continue
		}
		for _, content := range [][]byte{noise[:n], make([]byte, n), whole[:n]} {
			require.NoError(t, os.WriteFile(path, content, 0o600))
			refuses(t, path, either)
		}
	}
	for name, text := range map[string]string{"text": strings.Repeat("a line of text\n", 5000), "JSON": `{"games": []}`} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600), name)
		refuses(t, path, []error{savepoint.ErrForeign}, "not a bbolt file")
	}
	for _, n := range []int{8192, 12288, 16384} {
		require.NoError(t, os.WriteFile(path, whole[:n], 0o600))
		refuses(t, path, either)
	}
}

func TestBadFile_Foreign(t *testing.T) {
	for _, buckets := range [][]string{nil, {"users"}, {"meta"}, {"meta", "events"}} {
		path := filepath.Join(t.TempDir(), "other.db")
		foreignFile(t, path, buckets...)
		refuses(t, path, []error{savepoint.ErrForeign}, "another program's bbolt file")
	}
}

func TestBadFile_Newer(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path string){"file": newerFile, "value": newerFileValue} {
		t.Run(name, func(t *testing.T) {
			path := made(t)
			change(t, path)
			refuses(t, path, []error{savepoint.ErrNewer}, "format")
			_, err := savepoint.Open(path, nil)
			require.NotErrorIs(t, err, savepoint.ErrCorrupt, "nothing is damaged")
			require.NotErrorIs(t, err, savepoint.ErrForeign)
		})
	}
}

func TestReadOnly_TwoAtOnce_RefuseWrites(t *testing.T) {
	path := made(t)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	ctx := t.Context()
	o := soon()
	o.ReadOnly = true
	for range 2 { // at once: they are closed at the end
		db := open(t, path, o)
		s := register(t, db)
		assert.Equal(t, []string{"7H", "7S", "8H"}, load(t, s, "b").Value.Played)
		require.NoError(t, s.View(ctx, "b", func(v *savepoint.State[table]) error { assert.EqualValues(t, 4, v.Seq); return nil }))
		st, err := s.At(ctx, "b", savepoint.AtSeq(2))
		require.NoError(t, err)
		assert.Equal(t, []string{"7H"}, st.Value.Played)
		n := 0
		for _, err := range s.Events(ctx, "b", savepoint.EventRange{}) {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, 4, n)
		for _, err := range s.List(ctx, savepoint.ListOptions{}) {
			require.NoError(t, err)
		}
		assert.NotEmpty(t, infos(t, s, "b", savepoint.SnapshotRange{}))
		v, err := s.Verify(ctx, "b")
		require.NoError(t, err)
		assert.True(t, v.OK())
		rep, err := s.Recover(ctx, "b", savepoint.RecoverOptions{To: savepoint.AtSeq(2), DryRun: true})
		require.NoError(t, err)
		assert.Equal(t, savepoint.RecoverRestored, rep.Status)
		all, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{})
		require.NoError(t, err)
		assert.Equal(t, 3, all.Healthy)
		require.NoError(t, s.Warm(ctx, "a", "b"))

		update := func(m *savepoint.Machine[table]) error { return m.Append(plays[2]) }
		for name, write := range map[string]func() error{
			"Append":         func() error { _, err := s.Append(ctx, "b", plays[2]); return err },
			"Go":             func() error { return s.Go(ctx, "b", plays[2]).Err() },
			"Update":         func() error { _, err := s.Update(ctx, "b", update); return err },
			"GoUpdate":       func() error { return s.GoUpdate(ctx, "b", update).Err() },
			"Save":           func() error { _, err := s.Save(ctx, "b", table{}); return err },
			"Delete":         func() error { _, err := s.Delete(ctx, "b"); return err },
			"Purge":          func() error { return s.Purge(ctx, "b") },
			"Migrate":        func() error { _, err := s.Migrate(ctx, savepoint.MigrateOptions{}); return err },
			"Fork":           func() error { _, err := s.Fork(ctx, "b", savepoint.AtSeq(2), "f"); return err },
			"Mark":           func() error { _, err := s.Mark(ctx, "b", 2, nil); return err },
			"Snapshot":       func() error { _, err := s.Snapshot(ctx, "b"); return err },
			"DeleteSnapshot": func() error { _, err := s.DeleteSnapshot(ctx, "b", 1); return err },
			"Recover": func() error {
				_, err := s.Recover(ctx, "b", savepoint.RecoverOptions{To: savepoint.AtSeq(2)})
				return err
			},
			"DB.Update": func() error {
				return db.Update(ctx, func(tx *savepoint.Tx) error { _, err := s.In(tx, "b"); return err })
			},
		} {
			says(t, write(), savepoint.ErrReadOnly, path, "Options.ReadOnly")
			assert.EqualValues(t, 4, load(t, s, "b").Seq, name)
		}
		docs, err := savepoint.Register(db, savepoint.DocKind("not in the file"))
		require.NoError(t, err)
		_, err = docs.Load(ctx, "b")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		_, err = savepoint.Open(path, soon())
		says(t, err, savepoint.ErrLocked, path)
		require.NoError(t, db.Flush(ctx))
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(before, after), "reading wrote")
}

func TestClosed_EveryMethod(t *testing.T) {
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
				assert.Nil(t, m.State(), "the live state dies with the callback")
			})
		}
		_, err = s.In(keptTx, "g")
		says(t, err, nil, "after its callback")

		require.NoError(t, db.Close())
		require.NoError(t, db.Close(), "twice")
		update := func(m *savepoint.Machine[table]) error { t.Error("it ran"); return nil }
		never := func(tx *savepoint.Tx) error { t.Error("it ran"); return nil }
		harmless := func() error { return savepoint.ErrClosed }
		ofDB := map[string]func() error{
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
			"Analyze":         func() error { _, err := s.Analyze(ctx, "g", savepoint.AnalyzeOptions{}); return err },
			"AnalyzeAll":      func() error { _, err := s.AnalyzeAll(ctx, savepoint.AnalyzeOptions{}); return err },
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
		_, err = savepoint.Register(db, savepoint.DocKind("late"))
		require.ErrorIs(t, err, savepoint.ErrClosed)
	})
}

// only is the error of an iterator that has nothing else.
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

func TestClosed_WhileIterating(t *testing.T) {
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
		require.ErrorIs(t, last, savepoint.ErrClosed, "never a short list in silence")
		require.ErrorIs(t, only(s.List(t.Context(), savepoint.ListOptions{})), savepoint.ErrClosed)
	})
	assert.NotEmpty(t, slices.Collect(maps.Keys(engines)))
}
