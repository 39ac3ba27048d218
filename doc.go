// Package savepoint keeps the state machines of a server, such as the games of a
// game server, safe in one file.
//
// An event of a machine is on disk before the call that appends it returns. After
// a crash the machine has the state after its newest event. The example of
// [Register] shows a whole game.
//
// # Words
//
//   - machine: one state machine, for example one game. It has a kind and an id.
//   - kind: what machines have in common: state type, events, phases, version.
//   - event: one thing that happens to a machine.
//   - record: an event as it is stored, with its [Meta].
//   - seq: the number of a record within its machine: 1, 2, 3, ...
//   - pos: the number of a record within the whole file.
//   - head: the newest seq of a machine, and its phase, version and times.
//   - phase: the named part of a state: "waiting", "turn".
//   - snapshot: the encoded state right after a record.
//   - base: the snapshot that a log starts with.
//   - point: a moment of a machine, to read its state there or to recover it to.
//   - revision: the number of a saved state, under the strategy [Versioned].
//   - quarantine: the state of a machine that cannot be rebuilt, until it is recovered.
//   - key: a text that makes a write idempotent.
//   - engine: what stores the bytes: a bbolt file, or memory.
//
// # Open
//
// [Open] opens a file or creates it, and [Memory] keeps everything in memory.
// [Options] has all settings, [FromEnv] reads them from the environment. Package
// engine is the seam for other stores.
//
// # Define a kind
//
// [Kind] describes a kind of machine, and [Register] returns the [Store] through
// which its machines are used. An event has a method Apply, and Check if it has
// rules ([Event], [Checker]). [Strategy] says what is stored. Package document has
// a kind without a Go type.
//
// # Append
//
// [Store.Append] and [Store.Update] write events, [Store.Save] writes a whole
// state. [Store.Go] and [Store.GoUpdate] do not wait for the disk: they return an
// [Ack]. [DB.Update] changes several machines, all or nothing. Options of a write
// are [IfSeq] and [Key], and what is stored with it: [By], [Cause], [Tag] and
// others.
//
// # Read
//
// [Store.Load] returns the state of a machine, [Store.View] shows it without a
// copy, [Store.List] lists machines, [Store.Events] their records.
//
// # Time travel
//
// [Store.At] returns the state at a [Point]: [AtSeq], [AtTime], [AtSnapshot],
// [AtRevision], [BeforeError]. [Store.Fork] starts another machine from one.
// [Store.Snapshot] keeps a state under a tag.
//
// # Recover
//
// [Store.Recover] rebuilds a machine or takes it back to a point; [Store.Mark]
// marks an error to go back to. [Store.Verify] compares a replay with what is
// stored. [DB.RecoverAll] rebuilds all machines, [DB.Quarantined] lists those that
// cannot be rebuilt. Package report has the reports.
//
// # Migrate
//
// [Migration] brings states and events of older versions of a kind to its
// [Version], when they are read; [StructMigration] and [CheckMigration] help.
// [Store.Migrate] does it for all machines at once.
//
// # Query
//
// [DB.Query] and [Store.Query] find records by kind, machine, time, phase, event,
// actor and origin. Package analysis counts them.
//
// # Watch
//
// [DB.Feed] yields the records of all machines as they come, [Store.Watch] those of
// one machine.
//
// # Operate
//
// [Store.Compact] and [RetentionPolicy] shorten logs; package archive keeps what
// they remove. [DB.Stats] and [DB.Buckets] count, [DB.OpenReport] says what Open
// found, package anomaly finds machines with unusual writes. Package
// savepointtest tests a program's kinds.
//
// All methods may be called from several goroutines at once.
package savepoint
