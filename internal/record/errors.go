package record

import "github.com/liap-tui/savepoint/engine"

// ErrNewer is matched when the bytes have a format that only newer versions of the
// program know. They are not damaged.
var ErrNewer = engine.ErrNewer
