package savepoint_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func TestMigration_RegisterReportsAll(t *testing.T) {
	v, up := savepoint.V, func(d savepoint.Doc) (savepoint.Doc, error) { return d, nil }
	cases := map[string]struct {
		list []savepoint.Migration
		want []string
	}{
		"twice":      {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Up: up}, {From: v(1, 0, 0), To: v(2, 0, 0), Up: up}}, []string{"migration 1.0.0 to 2.0.0 is there twice"}},
		"event":      {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "played", Drop: true}, {From: v(1, 0, 0), To: v(2, 0, 0), Event: "played", Up: up}}, []string{`of event "played" is there twice`}},
		"gap":        {[]savepoint.Migration{{From: v(0, 1, 0), To: v(1, 0, 0), Up: up}}, []string{"there is a gap: migration 0.1.0 to 1.0.0 ends at 1.0.0, and none leads from there to 2.0.0"}},
		"circle":     {[]savepoint.Migration{{From: v(1, 0, 0), To: v(1, 1, 0), Up: up}, {From: v(1, 1, 0), To: v(2, 0, 0), Up: up}, {From: v(2, 0, 0), To: v(1, 0, 0), Up: up}}, []string{"migrations go in a circle: 1.0.0 to 1.1.0 to 2.0.0, back by 2.0.0 to 1.0.0"}},
		"back":       {[]savepoint.Migration{{From: v(2, 0, 0), To: v(1, 0, 0), Up: up}}, []string{"leads to an older version: give the way back as Down"}},
		"beyond":     {[]savepoint.Migration{{From: v(2, 0, 0), To: v(3, 0, 0), Up: up}}, []string{"leads beyond the kind's version 2.0.0"}},
		"nowhere":    {[]savepoint.Migration{{From: v(2, 0, 0), To: v(2, 0, 0), Up: up}, {To: v(2, 0, 0), Up: up}}, []string{"it leads nowhere", "it has no From or no To"}},
		"no up":      {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0)}}, []string{"it has no Up"}},
		"state":      {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Up: up, Rename: "x"}}, []string{"Rename and Drop are of an event"}},
		"library":    {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "_x", Up: up}, {From: v(1, 0, 0), To: v(2, 0, 0), Event: "x", Rename: "_x"}}, []string{"names that begin with _ are the library's"}},
		"down":       {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "x", Down: up}}, []string{"an event has no way down"}},
		"drop":       {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "x", Drop: true, Rename: "y"}}, []string{"no Up and no Rename"}},
		"itself":     {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "x", Rename: "x"}}, []string{"renamed to itself"}},
		"nothing":    {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "x"}}, []string{"it changes nothing"}},
		"not listed": {[]savepoint.Migration{{From: v(1, 0, 0), To: v(2, 0, 0), Event: "played", Rename: "lain"}}, []string{`in 2.0.0 it is "lain", an event that the kind does not list`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := duelKind(0)
			k.Migrations = c.list
			_, err := savepoint.Register(open(t, savepoint.Memory, nil), k)
			var ke *savepoint.KindError
			require.ErrorAs(t, err, &ke) // row F3: a chain is checked as a whole
			for _, want := range c.want {
				assert.Contains(t, strings.Join(ke.Problems, "\n"), want)
			}
			// row F9: the list in the kind is all there is
			assert.Len(t, ke.Problems, max(len(c.want), map[string]int{"library": 2}[name]))
		})
	}
}

func TestMigration_ShortestPath(t *testing.T) {
	v := savepoint.V
	step := func(name string) func(savepoint.Doc) (savepoint.Doc, error) {
		return func(d savepoint.Doc) (savepoint.Doc, error) {
			way, _ := d["way"].(string)
			d["way"] = way + name
			return d, nil
		}
	}
	list := []savepoint.Migration{
		{From: v(1, 0, 0), To: v(2, 0, 0), Up: step("a")},
		{From: v(2, 0, 0), To: v(3, 0, 0), Up: step("b")},
		{From: v(3, 0, 0), To: v(4, 0, 0), Up: step("c")},
		{From: v(1, 0, 0), To: v(3, 0, 0), Up: step("d")},
		{From: v(2, 0, 0), To: v(4, 0, 0), Up: step("e")},
		{From: v(3, 2, 0), To: v(4, 0, 0), Up: step("f")},
	}
	kind := func(version savepoint.Version) savepoint.Kind[savepoint.Doc] {
		k := savepoint.DocKind("doc")
		k.Version = version
		return k
	}
	for from, want := range map[savepoint.Version]string{
		v(1, 0, 0): "ae", // as short as dc, and 2.0.0 is older than 3.0.0
		v(1, 5, 0): "",   // no migration begins there, and none behind it in 1
		v(2, 0, 0): "e",
		v(3, 0, 0): "c",
		v(3, 1, 0): "f",
		v(4, 0, 0): "",
	} {
		for range 3 {
			place := somewhere(t)
			use(t, place, kind(from), func(s *savepoint.Store[savepoint.Doc]) {
				_, err := s.Save(t.Context(), "x", savepoint.Doc{"way": ""})
				require.NoError(t, err)
			})
			k := kind(v(4, 1, 0))
			k.Migrations = list
			slices.Reverse(list)
			if from == v(1, 5, 0) {
				path, o := place(savepoint.Options{})
				_, err := savepoint.Register(open(t, path, o), k)
				require.ErrorContains(t, err, "1.5.0")
				continue
			}
			use(t, place, k, func(s *savepoint.Store[savepoint.Doc]) {
				st, err := s.Load(t.Context(), "x")
				require.NoError(t, err)
				assert.Equal(t, want, st.Value["way"], "from %s", from) // row F2: the shortest, and always the same
			})
		}
	}
}
