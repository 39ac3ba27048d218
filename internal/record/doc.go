// Package record encodes and decodes what the root package passes to an engine as bytes: events, heads and snapshots.
// The encoding is canonical, and a digest chains the records of a machine. docs/FORMAT.md describes the bytes. The files of
// the package, by subject:
//
//	envelope.go terms.go   an event, and the parts of it that queries filter on
//	head.go snapshot.go    the head of a machine; a snapshot, with the idempotency keys
//	digest.go seal.go      the digest of a machine's records; the checksum of heads and snapshots
//	key.go                 the engine's key of a machine
package record
