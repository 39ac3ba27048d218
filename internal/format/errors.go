package format

import (
	"hash/crc32"

	"github.com/liap-tui/savepoint/engine"
)

// ErrNewer is matched when the bytes have a format that only newer versions of the
// program know. They are not damaged.
var ErrNewer = engine.ErrNewer

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
