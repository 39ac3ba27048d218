//go:build !linux

package peer

import "os"

const syncFlag = 0

func syncAfter(f *os.File) error { return f.Sync() }
