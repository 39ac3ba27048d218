// Package savepointtest helps a program that uses savepoint to test its kinds and
// itself:
//
//   - [Golden] compares what a kind stores with files beside the test, and fails
//     when a changed kind cannot read what earlier versions stored.
//   - [Exercise] runs a machine and checks that replays result in the same states.
//   - [Replay] checks the same for the machines of a real file.
//   - [Faults] is an engine with commits that a test makes fail or wait.
package savepointtest
