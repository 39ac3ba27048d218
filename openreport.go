package savepoint

import "github.com/liap-tui/savepoint/engine"

// What Open found and did.
type (
	OpenReport = engine.OpenReport
	PageCheck  = engine.PageCheck
	Replay     = engine.Replay
)

// OpenReport tells what Open found and did. Of a database that is not in a file
// it says only that it is clean; of an [Options.Engine] it is the engine's own
// report, if its OpenReport method gives one, as that of [OpenEngine] does.
func (db *DB) OpenReport() OpenReport { return db.report }
