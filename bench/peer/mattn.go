package peer

import (
	"path/filepath"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3": SQLite's own C code

	"github.com/liap-tui/savepoint/bench/workload"
)

// openMattn opens SQLite through cgo.
func openMattn(dir string, _ *workload.Load) (Store, error) {
	return openSQLite("sqlite3", "file:"+filepath.Join(dir, "sqlite.db"))
}
