package savepoint_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The limits of the house. A limit may be lowered when the tree is below it, and is never raised.
const (
	maxRootFiles   = 48  // Go files of the root, tests not counted
	maxRootNames   = 200 // exported constants, variables, functions, types and methods of the root
	maxFuncLines   = 80  // from the line of func to the closing brace
	maxFields      = 20  // of a struct, unless its doc comment has a line that starts with "Fields:"
	maxParams      = 5   // of a function, the receiver and a context not counted
	maxMethodFiles = 3   // with methods of one type
)

// facades are the types whose methods may be in more than maxMethodFiles files, with the reason.
var facades = map[string]string{
	"DB":    "the facade of everything that concerns all machines: each feature's file has its verbs",
	"Store": "the facade of everything that concerns the machines of a kind: each feature's file has its verbs",
}

// houseFile is a parsed file of the packages that the house test reads.
type houseFile struct {
	goFile
	fset *token.FileSet
	tree *ast.File
}

// houseFiles parses the files besides tests of the module, examples not among them.
func houseFiles(t *testing.T) []houseFile {
	t.Helper()
	var files []houseFile
	for _, f := range goFiles(t) {
		if f.test() || strings.HasPrefix(f.path, "examples/") {
			continue
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, filepath.FromSlash(f.path), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, houseFile{f, fset, tree})
	}
	return files
}

func (f houseFile) lines(n ast.Node) int {
	return f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
}

// eachFunc calls fn with each function and method of the files, and the name of its receiver's type or "".
func eachFunc(files []houseFile, fn func(f houseFile, recv string, d *ast.FuncDecl)) {
	for _, f := range files {
		for _, decl := range f.tree.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok {
				recv := ""
				if names := declares(d); d.Recv != nil && len(names) == 1 {
					recv, _, _ = strings.Cut(names[0], ".")
				}
				fn(f, recv, d)
			}
		}
	}
}

func TestHouse_RootFiles(t *testing.T) {
	n := 0
	for _, f := range houseFiles(t) {
		if f.inRoot() {
			n++
		}
	}
	assert.LessOrEqual(t, n, maxRootFiles, "files besides tests in the root")
}

// TestHouse_RootNames counts what a user's page of documentation lists, with methods and without fields.
func TestHouse_RootNames(t *testing.T) {
	assert.LessOrEqual(t, len(rootNames(t)), maxRootNames, "exported names of the root: %s", strings.Join(rootNames(t), " "))
}

func rootNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, f := range houseFiles(t) {
		for _, d := range f.tree.Decls {
			if !f.inRoot() {
				continue
			}
			for _, name := range declares(d) {
				recv, method, isMethod := strings.Cut(name, ".")
				if ast.IsExported(recv) && (!isMethod || ast.IsExported(method)) {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

func TestHouse_FunctionLength(t *testing.T) {
	eachFunc(houseFiles(t), func(f houseFile, recv string, d *ast.FuncDecl) {
		assert.LessOrEqual(t, f.lines(d), maxFuncLines, "%s: lines of %s %s", f.path, recv, d.Name)
	})
}

func TestHouse_Parameters(t *testing.T) {
	eachFunc(houseFiles(t), func(f houseFile, recv string, d *ast.FuncDecl) {
		n := 0
		for _, p := range d.Type.Params.List {
			if s, ok := p.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Context" {
				continue
			}
			n += max(1, len(p.Names))
		}
		assert.LessOrEqual(t, n, maxParams, "%s: parameters of %s %s", f.path, recv, d.Name)
	})
}

func TestHouse_Fields(t *testing.T) {
	for _, f := range houseFiles(t) {
		for _, decl := range f.tree.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.TYPE {
				continue
			}
			for _, spec := range d.Specs {
				spec := spec.(*ast.TypeSpec)
				s, ok := spec.Type.(*ast.StructType)
				if !ok || statesReason(d.Doc) || statesReason(spec.Doc) {
					continue
				}
				n := 0
				for _, field := range s.Fields.List {
					n += max(1, len(field.Names))
				}
				assert.LessOrEqual(t, n, maxFields, "%s: fields of %s, and its doc comment has no line that starts with %q", f.path, spec.Name, "Fields:")
			}
		}
	}
}

func statesReason(doc *ast.CommentGroup) bool {
	for line := range strings.Lines(doc.Text()) {
		if reason, ok := strings.CutPrefix(line, "Fields:"); ok && strings.TrimSpace(reason) != "" {
			return true
		}
	}
	return false
}

func TestHouse_MethodFiles(t *testing.T) {
	where := map[string][]string{} // type: the files with its methods
	eachFunc(houseFiles(t), func(f houseFile, recv string, _ *ast.FuncDecl) {
		name := recv
		if !f.inRoot() {
			name = f.dir() + "." + recv
		}
		if recv != "" && !slices.Contains(where[name], path.Base(f.path)) {
			where[name] = append(where[name], path.Base(f.path))
		}
	})
	for _, name := range slices.Sorted(maps.Keys(where)) {
		if facades[name] == "" {
			assert.LessOrEqual(t, len(where[name]), maxMethodFiles, "files with methods of %s: %s", name, strings.Join(where[name], " "))
		}
	}
	for name := range facades {
		assert.Greater(t, len(where[name]), maxMethodFiles, "%s needs no exception", name)
	}
}

// TestHouse_Sees holds the counting itself against a file that breaks each limit.
func TestHouse_Sees(t *testing.T) {
	fset := token.NewFileSet()
	text := fmt.Sprintf("package p\n// T is long.\n//\n// Fields: one each.\ntype T struct{}\nfunc (t *T[K]) F(ctx context.Context, a, b int, c string) {%s}\n", strings.Repeat("\n", 80))
	tree, err := parser.ParseFile(fset, "p.go", text, parser.ParseComments)
	require.NoError(t, err)
	f := houseFile{fset: fset, tree: tree}
	seen := 0
	eachFunc([]houseFile{f}, func(f houseFile, recv string, d *ast.FuncDecl) {
		assert.Equal(t, "T", recv)
		assert.Equal(t, maxFuncLines+1, f.lines(d))
		seen++
	})
	assert.Equal(t, 1, seen)
	assert.True(t, statesReason(tree.Decls[0].(*ast.GenDecl).Doc))
	assert.False(t, statesReason(tree.Decls[1].(*ast.FuncDecl).Doc))
}
