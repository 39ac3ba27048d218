//go:build !linux

package bolt

// lockHolder returns a text in place of the process that holds the file's lock,
// which this system does not report.
func lockHolder(string) string { return "another process, or in this one" }
