package savepointtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/codec"
)

// UpdateVariable is the environment variable that, if it is not empty, makes Golden
// write the file of the kind's version.
const UpdateVariable = "SAVEPOINT_UPDATE"

// goldenDir is the directory of the files, relative to that of the test.
var goldenDir = filepath.Join("testdata", "savepoint")

// Golden compares what a kind stores with the files testdata/savepoint/KIND-VERSION.json,
// one for each version that was ever used. It fails the test if
//
//   - a state or an event in one of them cannot be read any more, with the kind's
//     migrations or without, or loses a field: machines on disk would, too;
//   - a state or an event has another form than in the file of the kind's version,
//     though all data in the file is still read: raise Kind.Version, or run the test
//     with SAVEPOINT_UPDATE=1 if nothing was stored with this version yet;
//   - there is no file for the kind's version: run the test with SAVEPOINT_UPDATE=1,
//     and keep the file together with the test.
//
// The files hold a state and one event of each name with all fields set to made-up
// values. An event among samples is used instead of the made-up one of its type; a
// type whose encoding refuses made-up values needs one.
func Golden[S any](t testing.TB, k savepoint.Kind[S], samples ...savepoint.Event[S]) {
	t.Helper()
	now, err := sample(k, samples)
	if err != nil {
		t.Errorf("savepointtest: golden %q: %v", k.Name, err)
		return
	}
	files, err := goldenFiles(k.Name)
	if err != nil {
		t.Errorf("savepointtest: golden %q: %v", k.Name, err)
		return
	}
	name := filepath.Join(goldenDir, goldenName(k.Name)+now.Version+".json")
	if os.Getenv(UpdateVariable) != "" {
		if err := now.write(name); err != nil {
			t.Errorf("savepointtest: golden %q: %v", k.Name, err)
			return
		}
		if !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	if !slices.Contains(files, name) {
		t.Errorf("savepointtest: golden %q: there is no %s: run the test with %s=1 and keep the file", k.Name, name, UpdateVariable)
	}
	for _, file := range files {
		old, err := readGolden(file)
		if err != nil {
			t.Errorf("savepointtest: golden %q: %v", k.Name, err)
			continue
		}
		lost := survives(k, old)
		for _, p := range lost {
			t.Errorf("savepointtest: golden %q: what version %s stored does not survive: %s (%s)", k.Name, old.Version, p, file)
		}
		if file != name || len(lost) > 0 {
			continue
		}
		for _, p := range old.differs(now) {
			t.Errorf("savepointtest: golden %q: %s. Old data can still be read: raise Kind.Version above %s, or run the test with %s=1 if nothing was stored with that version yet", k.Name, p, old.Version, UpdateVariable)
		}
	}
}

// golden is the contents of a file.
type golden struct {
	Kind    string
	Version string
	State   goldenValue
	Events  map[string]goldenValue
}

// goldenValue is one encoded value: its bytes, and its document for people
// to read.
type goldenValue struct {
	Document any
	Bytes    []byte
}

// goldenName returns the start of the names of a kind's files, which is a valid file
// name on every file system.
func goldenName(kind string) string {
	var b strings.Builder
	for _, c := range []byte(kind) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String() + "-"
}

// goldenFiles returns the files of a kind, in order.
func goldenFiles(kind string) (files []string, err error) {
	entries, err := os.ReadDir(goldenDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), goldenName(kind)) && strings.HasSuffix(e.Name(), ".json") {
			files = append(files, filepath.Join(goldenDir, e.Name()))
		}
	}
	return files, nil
}

func readGolden(name string) (*golden, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	g := &golden{}
	if err := json.Unmarshal(b, g); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return g, nil
}

func (g *golden) write(name string) error {
	b, err := json.MarshalIndent(g, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(goldenDir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o666)
}

// sample returns what the kind stores now.
func sample[S any](k savepoint.Kind[S], given []savepoint.Event[S]) (*golden, error) {
	version := k.Version
	if version == (savepoint.Version{}) {
		version = savepoint.V(1, 0, 0)
	}
	g := &golden{Kind: k.Name, Version: version.String(), Events: map[string]goldenValue{}}
	var err error
	if g.State, err = encoded(filled(reflect.TypeFor[S]())); err != nil {
		return nil, fmt.Errorf("the state: %w", err)
	}
	for name, proto := range k.Events {
		typ := reflect.TypeOf(proto)
		v := filled(typ)
		for _, ev := range given {
			if reflect.TypeOf(ev) == typ {
				v = reflect.ValueOf(ev)
			}
		}
		if g.Events[name], err = encoded(v); err != nil {
			return nil, fmt.Errorf("event %q: %w: give one as a sample", name, err)
		}
	}
	return g, nil
}

func encoded(v reflect.Value) (g goldenValue, err error) {
	if g.Bytes, err = codec.Marshal(v.Interface()); err != nil {
		return g, err
	}
	doc, err := codec.Document(g.Bytes)
	if err != nil {
		return g, err
	}
	g.Document = readable(doc)
	return g, nil
}

// readable converts a document into one that can be encoded as JSON. It is never
// decoded.
func readable(doc any) any {
	switch v := doc.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = readable(e)
		}
		return out
	case map[int64]any:
		out := map[string]any{}
		for k, e := range v {
			out[strconv.FormatInt(k, 10)] = readable(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = readable(e)
		}
		return out
	}
	return doc
}

// differs returns the differences in form between the file and what the kind stores
// now.
func (g *golden) differs(now *golden) (problems []string) {
	note := func(what string, old, now goldenValue) {
		a, err := codec.Document(old.Bytes)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", what, err))
			return
		}
		b, err := codec.Document(now.Bytes)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", what, err))
			return
		}
		if !codec.Equal(a, b) {
			problems = append(problems, fmt.Sprintf("%s has another form: %s", what, strings.Join(codec.Diff(a, b, 5), ", ")))
		}
	}
	note("the state", g.State, now.State)
	for _, name := range slices.Sorted(maps.Keys(now.Events)) {
		if old, ok := g.Events[name]; ok {
			note(fmt.Sprintf("event %q", name), old, now.Events[name])
		} else {
			problems = append(problems, fmt.Sprintf("event %q is new", name))
		}
	}
	return problems
}
