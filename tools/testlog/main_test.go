package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// stream writes the events as go test -json does.
func stream(events ...event) string {
	var s strings.Builder
	for _, e := range events {
		b, _ := json.Marshal(e)
		s.Write(b)
		s.WriteByte('\n')
	}
	return s.String()
}

func output(name, text string) event {
	return event{Action: "output", Package: "p", Test: name, Output: text}
}

func end(action, name string) event { return event{Action: action, Package: "p", Test: name} }

func TestRun(t *testing.T) {
	skipped := []event{
		output("TestA", "=== RUN   TestA\n"), output("TestA", "    a_test.go:3: noise\n"), output("TestA", "    a_test.go:7: root only: why\n"),
		output("TestA", "--- SKIP: TestA (0.00s)\n"), end("skip", "TestA"),
		output("TestB/x", "    b_test.go:9: root only: why\n"), end("skip", "TestB/x"),
		output("TestC", "--- SKIP: TestC (0.00s)\n"), end("skip", "TestC"),
	}
	ok := []event{output("", "PASS\n"), output("", "coverage: 3% of statements\n"), output("", "ok  \tp\t0.1s\n"), end("pass", "")}
	for name, c := range map[string]struct {
		in     string
		want   string
		failed bool
	}{
		"well": {stream(append([]event{output("TestA", "noise\n"), end("pass", "TestA")}, ok...)...), "ok  \tp\t0.1s\n", false},
		"skipped": {stream(append(skipped, ok...)...),
			"ok  \tp\t0.1s\nnot done: no reason given (1 test: p TestC)\nnot done: root only: why (2 tests, the first: p TestA)\n", false},
		"failed": {stream(output("TestA", "why\n"), output("TestA", "--- FAIL: TestA\n"), end("fail", "TestA"), output("TestB", "noise\n"), end("pass", "TestB"),
			output("", "FAIL\n"), output("", "FAIL\tp\t0.1s\n"), end("fail", "")), "FAIL\tp\t0.1s\nwhy\n--- FAIL: TestA\n", true},
		"cut off by a panic": {stream(output("TestA", "panic: x\n"), output("", "FAIL\tp\t0.1s\n"), end("fail", "")), "FAIL\tp\t0.1s\npanic: x\n", true},
		"does not build": {stream(event{Action: "build-output", ImportPath: "p", Output: "p.go:1: no\n"}, event{Action: "build-fail", ImportPath: "p"},
			output("", "FAIL\tp [build failed]\n"), end("fail", "")), "p.go:1: no\nFAIL\tp [build failed]\n", true},
		"no tests in it": {stream(output("", "?   \tp\t[no test files]\n"), end("skip", "")), "?   \tp\t[no test files]\n", false},
		"not JSON":       {"go: no such thing\n", "go: no such thing\ntestlog: no package was tested\n", true},
		"nothing":        {"", "testlog: no package was tested\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			failed := run(strings.NewReader(c.in), &got)
			if got.String() != c.want || failed != c.failed {
				t.Errorf("got %q, failed=%t, want %q, failed=%t", got.String(), failed, c.want, c.failed)
			}
		})
	}
}
