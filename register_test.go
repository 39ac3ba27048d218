//lint:file-ignore U1000 reflection reads the fields that no code uses

package savepoint_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
)

// TestRegister_UnregisteredKindStaysIntact opens and writes a file without registering one of its kinds: that kind's machines
// stay as they are.
func TestRegister_UnregisteredKindStaysIntact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.db")
	ctx := t.Context()
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	s := register(t, db)
	docs, err := savepoint.Register(db, document.Kind("wallet"))
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

	db, err = savepoint.Open(path, nil) // the kind table is not registered
	require.NoError(t, err)
	docs, err = savepoint.Register(db, document.Kind("wallet"))
	require.NoError(t, err)
	_, err = docs.Append(ctx, "g-1", document.Update{Set: map[string]any{"coins": 100}})
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
	assert.Equal(t, 4, rep.Machines, "only machines of registered kinds")
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

// TestRegister_Twice registers the same kind again, which returns the same store, and different kinds of the same name, which
// are refused.
// row A2, F11
func TestRegister_Twice(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	again, err := savepoint.Register(db, tableKind())
	require.NoError(t, err)
	assert.Same(t, s, again)

	var ke *savepoint.KindError
	_, err = savepoint.Register(db, document.Kind("table"))
	require.ErrorAs(t, err, &ke)
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
	begin(t, s, "g", 1) // the first store still works
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

// TestRegister_BadKinds registers kinds that cannot work: a KindError names every problem, and nothing of them is kept.
// row B6
func TestRegister_BadKinds(t *testing.T) {
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
	require.NoError(t, err, "nothing of the refused kind is kept")
}

// TestRegister_LostEventsAndOlderVersions registers a kind without an event that the file has, and with other versions than the
// file's: each is refused with what to do, and nothing of the refused kind is kept.
// row F19
func TestRegister_LostEventsAndOlderVersions(t *testing.T) {
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
	require.NoError(t, again(func(k *savepoint.Kind[table]) { delete(k.Events, "moved") }), "the file has no such event")

	older := again(func(k *savepoint.Kind[table]) { k.Version = savepoint.V(1, 1, 9) })
	says(t, older, savepoint.ErrNewer, `"table"`, "1.2.0", "1.1.9")
	require.NotErrorIs(t, older, savepoint.ErrCorrupt)
	major := again(func(k *savepoint.Kind[table]) { k.Version = savepoint.V(2, 0, 0) })
	require.ErrorAs(t, major, &ke)
	says(t, major, nil, `"table"`, "1.2.0", "2.0.0", "major version")
	require.NoError(t, again(func(*savepoint.Kind[table]) {}), "nothing of the refused kind is kept")
	require.NoError(t, again(func(k *savepoint.Kind[table]) { k.Version = savepoint.V(1, 3, 0) }))
	says(t, again(func(*savepoint.Kind[table]) {}), savepoint.ErrNewer, "1.3.0", "1.2.0")
}
