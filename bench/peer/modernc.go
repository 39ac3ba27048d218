package peer

import (
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite": SQLite translated to Go

	"github.com/liap-tui/savepoint/bench/workload"
)

// openModernc opens SQLite without cgo.
func openModernc(dir string, _ *workload.Load) (Store, error) {
	return openSQLite("sqlite", "file:"+filepath.Join(dir, "sqlite.db"))
}
