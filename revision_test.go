package savepoint_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
)

// TestRevisions_Names names the revisions in all four ways, with clocks that stop and jump: each revision is found by its name
// and by its number, after reopening too.
// row B5, F12, F16
func TestRevisions_Names(t *testing.T) {
	saves := []savepoint.Doc{
		{"a": 1}, {"a": 2}, {"a": 2, "b": map[string]any{"x": 1}}, {"a": 2, "b": map[string]any{"x": 2}}, {"a": 2, "b": map[string]any{"y": 2}}, {"a": 1},
	}
	start := "2026-01-01T12:00:"
	for naming, want := range map[savepoint.RevisionNaming][]string{
		savepoint.SequentialRevisions: {"", "", "", "", "", ""},
		savepoint.SemanticRevisions:   {"1.0.0", "1.0.1", "1.1.0", "1.1.1", "1.2.0", "1.3.0"},
		// the clock moves on, stops, and jumps a year back
		savepoint.TimestampRevisions: {start + "01.000000Z", start + "02.000000Z", start + "02.000001Z", start + "02.000002Z", start + "02.000003Z", start + "02.000004Z"},
		savepoint.HashedRevisions:    nil,
	} {
		onEachPlace(t, func(t *testing.T, place place) {
			ctx := t.Context()
			c := newClock()
			k := document.Kind("doc")
			k.Strategy, k.Revisions, k.Snapshot.Keep = savepoint.Versioned, naming, 1
			names := map[string]int{}
			useWith(t, place, savepoint.Options{Now: c.Now}, k, func(s *savepoint.Store[savepoint.Doc]) {
				for i, d := range saves {
					switch {
					case i < 2:
						c.turn(time.Second)
					case i == 3:
						c.turn(-365 * 24 * time.Hour)
					}
					h, err := s.Save(ctx, "d", d)
					require.NoError(t, err)
					assert.EqualValues(t, i+1, h.Revision)
					if want != nil {
						assert.Equal(t, want[i], h.RevisionName)
					} else {
						assert.Regexp(t, "^[0-9a-f]{32}$", h.RevisionName)
					}
					name := h.RevisionName
					if name == "" {
						name = fmt.Sprint(i + 1)
					}
					names[name] = i
				}
			})
			if naming == savepoint.HashedRevisions {
				assert.Len(t, names, 5, "the same content has the same name")
			} else {
				assert.Len(t, names, 6)
			}
			useWith(t, place, savepoint.Options{Now: c.Now}, k, func(s *savepoint.Store[savepoint.Doc]) {
				for name, i := range names { // each revision is found by name and by number
					st, err := s.At(ctx, "d", savepoint.AtRevisionName(name))
					require.NoError(t, err, name)
					assert.EqualValues(t, i+1, st.Revision)
					byNumber, err := s.At(ctx, "d", savepoint.AtRevision(uint64(i+1)))
					require.NoError(t, err)
					assert.Equal(t, st, byNumber)
					assert.EqualValues(t, saves[i]["a"], st.Value["a"])
				}
				_, err := s.At(ctx, "d", savepoint.AtRevisionName("7.7.7"))
				require.ErrorIs(t, err, savepoint.ErrNoPoint)
				require.ErrorContains(t, err, `revision "7.7.7"`)
				if h, err := s.Load(ctx, "d"); naming == savepoint.SemanticRevisions {
					require.NoError(t, err)
					assert.Equal(t, "1.3.0", h.RevisionName)
				}
				f, err := s.Fork(ctx, "d", savepoint.Latest(), "e")
				require.NoError(t, err)
				assert.EqualValues(t, 6, f.Revision)
			})
		})
	}
}

// TestRevisions_HashIsOfTheContent checks that equal states have the same name, in whatever order their maps are encoded.
// row F12
func TestRevisions_HashIsOfTheContent(t *testing.T) {
	ctx := t.Context()
	k := tableKind()
	k.Legal, k.Strategy, k.Revisions = nil, savepoint.Versioned, savepoint.HashedRevisions
	s, err := savepoint.Register(open(t, savepoint.Memory, nil), k)
	require.NoError(t, err)
	names := map[string]bool{}
	for i := range 20 { // the order of a map is another one each time
		v := table{Phase: "turn", Scores: map[string]int{}, Hands: map[int][]string{}}
		for j := range 20 {
			v.Scores[fmt.Sprint(i, j)[len(fmt.Sprint(i)):]], v.Hands[j] = j, []string{"7H"}
		}
		h, err := s.Save(ctx, "g", v)
		require.NoError(t, err)
		names[h.RevisionName] = true
	}
	assert.Len(t, names, 1)
	h, err := s.Save(ctx, "g", table{Phase: "turn"})
	require.NoError(t, err)
	assert.NotContains(t, names, h.RevisionName)
}

// TestRevisions_MajorIsTheKinds takes the major number of a revision's name from the kind's version.
// row F12
func TestRevisions_MajorIsTheKinds(t *testing.T) {
	ctx := t.Context()
	place := somewhere(t)
	k := duelKindV1(savepoint.Versioned)
	k.Revisions = savepoint.SemanticRevisions
	use(t, place, k, func(s *savepoint.Store[duelV1]) {
		for range 2 {
			_, err := s.Save(ctx, "d", duelV1{Phase: "turn"})
			require.NoError(t, err)
		}
	})
	k2 := duelKind(savepoint.Versioned)
	k2.Revisions = savepoint.SemanticRevisions
	use(t, place, k2, func(s *savepoint.Store[duel]) {
		h, err := s.Save(ctx, "d", duel{Phase: "playing"})
		require.NoError(t, err)
		assert.Equal(t, "2.0.0", h.RevisionName)
		st, err := s.At(ctx, "d", savepoint.AtRevisionName("1.0.1"))
		require.NoError(t, err)
		assert.True(t, st.Upcast)
		assert.Equal(t, "playing", st.Phase)
	})
}
