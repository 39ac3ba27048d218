// Package enginetest is the conformance suite every engine has to pass: each
// sentence of engine.Engine as a test, and random histories against a plain map.
//
// An engine's own test calls Run:
//
//	func TestConformance(t *testing.T) {
//		enginetest.Run(t, enginetest.Config{Open: open, Reopen: reopen})
//	}
//
// Two environment variables govern the random histories: ENGINETEST_SEED replays
// the history of a seed, which every run prints; ENGINETEST_OPS is the number of
// operations (20,000 if unset).
package enginetest

import (
	"testing"

	"github.com/liap-tui/savepoint/engine"
)

// Config tells the suite about an engine.
type Config struct {
	// Open is a new, empty engine. It is closed by a cleanup of the suite.
	Open func(t *testing.T) engine.Engine
	// Reopen ends e, gently or not, and opens what it stored. It is called when
	// no other call runs. Nil means that the engine keeps nothing.
	Reopen func(t *testing.T, e engine.Engine) engine.Engine
	// Event brings an event into the form in which a Querier that reads terms
	// from Bytes knows it: its Bytes say what its Terms say. Nil leaves it.
	Event func(engine.Event) engine.Event
}

// Run puts the engine through the suite.
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
		{"Commit_Older", testOlder},
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
		{"Query_PutBack", testQueryPutBack},
		{"Keys_DoNotMix", testKeys},
		{"Keys_Long", testLongKey},
		{"Notes", testNotes},
		{"Versions", testVersions},
		{"Size", testSize},
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
