package record

import "fmt"

// MachineKey returns the engine's key of a machine, which its head and its
// snapshots are sealed with: the kind's length, the kind, the id. No two pairs
// share a key, and the machines of a kind are neighbours in the order of their
// ids.
func MachineKey(kind, id string) string {
	return string(append(append(append(make([]byte, 0, 1+len(kind)+len(id)), byte(len(kind))), kind...), id...))
}

// SplitMachineKey is the opposite of MachineKey.
func SplitMachineKey(key string) (kind, id string, ok bool) {
	if key == "" || len(key) < 1+int(key[0]) {
		return "", "", false
	}
	n := 1 + int(key[0])
	return key[1:n], key[n:], true
}

var originNames = [...]string{"", "user", "system", "timeout", "recovery", "admin"}

// OriginName returns the name of an envelope's Origin.
func OriginName(origin uint8) string {
	if int(origin) < len(originNames) {
		return originNames[origin]
	}
	return fmt.Sprintf("origin(%d)", origin)
}

// SplitVersion returns the parts of an envelope's Version.
func SplitVersion(version uint64) (major, minor, patch uint16) {
	return uint16(version >> 32), uint16(version >> 16), uint16(version)
}
