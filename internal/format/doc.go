// Package format encodes and decodes the stored values of a bbolt file and the steps in its journal. docs/FORMAT.md
// describes the bytes. The files of the package, by subject:
//
//	value.go                        the header of every value, and how its payload is compressed
//	dictionary.go                   the compression of snapshots with what machines have in common
//	piece.go                        a payload that is too long for one value
//	block.go                        consecutive events of one machine
//	indexpage.go pagesummary.go     the order of records, and what queries skip pages by
//	journalstep.go journalpack.go   the steps of a group in the journal, and how a group is compressed
package format
