package savepointtest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/savepointtest"
)

// failures is a testing.TB that collects errors.
type failures struct {
	testing.TB
	told []string
}

func (f *failures) Helper() {}

func (f *failures) Errorf(format string, args ...any) {
	f.told = append(f.told, fmt.Sprintf(format, args...))
}

// errorsOf runs check and returns the errors that it reports.
func errorsOf(t *testing.T, check func(t testing.TB)) string {
	t.Helper()
	f := &failures{TB: t}
	check(f)
	return strings.Join(f.told, "\n")
}

type hand struct {
	Cards map[int][]string
	Score float64
	Since time.Time
	Extra any
	Next  *hand
}

func (h *hand) phase() string { return h.Cards[0][0] } // panics on what is made up

type dealt struct {
	Seats []string
	Left  [2]uint8
}

func (e dealt) Apply(h *hand, _ savepoint.Meta) error {
	h.Cards = map[int][]string{0: e.Seats}
	return nil
}

type played struct{ Seat int }

func (e *played) Apply(h *hand, _ savepoint.Meta) error { h.Score += float64(e.Seat); return nil }

func handKind() savepoint.Kind[hand] {
	return savepoint.Kind[hand]{Name: "hand", Events: savepoint.Events[hand]{"dealt": dealt{}, "played": &played{}},
		Phase: (*hand).phase, Validate: func(h *hand) error { return errors.New("never valid") }}
}

func golden[S any](k savepoint.Kind[S], samples ...savepoint.Event[S]) func(testing.TB) {
	return func(t testing.TB) { savepointtest.Golden(t, k, samples...) }
}

// written changes to a directory with the golden file of handKind.
func written(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv(savepointtest.UpdateVariable, "1")
	require.Empty(t, errorsOf(t, golden(handKind())))
	t.Setenv(savepointtest.UpdateVariable, "")
	require.Empty(t, errorsOf(t, golden(handKind())))
}

func TestGolden_FileIsNeededAndReadable(t *testing.T) {
	t.Chdir(t.TempDir())
	assert.Contains(t, errorsOf(t, golden(handKind())), "SAVEPOINT_UPDATE=1")
	written(t)
	text, err := os.ReadFile(filepath.Join("testdata", "savepoint", "hand-1.0.0.json"))
	require.NoError(t, err)
	assert.Contains(t, string(text), `"Since": "2026-01-02T03:04:05.000006Z"`)
	require.NoError(t, os.WriteFile(filepath.Join("testdata", "savepoint", "hand-1.0.0.json"), text[:100], 0o666))
	assert.Contains(t, errorsOf(t, golden(handKind())), "unexpected end")
}

// The types of a later program.
type (
	dealt2 struct{ Seats []string }
	dealt3 struct{ Seats string }
	dealt4 struct {
		Seats []string
		Left  [2]uint8
		Round int
	}
	played2 struct{ Place int }
)

func (e dealt2) Apply(*hand, savepoint.Meta) error  { return nil }
func (e dealt3) Apply(*hand, savepoint.Meta) error  { return nil }
func (e dealt4) Apply(*hand, savepoint.Meta) error  { return nil }
func (e played2) Apply(*hand, savepoint.Meta) error { return nil }

// row F13.
func TestGolden_ChangesThatOldDataCannotSurvive(t *testing.T) {
	for what, events := range map[string]savepoint.Events[hand]{
		`"dealt" loses Left`: {"dealt": dealt2{}, "played": &played{}},
		`event "dealt": `:    {"dealt": dealt3{}, "played": &played{}},
		"loses Seat":         {"dealt": dealt{}, "played": played2{}},
		`no event "played"`:  {"dealt": dealt{}},
	} {
		written(t)
		k := handKind()
		k.Events = events
		assert.Contains(t, errorsOf(t, golden(k)), what)
		assert.Contains(t, errorsOf(t, golden(k)), "does not survive", "row F13") // row F13
		k.Version = savepoint.V(1, 1, 0)                                          // raising the version does not help
		assert.Contains(t, errorsOf(t, golden(k)), "does not survive")
		t.Setenv(savepointtest.UpdateVariable, "1") // nor does writing the file of the new version
		assert.Contains(t, errorsOf(t, golden(k)), "does not survive")
	}
}

type score struct{ Points, Rounds int }

type scored struct{ By int }

func (e scored) Apply(s *score, _ savepoint.Meta) error { s.Points += e.By; return nil }

type total struct{ Points int }

type totalled struct{ By int }

func (e totalled) Apply(s *total, _ savepoint.Meta) error { s.Points += e.By; return nil }

func TestGolden_States(t *testing.T) {
	t.Chdir(t.TempDir())
	old := savepoint.Kind[score]{Name: "Score/1", Events: savepoint.Events[score]{"scored": scored{}}}
	t.Setenv(savepointtest.UpdateVariable, "1")
	require.Empty(t, errorsOf(t, golden(old)))
	t.Setenv(savepointtest.UpdateVariable, "")
	now := savepoint.Kind[total]{Name: "Score/1", Events: savepoint.Events[total]{"scored": totalled{}}}
	assert.Contains(t, errorsOf(t, golden(now)), "the state loses Rounds")

	// With a migration the change is intended.
	now.Version = savepoint.V(2, 0, 0)
	now.Migrations = []savepoint.Migration{{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0), Up: func(d savepoint.Doc) (savepoint.Doc, error) {
		delete(d, "Rounds")
		return d, nil
	}}}
	assert.Contains(t, errorsOf(t, golden(now)), "there is no")
	t.Setenv(savepointtest.UpdateVariable, "1")
	assert.Empty(t, errorsOf(t, golden(now)))
	t.Setenv(savepointtest.UpdateVariable, "")
	assert.Empty(t, errorsOf(t, golden(now)))
	now.Migrations[0].Up = func(savepoint.Doc) (savepoint.Doc, error) { panic("oh") }
	assert.Contains(t, errorsOf(t, golden(now)), "version 1.0.0 stored does not survive")
	now.Migrations = nil
	assert.Contains(t, errorsOf(t, golden(now)), "does not survive")
	assert.Contains(t, errorsOf(t, golden(old)), "version 2.0.0 stored does not survive", "the file is newer")
}

func TestGolden_ChangesThatSurvive(t *testing.T) {
	written(t)
	k := handKind()
	k.Events["dealt"] = dealt4{}
	text := errorsOf(t, golden(k))
	assert.Contains(t, text, `event "dealt" has another form: Round`)
	assert.Contains(t, text, "raise Kind.Version above 1.0.0")
	assert.NotContains(t, text, "does not survive")
	k = handKind()
	k.Events["passed"] = played2{}
	assert.Contains(t, errorsOf(t, golden(k)), `event "passed" is new`)
	k.Version = savepoint.V(1, 1, 0)
	t.Setenv(savepointtest.UpdateVariable, "1")
	assert.Empty(t, errorsOf(t, golden(k)))
	t.Setenv(savepointtest.UpdateVariable, "")
	assert.Empty(t, errorsOf(t, golden(k)))
}

// picky refuses to encode made-up values.
type picky struct{ Suit string }

func (p picky) MarshalText() ([]byte, error) {
	if p.Suit != "hearts" {
		return nil, errors.New("no such suit")
	}
	return []byte(p.Suit), nil
}

func (p *picky) UnmarshalText(b []byte) error { p.Suit = string(b); return nil }

type chosen struct{ Suit picky }

func (chosen) Apply(*score, savepoint.Meta) error { return nil }

func TestGolden_Samples(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv(savepointtest.UpdateVariable, "1")
	k := savepoint.Kind[score]{Name: "picky", Events: savepoint.Events[score]{"chosen": chosen{}}}
	assert.Contains(t, errorsOf(t, golden(k)), "give one as a sample")
	assert.Empty(t, errorsOf(t, golden[score](k, chosen{picky{"hearts"}})))
}
