package savepoint_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requirementTables is how many rows each table of docs/requirements.md has, 161 in all.
var requirementTables = []struct {
	letter string
	rows   int
}{
	{"A", 13}, {"B", 19}, {"C", 19}, {"D", 19}, {"E", 12}, {"F", 20},
	{"G", 20}, {"H", 8}, {"I", 9}, {"J", 8}, {"K", 5}, {"L", 9},
}

func TestDocs_Requirements(t *testing.T) {
	var want []string
	for _, table := range requirementTables {
		for i := range table.rows {
			want = append(want, fmt.Sprint(table.letter, i+1))
		}
	}
	require.Len(t, want, 161)

	tests := testNames(t)
	var got []string
	for _, line := range prose(t, "docs/requirements.md") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| id ") || strings.HasPrefix(line, "|-") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !assert.Len(t, cells, 4, "four columns: %s", line) {
			continue
		}
		for i, c := range cells {
			cells[i] = strings.TrimSpace(c)
		}
		id, where, proof, state := cells[0], items(cells[1]), items(cells[2]), cells[3]
		got = append(got, id)
		assert.Contains(t, []string{"done", "open", "part"}, state, "state of %s", id)
		if state != "done" {
			continue
		}
		assert.NotEmpty(t, where, "%s is done: where does it live?", id)
		assert.NotEmpty(t, proof, "%s is done: which test proves it?", id)
		for _, w := range where {
			file := strings.Fields(w)[0] // words may follow the path
			assert.True(t, exists(file), "%s is done, and %q is no path of the tree", id, file)
		}
		for _, p := range proof {
			if assert.True(t, tests.has(p), "%s is done, and there is no test %q", id, p) {
				assert.True(t, tests.marked(p, id), "%s is done by %s, whose doc comment has no line \"// row %s\" (or \"// rows ...\" with it)", id, p, id)
			}
		}
	}
	assert.Equal(t, want, got, "the rows, in order and once each")
}

// items splits a cell at its commas, without the backquotes.
func items(cell string) []string {
	var out []string
	for s := range strings.SplitSeq(strings.ReplaceAll(cell, "`", ""), ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// testFuncs maps the name of each test, fuzz target and example to its declarations.
type testFuncs map[string][]testFunc

// testFunc is where a test is declared, and the rows of docs/requirements.md that its doc comment names.
type testFunc struct {
	dir  string
	rows []string
}

// has reports whether the test name exists. The name of a subtest must be in a test file of the same
// directory, as it is or with blanks, or be a file in its testdata: that is as far as reading goes.
func (f testFuncs) has(name string) bool {
	name, sub, isSub := strings.Cut(name, "/")
	if !isSub {
		return len(f[name]) > 0
	}
	return slices.ContainsFunc(f[name], func(d testFunc) bool { return hasSubtest(d.dir, sub) })
}

// marked reports whether the doc comment of the test, or of the test that a subtest is part of, names the row.
func (f testFuncs) marked(name, row string) bool {
	name, _, _ = strings.Cut(name, "/")
	return slices.ContainsFunc(f[name], func(d testFunc) bool { return slices.Contains(d.rows, row) })
}

func hasSubtest(dir, sub string) bool {
	if files, _ := filepath.Glob(filepath.Join(dir, "testdata", "*", sub+"*")); len(files) > 0 {
		return true
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && (bytes.Contains(text, []byte(`"`+sub+`"`)) ||
			bytes.Contains(text, []byte(`"`+strings.ReplaceAll(sub, "_", " ")+`"`)))
	})
}

// testNames reads the tests of every module of the tree.
func testNames(t *testing.T) testFuncs {
	t.Helper()
	isTest := regexp.MustCompile(`^(?:Test|Fuzz|Example)`)
	names := testFuncs{}
	walk(t, func(name string) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(name), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && isTest.MatchString(d.Name.Name) {
				names[d.Name.Name] = append(names[d.Name.Name], testFunc{path.Dir(name), rowsOf(d.Doc)})
			}
		}
	})
	return names
}

var rowMark = regexp.MustCompile(`^// rows? ([A-L][0-9]+(?:, [A-L][0-9]+)*)\.?$`)

// rowsOf lists the rows in the lines of a doc comment that have the form "// row A1" or "// rows A1, B2".
func rowsOf(doc *ast.CommentGroup) []string {
	var rows []string
	if doc != nil {
		for _, c := range doc.List {
			if m := rowMark.FindStringSubmatch(c.Text); m != nil {
				rows = append(rows, strings.Split(m[1], ", ")...)
			}
		}
	}
	return rows
}

func TestDocs_RowMarks(t *testing.T) {
	for text, want := range map[string][]string{
		"// row A1":                {"A1"},
		"// row A1.":               {"A1"},
		"// rows A1, L19.":         {"A1", "L19"},
		"// T: does.\n// row B2":   {"B2"},
		"// row A1: and why":       nil,
		"// the row A1":            nil,
		"//row A1":                 nil,
		"// rows A1 and B2":        nil,
		"// row A1\n//\n// row C3": {"A1", "C3"},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "p_test.go", "package p\n"+text+"\nfunc TestT() {\n\t// row K1\n}\n", parser.ParseComments)
		require.NoError(t, err)
		assert.Equal(t, want, rowsOf(file.Decls[0].(*ast.FuncDecl).Doc), text)
	}
}

// A code block in a document that comes from the tree has a line above it that says from where:
//
//	<!-- from: examples/quickstart/main.go -->              the whole file
//	<!-- from: example_test.go ExampleStore_Append -->      what is inside the example, without its output
//	<!-- from: example_test.go Played Played.Check -->      declarations, with a blank line between them
var fromMarker = regexp.MustCompile(`^<!-- from: (\S+)((?: [\w.]+)*) -->$`)

func TestDocs_CodeBlocks(t *testing.T) {
	if !exists("README.md") {
		t.Skip("there is no README.md yet")
	}
	for _, doc := range markdown(t) {
		marker, fence, block := "", "", []string(nil)
		for line := range strings.SplitSeq(read(t, doc), "\n") {
			line = strings.TrimRight(line, "\r")
			switch {
			case fence == "" && strings.HasPrefix(line, "```"):
				fence, block = line, nil
				assert.False(t, doc == "README.md" && line == "```go" && marker == "",
					"README.md: a Go block needs a line <!-- from: file [names] --> above it")
			case fence == "" && strings.HasPrefix(line, "<!-- from:"):
				assert.Regexp(t, fromMarker, line, doc)
				marker = line
			case fence == "":
				assert.True(t, marker == "" || strings.TrimSpace(line) == "", "%s: no code block follows %s", doc, marker)
			case line == "```":
				if m := fromMarker.FindStringSubmatch(marker); m != nil {
					want, err := source(m[1], strings.Fields(m[2]))
					if assert.NoError(t, err, "%s: %s", doc, marker) {
						assert.Equal(t, want, strings.TrimSpace(strings.Join(block, "\n")), "%s: %s", doc, marker)
					}
				}
				fence, marker = "", ""
			default:
				block = append(block, line)
			}
		}
		assert.Empty(t, fence, "%s: a code block does not end", doc)
		assert.Empty(t, marker, "%s: no code block follows", doc)
	}
}

// source is the text of a file, or of the declarations in it.
func source(file string, names []string) (string, error) {
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil || len(names) == 0 {
		return strings.TrimSpace(string(text)), err
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	var parts []string
	for _, name := range names {
		i := slices.IndexFunc(parsed.Decls, func(d ast.Decl) bool { return slices.Contains(declares(d), name) })
		if i < 0 {
			return "", fmt.Errorf("%s declares no %s", file, name)
		}
		at := func(p token.Pos) int { return fset.Position(p).Offset }
		switch d := parsed.Decls[i].(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && strings.HasPrefix(name, "Example") {
				parts = append(parts, exampleBody(string(text[at(d.Body.Lbrace)+1:at(d.Body.Rbrace)])))
				continue
			}
			parts = append(parts, string(text[at(start(d, d.Doc)):at(d.End())]))
		case *ast.GenDecl:
			parts = append(parts, string(text[at(start(d, d.Doc)):at(d.End())]))
		}
	}
	return strings.TrimSpace(strings.Join(parts, "\n\n")), nil
}

func start(d ast.Decl, doc *ast.CommentGroup) token.Pos {
	if doc != nil {
		return doc.Pos()
	}
	return d.Pos()
}

// declares lists the names of a declaration: F, T.Method, types, variables and constants.
func declares(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		recv := d.Recv.List[0].Type
		for {
			switch r := recv.(type) {
			case *ast.StarExpr:
				recv = r.X
				continue
			case *ast.IndexExpr:
				recv = r.X
				continue
			case *ast.Ident:
				return []string{r.Name + "." + d.Name.Name}
			}
			return nil
		}
	case *ast.GenDecl:
		var names []string
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
		return names
	}
	return nil
}

var exampleOutput = regexp.MustCompile(`(?mi)^\s*// (unordered )?output:`)

// exampleBody takes the output and one level of indentation off.
func exampleBody(body string) string {
	if at := exampleOutput.FindStringIndex(body); at != nil {
		body = body[:at[0]]
	}
	if out, err := format.Source([]byte(strings.TrimSpace(body))); err == nil {
		return strings.TrimSpace(string(out))
	}
	return strings.TrimSpace(strings.ReplaceAll(body, "\n\t", "\n"))
}

var (
	inlineLink  = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)`)
	refLink     = regexp.MustCompile(`^\s{0,3}\[[^\]]+\]:\s*<?([^\s>]+)`)
	htmlLink    = regexp.MustCompile(`(?:href|src)="([^"]+)"`)
	scheme      = regexp.MustCompile(`^([a-z][a-z0-9+.-]*:|//)`)
	inlineCode  = regexp.MustCompile("`[^`]*`")
	lineNumber  = regexp.MustCompile(`\.(?:go|md|mod|sh|py|json|txt|script):[0-9]+\b|#L[0-9]+|(?i:\blines? [0-9]+)`)
	headingLine = regexp.MustCompile(`^#{1,6} +(.*?) *#*$`)
)

func TestDocs_Links(t *testing.T) {
	for _, doc := range markdown(t) {
		for _, line := range prose(t, doc) {
			line = inlineCode.ReplaceAllString(line, "``")
			for _, re := range []*regexp.Regexp{inlineLink, refLink, htmlLink} {
				for _, m := range re.FindAllStringSubmatch(line, -1) {
					if !scheme.MatchString(m[1]) {
						assert.NoError(t, checkLink(t, doc, m[1]), "%s: link to %s", doc, m[1])
					}
				}
			}
		}
	}
}

// checkLink finds the file and the heading that a relative link in doc leads to.
func checkLink(t *testing.T, doc, link string) error {
	file, anchor, _ := strings.Cut(link, "#")
	file, err := url.PathUnescape(file)
	if err != nil {
		return err
	}
	target := doc
	switch {
	case strings.HasPrefix(file, "/"):
		return fmt.Errorf("not relative")
	case file != "":
		target = path.Join(path.Dir(doc), file)
	}
	if target == ".." || strings.HasPrefix(target, "../") {
		return fmt.Errorf("leads out of the repository")
	}
	if !exists(target) {
		return fmt.Errorf("there is no %s", target)
	}
	if anchor == "" || path.Ext(target) != ".md" {
		return nil
	}
	if !slices.Contains(anchors(t, target), anchor) {
		return fmt.Errorf("%s has no heading #%s", target, anchor)
	}
	return nil
}

// anchors returns the names that links to the headings of a document use.
func anchors(t *testing.T, doc string) []string {
	var names []string
	seen := map[string]int{}
	for _, line := range prose(t, doc) {
		m := headingLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		seen[name]++
		if n := seen[name]; n > 1 {
			name = fmt.Sprintf("%s-%d", name, n-1)
		}
		names = append(names, name)
	}
	return names
}

func TestDocs_NoLineNumbers(t *testing.T) {
	for _, doc := range markdown(t) {
		for line := range strings.Lines(read(t, doc)) {
			assert.NotRegexp(t, lineNumber, line, "%s: lines move, names stay", doc)
		}
	}
}

func TestDocs_NoForeignPaths(t *testing.T) {
	workplace, beside := "/"+"work/", "../"+"shared"
	for _, name := range tracked(t) {
		text, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			continue // deleted and not yet committed
		}
		assert.False(t, bytes.Contains(text, []byte(workplace)), "%s contains %s, a path of one machine", name, workplace)
		if name != "Makefile" && name != "docs/TESTING.md" && !strings.HasSuffix(name, "_test.go") {
			assert.False(t, bytes.Contains(text, []byte(beside)), "%s contains %s: only tests may look for optional data there", name, beside)
		}
	}
}

// tracked lists the files that git knows or would add; every file, where there is no git.
func tracked(t *testing.T) []string {
	t.Helper()
	if out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output(); err == nil && len(out) > 0 {
		return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	}
	var files []string
	walk(t, func(name string) { files = append(files, name) })
	return files
}

// markdown lists the documents of the tree, testdata left out.
func markdown(t *testing.T) []string {
	t.Helper()
	var docs []string
	walk(t, func(name string) {
		if path.Ext(name) == ".md" && !slices.Contains(strings.Split(name, "/"), "testdata") {
			docs = append(docs, name)
		}
	})
	require.NotEmpty(t, docs)
	return docs
}

// prose returns the lines of a document that are not in a code block.
func prose(t *testing.T, doc string) []string {
	t.Helper()
	var lines []string
	code := false
	for line := range strings.SplitSeq(read(t, doc), "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		} else if !code {
			lines = append(lines, line)
		}
	}
	return lines
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(name))
	require.NoError(t, err)
	return string(text)
}

func exists(name string) bool {
	_, err := os.Stat(filepath.FromSlash(name))
	return filepath.IsLocal(filepath.FromSlash(name)) && err == nil
}
