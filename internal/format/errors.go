package format

import (
	"errors"
	"hash/crc32"
)

// ErrNewer says that the bytes are of a format that this program does not know
// yet. They are not damaged.
var ErrNewer = errors.New("written by a newer version")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
