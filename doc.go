// Package savepoint keeps the games of a server safe in one file.
//
// A game is a machine: it has a kind (what it is) and an id. Everything that
// happens to it is an event. An event is on disk before the call that appended
// it returns; after a crash the machine is there again, at its last event. See
// the example of [Register] for a whole game.
//
//   - [Open] opens the file, [Register] tells it about a kind of machine and
//     gives the [Store] through which machines of that kind are used.
//   - [Store.Append] and [Store.Update] write events, [Store.Save] a whole state;
//     [Store.Go] and [Store.GoUpdate] do the same without waiting for the disk.
//   - [Store.Load] and [Store.View] look at a machine now, [Store.At] as it was,
//     [Store.Events] lists what happened.
//   - [DB.Update] changes several machines, of several kinds, all or nothing.
//   - [Store.Recover], [Store.Verify] and [DB.RecoverAll] are for the day after.
//
// All methods may be called from several goroutines at once.
package savepoint
