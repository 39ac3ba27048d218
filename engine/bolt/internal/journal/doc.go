// Package journal is a write-ahead log in a byte range of a file, used as a ring:
// a group of changes is durable after one write and one sync into blocks that are
// already allocated. It knows nothing about the rest of the file. Its caller keeps
// other writes out of the range, and stores three facts elsewhere, all in one
// transaction:
//
//	checkpointed  the lsn up to which records are stored elsewhere
//	salt          random, new for each Open, committed before its first use
//	id            of the file
//
// The life of a ring: NewHead and Head.Append make the first bytes of the range;
// the rest is zeros, which must really be written. At each start of a process Scan
// returns the records that are not checkpointed, as the device holds them
// (DirectReader). The caller stores them elsewhere in one transaction, together
// with checkpointed = Scanned.Last and a new salt. Only then it calls Open, which
// refuses a ring for which this was not done. Append returns ErrFull or ErrTooLarge
// if the group does not fit: then the caller stores all records that are not
// checkpointed, and the group, in one transaction, and calls Bypass. Checkpointed
// releases segments.
//
// The sequence of lsns has no holes: the first one is checkpointed+1, each group
// takes the next one, and a group that bypasses the ring takes one too.
//
// # What is assumed of the disk
//
//   - After WriteAt and Sync returned nil the bytes survive a power cut.
//   - A power cut during a write leaves each 512-byte sector of that write old,
//     new or garbage, and may turn the 4,096-byte block that was being written
//     to garbage as a whole. Bytes outside the written blocks stay.
//   - After an error of a write or sync nothing is known: the journal stops.
//
// # What is not detected
//
// Damage to the newest record, or to a run of the newest records, cannot be
// distinguished from a write that a power cut interrupted: both end the ring. If
// the header of the first of them is intact, Scanned.Torn names it; if the header
// of a later one is, the damage is detected.
package journal
