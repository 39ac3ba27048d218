// Package journal is a write-ahead ring over a byte range of a file: a group of
// changes is durable after one write and one sync into blocks that are already
// allocated. It knows nothing of what the file is otherwise; whoever owns the
// range keeps the file's other bytes away from it, and stores three facts with
// a mechanism of their own, all in one transaction:
//
//	folded  the lsn up to which records are stored elsewhere
//	salt    random, new for each Open, committed before its first use
//	id      of the file
//
// The life of a ring: NewHead and Head.Append give the first bytes of the
// range, the rest of which is zeros, really written. At each start of a
// process Scan gives the records that are not folded, as the device has them
// (DirectReader); they are stored elsewhere
// in one transaction together with folded = Scanned.Last and a new salt; only
// then Open, which refuses a ring where that was left out. Append answers
// ErrFull or ErrTooLarge where the ring has no place: one transaction then
// stores all unfolded records and the group, and Bypass says so. Folded
// releases segments.
//
// The order of lsns has no holes: the first is folded+1, each group takes the
// next one, and one that went round the ring (Bypass) takes one too.
//
// # What is assumed of the disk
//
//   - After WriteAt and Sync returned nil the bytes survive a power cut.
//   - A power cut during a write leaves each 512-byte sector of that write old,
//     new or garbage, and may turn the 4,096-byte block that was being written
//     to garbage as a whole. Bytes outside the written blocks stay.
//   - After an error of a write or sync nothing is known: the journal stops.
//
// # What is not seen
//
// Damage to the newest record, or to a run of the newest ones, cannot be told
// from a write that a power cut interrupted: both end the ring. Where the header
// of the first of them is intact, Scanned.Torn names it; where the one of a
// later one is, the damage is seen.
package journal
