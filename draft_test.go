package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// stranger is an event that the kind does not list.
type stranger struct{ Text string }

func (stranger) Apply(*table, savepoint.Meta) error { return nil }

// TestDraft_BadEvents appends nil, unknown types and values in place of pointers: each is ErrBadEvent, and nothing is queued.
func TestDraft_BadEvents(t *testing.T) {
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

// nothing is an event of no bytes.
type nothing struct{}

func (nothing) Apply(*table, savepoint.Meta) error { return nil }

// TestDraft_EventTooLarge appends events around MaxEvent: the limit itself fits, one byte more is ErrTooLarge.
func TestDraft_EventTooLarge(t *testing.T) {
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
			fits := 0 // the longest text that is accepted
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
			require.NoError(t, err, "the limit itself is accepted")
		})
	}
}

// TestDraft_StateTooLarge writes states beyond MaxState, by Save and by an event whose snapshot is due: each is ErrTooLarge,
// and nothing is queued.
func TestDraft_StateTooLarge(t *testing.T) {
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
			_, err = s.Append(ctx, "g", &noted{Text: big.Note}) // a snapshot is due with it
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

// judged fails or panics in Check, as its fields say.
type judged struct{ Fail, Panic bool }

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

var errJudged = errors.New("judged")

// TestDraft_CallbackFailsOrPanics lets each function of a kind and each callback fail and panic: the error names the machine and
// the function, nothing is stored, and the machine takes the next write.
func TestDraft_CallbackFailsOrPanics(t *testing.T) {
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
			in string // where the panic is, empty for an error
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
		_, err = s.Append(ctx, "g", plays[2], savepoint.IfSeq(3)) // the machine is not locked, and the committer runs
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

// TestDraft_IllegalPhaseAndWrongSeq writes against Legal and against IfSeq with every verb: the errors say what was expected and
// what is there, and nothing is stored.
func TestDraft_IllegalPhaseAndWrongSeq(t *testing.T) {
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
				_, err := s.Update(ctx, "g", func(*savepoint.Machine[table]) error { t.Error("the callback ran"); return nil }, o...)
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

// TestStore_NoWait_FullQueue fills a queue of one place while the engine holds a commit: a write with NoWait is refused with
// ErrBusy, stores nothing and leaves the machine as it was; a write without it waits until its context ends. Both succeed once
// the queue has a place.
func TestStore_NoWait_FullQueue(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{Queue: 1}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		gate := make(chan struct{})
		f.set(func() { f.gate = gate })
		first := s.Go(ctx, "a", added{N: 2})
		_, err := s.Append(ctx, "b", added{N: 2}, savepoint.NoWait())
		require.ErrorIs(t, err, savepoint.ErrBusy)
		err = db.Update(ctx, func(*savepoint.Tx) error { t.Error("the callback runs"); return nil }, savepoint.NoWait())
		require.ErrorIs(t, err, savepoint.ErrBusy)
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, err = s.Append(over, "b", added{N: 2})
		require.ErrorIs(t, err, context.Canceled)
		f.set(func() { f.gate = nil })
		close(gate)
		require.NoError(t, first.Err())
		_, err = s.Load(ctx, "b")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		h, err := s.Append(ctx, "b", added{N: 2}, savepoint.NoWait())
		require.NoError(t, err)
		require.EqualValues(t, 1, h.Seq)
		require.NoError(t, db.Close())
	})
}
