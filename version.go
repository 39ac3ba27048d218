package savepoint

import (
	"cmp"
	"fmt"
)

// Version is the version of a kind's schema. The zero Version is none.
// Versions are comparable with ==.
type Version struct{ Major, Minor, Patch uint16 }

// V is the version major.minor.patch.
func V(major, minor, patch uint16) Version { return Version{major, minor, patch} }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Compare orders versions: below zero if v is older than w, zero if they are
// the same, above zero if v is newer.
func (v Version) Compare(w Version) int { return cmp.Compare(v.pack(), w.pack()) }

// pack is the version as it is stored.
func (v Version) pack() uint64 {
	return uint64(v.Major)<<32 | uint64(v.Minor)<<16 | uint64(v.Patch)
}

func unpackVersion(p uint64) Version {
	return Version{uint16(p >> 32), uint16(p >> 16), uint16(p)}
}

// reads says whether a program with version v of a kind may read what version
// old wrote as it is: the major versions are the same, so that fields were only
// added, none of which has to be there.
func (v Version) reads(old Version) bool { return v.Major == old.Major && v.Compare(old) >= 0 }
