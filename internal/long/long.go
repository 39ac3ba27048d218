// Package long is the switch between the quick and the full sizes of the tests.
//
// The environment variable SAVEPOINT_LONG sets it for every package: without it the tests have their
// quick sizes, with a number above 0 and up to 1 they have that fraction of their full sizes, and
// any other value fails the test that reads it.
package long

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
)

// Variable is the name of the environment variable.
const Variable = "SAVEPOINT_LONG"

// N returns how many rounds, operations or files the test t works on: quick without the switch, else the
// fraction of full that the switch asks for, rounded up and never less than quick. It ends the test when
// the switch has a value that it does not know, or when full is less than quick.
func N(t testing.TB, quick, full int) int {
	t.Helper()
	if full < quick {
		t.Fatalf("the full size %d is less than the quick size %d", full, quick)
	}
	f, err := fraction(os.Getenv(Variable))
	if err != nil {
		t.Fatal(err)
	}
	return max(quick, int(math.Ceil(f*float64(full))))
}

// Skip skips the test t without the switch, with why as the reason, and returns with it, whatever its
// fraction is. It ends the test when the switch has a value that it does not know. It is for tests that
// have no smaller size; a test that has one calls N.
func Skip(t testing.TB, why string) {
	t.Helper()
	f, err := fraction(os.Getenv(Variable))
	if err != nil {
		t.Fatal(err)
	}
	if f == 0 {
		t.Skipf("long only: %s (%s is not set)", why, Variable)
	}
}

// fraction returns the number that the variable's value s means, 0 for the quick sizes.
func fraction(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0 && f <= 1) {
		return 0, fmt.Errorf("%s=%q: want a number above 0 and up to 1, or nothing for the quick sizes", Variable, s)
	}
	return f, nil
}
