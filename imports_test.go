package savepoint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	root    = "github.com/liap-tui/savepoint"
	bbolt   = "go.etcd.io/bbolt"
	msgpack = "github.com/vmihailenco/msgpack/v5"
	snappy  = "github.com/golang/snappy"
	testify = "github.com/stretchr/testify"
)

// rules is the table of allowed imports beyond the standard library: one way down, one door per
// dependency. A place is a root file, a package's directory or "dir/*" for all packages below dir; the
// first row that matches decides, and a package that no row matches is refused. An import that ends in
// "/*" allows all below it. Fix the code, not the table.
var rules = []rule{
	{"*.go", rootMay},
	{"engine", nil},
	{"engine/bolt", []string{root + "/engine", root + "/engine/bolt/internal/*", root + "/internal/format", root + "/internal/record", bbolt}},
	{"engine/bolt/internal/*", nil},
	{"engine/enginetest", list([]string{root + "/engine", root + "/internal/long"}, testify+"/*")},
	{"engine/*", []string{root + "/engine"}},
	{"internal/codec", []string{msgpack, msgpack + "/*"}},
	{"internal/record", []string{root + "/engine"}},
	{"internal/format", []string{root + "/engine", snappy}},
	{"internal/crashload", []string{root}},
	{"internal/*", nil},
	{"anomaly", nil},
	{"report", []string{root + "/anomaly"}},
	{"archive", []string{root + "/engine", root + "/internal/codec", root + "/internal/record"}},
	{"document", []string{root}},
	{"analysis", []string{root, root + "/report", root + "/internal/histogram"}},
	{"savepointtest", []string{root, root + "/archive", root + "/engine", root + "/engine/memory", root + "/internal/codec", root + "/internal/record"}},
	{"examples/*", []string{root, root + "/report", root + "/examples/*"}},
	{"cmd/*", []string{root}},
}

// testRules is the table for test files: what the package itself may import comes on top, and so do the
// package under test, the switch of the long tests and testify.
var testRules = []rule{
	{"*damage*_test.go", list(rootTestsMay, bbolt)},
	{"*.go", rootTestsMay},
	{"examples/*", []string{root + "/savepointtest"}},
	{"archive", []string{root, root + "/document"}},
	{"engine", []string{root + "/engine/*"}},
	{"engine/*", []string{root + "/engine/*", bbolt}},
	{"engine/bolt/internal/*", []string{bbolt}},
	{"internal/pagecheck", []string{bbolt}},
	{"*", nil},
}

var (
	rootMay = []string{
		root + "/anomaly", root + "/archive", root + "/report", root + "/engine", root + "/engine/*",
		root + "/internal/queue", root + "/internal/record", root + "/internal/codec", root + "/internal/histogram", root + "/internal/parallel",
	}
	rootTestsMay = list(rootMay, root, root+"/document", root+"/examples/*", root+"/internal/crashload", root+"/internal/format")

	// requirements are the root module's direct ones: more need a reason in docs/.
	requirements = []string{bbolt, msgpack, snappy, testify}

	// vague says nothing about what is inside.
	vague = []string{"util", "utils", "common", "helper", "helpers", "type", "types", "base", "misc"}
)

// maxLines is the longest a file may be: one over 500 is usually two nouns, one over this always.
const maxLines = 600

type rule struct {
	place string
	may   []string
}

func list(some []string, more ...string) []string { return slices.Concat(some, more) }

// goFile is a Go file of the root module, testdata left out; its path is slash-separated from the root.
type goFile struct {
	path    string
	pkg     string
	imports []string
	lines   int
}

func (f goFile) dir() string  { return path.Dir(f.path) }
func (f goFile) test() bool   { return strings.HasSuffix(f.path, "_test.go") }
func (f goFile) inRoot() bool { return f.dir() == "." }

// allows returns whether the row of rs for f allows imp, and whether there is such a row.
func allows(rs []rule, f goFile, imp string) (allowed, found bool) {
	for _, r := range rs {
		if matches(r, f) {
			return slices.ContainsFunc(r.may, func(m string) bool { return m == imp || below(m, imp) }), true
		}
	}
	return false, false
}

func matches(r rule, f goFile) bool {
	if f.inRoot() || strings.HasSuffix(r.place, ".go") {
		ok, _ := path.Match(r.place, f.path)
		return ok && f.inRoot()
	}
	return r.place == "*" || r.place == f.dir() || below(r.place, f.dir())
}

// below reports whether pattern ends in "/*" and p lies below it.
func below(pattern, p string) bool {
	dir, ok := strings.CutSuffix(pattern, "*")
	return ok && strings.HasSuffix(dir, "/") && strings.HasPrefix(p, dir)
}

// row L3
func TestImports_Table(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imp := range f.imports {
			if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			ok, found := allows(rules, f, imp)
			if !f.test() {
				assert.True(t, found, "%s: the table in imports_test.go has no row for this package", f.path)
				assert.True(t, ok, "%s must not import %s (the table is in imports_test.go)", f.path, imp)
				continue
			}
			self := path.Join(root, f.dir())
			inTests, _ := allows(testRules, f, imp)
			ok = ok || inTests || imp == self || imp == root+"/internal/long" || imp == testify || below(testify+"/*", imp)
			assert.True(t, ok, "%s must not import %s, not even as a test (the table is in imports_test.go)", f.path, imp)
		}
	}
}

func TestImports_Names(t *testing.T) {
	for _, f := range goFiles(t) {
		names := append(strings.Split(f.dir(), "/"), stem(f.path), strings.TrimSuffix(f.pkg, "_test"))
		for _, n := range names {
			assert.False(t, slices.Contains(vague, n), "%s: the name %q says nothing about what is inside", f.path, n)
		}
	}
}

// stem is the file's name without what the go command reads from its end.
func stem(file string) string {
	n := strings.TrimSuffix(path.Base(file), ".go")
	for _, end := range []string{"_test", "_amd64", "_arm64", "_linux", "_darwin", "_windows", "_unix", "_other"} {
		n = strings.TrimSuffix(n, end)
	}
	return n
}

func TestImports_FileLength(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test() {
			assert.LessOrEqual(t, f.lines, maxLines, "%s is two nouns: give the second a file of its own", f.path)
		}
	}
}

func TestImports_Requirements(t *testing.T) {
	direct, indirect := goMod(t)
	used := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, imp := range f.imports {
			for _, r := range requirements {
				used[r] = used[r] || imp == r || below(r+"/*", imp)
			}
		}
	}
	for _, d := range direct {
		assert.Contains(t, requirements, d, "go.mod requires %s: a new dependency needs a reason in docs/", d)
	}
	for _, r := range requirements {
		if used[r] {
			assert.Contains(t, direct, r, "go.mod: run go mod tidy")
		} else {
			assert.Contains(t, slices.Concat(direct, indirect), r, "go.mod does not require %s", r)
		}
	}
}

// goMod reads the module paths that go.mod requires.
func goMod(t *testing.T) (direct, indirect []string) {
	t.Helper()
	text, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	block := false
	for line := range strings.Lines(string(text)) {
		code, comment, _ := strings.Cut(line, "//")
		words := strings.Fields(code)
		switch {
		case len(words) == 2 && words[1] == "(":
			block = words[0] == "require"
			continue
		case len(words) == 1 && words[0] == ")":
			block = false
			continue
		case len(words) == 3 && words[0] == "require":
			words = words[1:]
		case !block || len(words) != 2:
			continue
		}
		if strings.TrimSpace(comment) == "indirect" {
			indirect = append(indirect, words[0])
		} else {
			direct = append(direct, words[0])
		}
	}
	return direct, indirect
}

// goFiles parses the package clause and the imports of every Go file of the root module.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") || slices.Contains(strings.Split(name, "/"), "testdata") || inOtherModule(name) {
			return
		}
		text, err := os.ReadFile(filepath.FromSlash(name))
		require.NoError(t, err)
		parsed, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		require.NoError(t, err)
		files = append(files, goFile{
			path: name, pkg: parsed.Name.Name, imports: importPaths(parsed), lines: strings.Count(string(text), "\n"),
		})
	})
	require.NotEmpty(t, files)
	return files
}

func importPaths(f *ast.File) []string {
	set := map[string]bool{}
	for _, s := range f.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err == nil {
			set[p] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// inOtherModule reports whether a directory above the file, short of the root, has a go.mod of its own.
func inOtherModule(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(filepath.FromSlash(dir), "go.mod")); err == nil {
			return true
		}
	}
	return false
}

// walk calls fn with the slash-separated path of every file of the tree that make did not build and git
// does not own.
func walk(t *testing.T, fn func(name string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin" || name == "_artifacts"):
			return filepath.SkipDir
		case !d.IsDir():
			fn(filepath.ToSlash(name))
		}
		return nil
	})
	require.NoError(t, err)
}
