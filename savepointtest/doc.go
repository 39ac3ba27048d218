// Package savepointtest helps a program that uses savepoint to test its kinds and
// itself:
//
//   - [Golden] keeps what a kind stores in files beside the test, and fails when a
//     change of the kind cannot read it any more.
//   - [Exercise] plays a machine and proves that a replay gives the same.
//   - [Replay] does so with the machines of a real file.
//   - [Faults] is an engine that fails where a test wants it to.
package savepointtest
