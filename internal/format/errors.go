package format

import (
	"hash/crc32"

	"github.com/liap-tui/savepoint/engine"
)

// ErrNewer says that the bytes are of a format that this program does not know
// yet. They are not damaged.
var ErrNewer = engine.ErrNewer

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
