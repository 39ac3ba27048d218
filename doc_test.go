package savepoint_test

import (
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documented parses the package, its examples too.
func documented(t *testing.T) *doc.Package {
	t.Helper()
	set := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(set, files, root)
	require.NoError(t, err)
	return p
}

// The package doc links to names that exist, every section has names with an example, and the glossary has 15
// words at most.
func TestDoc_Package(t *testing.T) {
	p := documented(t)
	names, examples := map[string]bool{}, map[string]bool{}
	for _, ex := range p.Examples {
		examples[ex.Name] = true
	}
	funcs := func(fs []*doc.Func) {
		for _, f := range fs {
			name := strings.TrimPrefix(strings.Split(strings.TrimPrefix(f.Recv, "*"), "[")[0]+"."+f.Name, ".")
			names[name] = true
			examples[name] = examples[name] || len(f.Examples) > 0
		}
	}
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			for _, name := range v.Names {
				names[name] = true
			}
		}
	}
	funcs(p.Funcs)
	values(p.Consts)
	values(p.Vars)
	for _, typ := range p.Types {
		names[typ.Name] = true
		examples[typ.Name] = len(typ.Examples) > 0
		funcs(typ.Funcs)
		funcs(typ.Methods)
		values(typ.Consts)
		values(typ.Vars)
	}

	shown, section, words := map[string]bool{}, "", 0
	var sections []string
	for _, block := range p.Parser().Parse(p.Doc).Content {
		switch b := block.(type) {
		case *comment.Heading:
			section = string(b.Text[0].(comment.Plain))
			sections = append(sections, section)
		case *comment.List:
			require.Equal(t, "Words", section)
			words = len(b.Items)
		case *comment.Paragraph:
			for _, text := range b.Text {
				if link, ok := text.(*comment.DocLink); ok {
					name := strings.TrimPrefix(link.Recv+"."+link.Name, ".")
					assert.True(t, names[name], "%s is not a name of the package", name)
					shown[section] = shown[section] || examples[name]
				}
			}
		}
	}
	assert.Equal(t, []string{"Words", "Open", "Define a kind", "Append", "Read", "Time travel", "Recover", "Migrate", "Query", "Watch", "Operate"}, sections)
	for _, s := range sections[1:] {
		assert.True(t, shown[s], "section %q: no name in it has an example", s)
	}
	assert.True(t, examples["Register"], "the package doc promises it")
	assert.LessOrEqual(t, words, 15)
	assert.NotZero(t, words)
}

// Every example has an output, so that it runs; there are at least 25 of the root and its packages.
func TestDoc_Examples(t *testing.T) {
	n := 0
	require.NoError(t, filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") || strings.Contains(filepath.ToSlash(name), "testdata/") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, ex := range doc.Examples(f) {
			n++
			assert.True(t, ex.Output != "" || ex.EmptyOutput, "%s: Example%s has no output", path.Clean(filepath.ToSlash(name)), ex.Name)
		}
		return nil
	}))
	assert.GreaterOrEqual(t, n, 25)
}
