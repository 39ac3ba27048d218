// Command testlog reads the output of go test -json on its standard input and prints what go test prints
// without -v: the closing line of each package, and everything that a failed test wrote. After that it
// prints one line for each reason for which tests were skipped:
//
//	not done: root only: mounting a small disk (1 test: example.org/pkg TestDiskFull)
//
// It ends with status 1 when a package failed or when the input is not what go test -json writes.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	failed := run(os.Stdin, out)
	if err := out.Flush(); err != nil || failed {
		os.Exit(1)
	}
}

// event is what go test -json writes, a line each: see go doc test2json.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// test is the name of a test in its package; the package itself has the name "".
type test struct{ pkg, name string }

// log is what the tests wrote that have not ended well, and the tests that were skipped.
type log struct {
	w       io.Writer
	order   map[string][]test // of each package, as they started
	written map[test][]string
	skipped map[string][]test // by reason
	ended   int
	failed  bool
}

// run prints what r holds to w, and reports whether something failed.
func run(r io.Reader, w io.Writer) (failed bool) {
	l := &log{w: w, order: map[string][]test{}, written: map[test][]string{}, skipped: map[string][]test{}}
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			l.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Fprintln(w, "testlog:", err)
			return true
		}
		if f, ok := w.(*bufio.Writer); ok && in.Buffered() == 0 {
			f.Flush()
		}
	}
	l.notDone()
	if l.ended == 0 {
		fmt.Fprintln(w, "testlog: no package was tested")
	}
	return l.failed || l.ended == 0
}

func (l *log) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(l.w, line) // of the go command itself
		return
	}
	t := test{e.Package, e.Test}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(l.w, e.Output)
	case e.Action == "build-fail":
		l.failed = true
	case e.Action == "output" && e.Test == "":
		if e.Output != "PASS\n" && e.Output != "FAIL\n" && !strings.HasPrefix(e.Output, "coverage: ") {
			fmt.Fprint(l.w, e.Output)
		}
	case e.Action == "output":
		if _, ok := l.written[t]; !ok {
			l.order[t.pkg] = append(l.order[t.pkg], t)
		}
		l.written[t] = append(l.written[t], e.Output)
	case e.Action == "skip" && e.Test != "":
		reason := reasonOf(l.written[t])
		l.skipped[reason] = append(l.skipped[reason], t)
		delete(l.written, t)
	case e.Action == "pass" && e.Test != "":
		delete(l.written, t)
	case (e.Action == "pass" || e.Action == "skip") && e.Test == "":
		l.ended++
		delete(l.order, t.pkg)
	case e.Action == "fail" && e.Test == "":
		l.ended++
		l.failed = true
		for _, t := range l.order[t.pkg] { // failed, or cut off by a panic or the time limit
			fmt.Fprint(l.w, strings.Join(l.written[t], ""))
			delete(l.written, t)
		}
		delete(l.order, t.pkg)
	}
}

var place = regexp.MustCompile(`^\s*[^\s:]+\.go:[0-9]+: `)

// reasonOf returns the last line that a skipped test logged.
func reasonOf(written []string) string {
	reason := "no reason given"
	for _, s := range written {
		if place.MatchString(s) {
			reason = strings.TrimSpace(place.ReplaceAllString(s, ""))
		}
	}
	return reason
}

func (l *log) notDone() {
	for _, reason := range slices.Sorted(maps.Keys(l.skipped)) {
		tests := l.skipped[reason]
		of := "tests, the first"
		if len(tests) == 1 {
			of = "test"
		}
		fmt.Fprintf(l.w, "not done: %s (%d %s: %s %s)\n", reason, len(tests), of, tests[0].pkg, tests[0].name)
	}
}
