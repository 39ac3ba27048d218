//go:build !linux

package bolt

// lockHolder says which process has the file locked, as far as the system tells.
func lockHolder(string) string { return "another process, or in this one" }
