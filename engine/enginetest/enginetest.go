// Package enginetest is the conformance suite that every engine has to pass: tests
// of the contracts in package engine, and random histories compared with a model.
//
// An engine's own test calls Run:
//
//	func TestConformance(t *testing.T) {
//		enginetest.Run(t, enginetest.Config{Open: open, Reopen: reopen})
//	}
//
// Three environment variables control the random histories: ENGINETEST_SEED replays
// the history of a seed, which every run logs; ENGINETEST_OPS is the number of
// operations. Without it a history has 4,000 operations, and 20,000 with SAVEPOINT_LONG=1.
package enginetest

import (
	"testing"

	"github.com/liap-tui/savepoint/engine"
)

// Config describes the engine under test.
type Config struct {
	// Open returns a new, empty engine. The suite closes it.
	Open func(t *testing.T) engine.Engine
	// Reopen closes e, or ends it as a crash would, and returns an engine with what
	// e has stored. No other call runs at the same time. Nil means that the engine
	// stores nothing durably; the tests of reopening are skipped then.
	Reopen func(t *testing.T, e engine.Engine) engine.Engine
	// Event returns an event with its Terms encoded in its Bytes, for a Querier that
	// reads terms from Bytes. Nil leaves events as they are.
	Event func(engine.Event) engine.Event
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, c Config) {
	for _, test := range []struct {
		name string
		run  func(*subject)
	}{
		{"Commit_Group", testGroup},
		{"Commit_OneMachineManyTimes", testChain},
		{"Commit_PoisonedStepFailsAlone", testPoison},
		{"Commit_Conflict", testConflict},
		{"Commit_BrokenRules", testBrokenRules},
		{"Commit_StepWholeOrNot", testWhole},
		{"Commit_MachineTwiceInStep", testTwice},
		{"Commit_SkippedSeqs", testSkipped},
		{"Commit_SameSeq", testSameSeq},
		{"Commit_KeepsNoSlice", testInputs},
		{"Commit_TooLarge", testTooLarge},
		{"Commit_Trim", testTrim},
		{"Commit_Restore", testRestore},
		{"Commit_Purge", testPurge},
		{"Commit_Numbers", testNumbers},
		{"Commit_Positions", testPositions},
		{"Commit_Empty", testEmpty},
		{"Commit_Big", testBig},
		{"Commit_ManyEvents", testManyEvents},
		{"Load_Nothing", testNothing},
		{"Load_Range", testRange},
		{"Load_Snapshots", testSnapshots},
		{"Load_NewestRaisesAfter", testNewest},
		{"Load_Stop", testLoadStop},
		{"Load_Head", testHead},
		{"Scan_Order", testScan},
		{"Scan_ManyMachines", testScanMany},
		{"Scan_Stop", testScanStop},
		{"Feed_Order", testFeed},
		{"Feed_Stop", testFeedStop},
		{"Feed_Trimmed", testFeedTrimmed},
		{"Feed_WhileWriting", testFeedWhileWriting},
		{"Query", testQuery},
		{"Query_Restored", testQueryRestored},
		{"Keys_DoNotMix", testKeys},
		{"Keys_Long", testLongKey},
		{"Notes", testNotes},
		{"Versions", testVersions},
		{"Size", testSize},
		{"Buckets", testBuckets},
		{"Context", testContext},
		{"Close", testClose},
		{"Close_WhileReading", testCloseWhileReading},
		{"Reopen", testReopen},
		{"Concurrent", testConcurrent},
		{"History", testHistory},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(start(t, c)) })
	}
}
