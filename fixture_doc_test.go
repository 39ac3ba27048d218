package savepoint_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
)

// docs opens a database in a file and registers the kind of documents, after change if that is not nil.
func docs(t *testing.T, o *savepoint.Options, change func(*savepoint.Kind[savepoint.Doc])) (*savepoint.DB, *savepoint.Store[savepoint.Doc]) {
	t.Helper()
	db := open(t, engines["file"](t), o)
	k := document.Kind("game")
	if change != nil {
		change(&k)
	}
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	return db, s
}

// transition returns a Transition to a phase that also sets n.
func transition(to string, n int) document.Transition {
	return document.Transition{Action: "go", To: to, Update: map[string]any{"n": n}}
}
