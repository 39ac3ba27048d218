// Package bolt keeps machines in one bbolt file, with a write-ahead journal inside it.
//
// docs/FORMAT.md has the bytes of the file. The files of the package, by subject:
//
//	engine.go                        the exported methods
//	transaction.go commiterror.go    transactions, and what their errors mean
//	options.go config.go             how a file is opened
//	open.go journalopen.go           the steps of opening
//	create.go file.go lock*.go       making, locking and finding the file
//	holder*.go disk*.go              which process has the lock; what the disk holds
//	check.go healmeta.go mark.go     what is checked and repaired before bbolt has the file
//	repair.go                        index pages that are missing or damaged
//
//	ledger.go changes.go             which steps are accepted, and what they change
//	batch.go bucketwriter.go         storing the changes in the buckets
//	blocks.go blockreader.go trim.go events, in blocks
//	dictionary.go                    snapshots, and how they are compressed
//	positions.go                     the index of the feed and of queries
//	termhashes.go filter.go          what queries compare
//	head.go notes.go numbers.go      the other stored values
//	versions.go                      how many machines there are per version
//
//	commitjournal.go journalrecord.go   a commit with a journal
//	journal.go journalstate.go          the journal of an open file, and its stored state
//	journalsize.go                      how large the journal is, and when it grows
//	memtable.go checkpoint.go           what only the journal holds; storing it in the buckets
//	replay.go                           taking the steps of the journal again
//
//	load.go loadfile.go loadjournal.go  reading one machine
//	scan.go feed.go query.go            reading heads, and records by position
//	usage.go                            what takes the space of the file
//	buckets.go guard.go                 bbolt, which buckets.go alone imports; what its panics become
package bolt
