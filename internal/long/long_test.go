package long_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/liap-tui/savepoint/internal/long"
)

// recorder is a test of its own that keeps the reason why it ended.
type recorder struct {
	testing.TB
	failed, skipped string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatal(args ...any) {
	r.failed = fmt.Sprint(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// run runs fn as the body of a test and returns how that test ended.
func run(t *testing.T, fn func(t testing.TB)) *recorder {
	r := &recorder{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { fn(r) })
	wg.Wait()
	return r
}

func TestN(t *testing.T) {
	for _, c := range []struct {
		value             string
		quick, full, want int
	}{
		{"", 3, 50, 3},
		{"1", 3, 50, 50},
		{"0.1", 3, 50, 5},
		{"1e-1", 3, 51, 6}, // rounded up
		{"0.01", 3, 50, 3}, // the quick size is the least
		{"0.5", 50, 50, 50},
		{"1", 0, 0, 0},
	} {
		t.Setenv(long.Variable, c.value)
		got := -1
		r := run(t, func(t testing.TB) { got = long.N(t, c.quick, c.full) })
		assert.Equal(t, c.want, got, "%+v", c)
		assert.Empty(t, r.failed, "%+v", c)
	}

	t.Setenv(long.Variable, "1")
	r := run(t, func(t testing.TB) { long.N(t, 2, 1) })
	assert.Contains(t, r.failed, "less than the quick size 2")
}

func TestSkip(t *testing.T) {
	for value, want := range map[string]string{
		"":     "long only: the reason (SAVEPOINT_LONG is not set)",
		"0.01": "",
		"1":    "",
	} {
		t.Setenv(long.Variable, value)
		r := run(t, func(t testing.TB) { long.Skip(t, "the reason") })
		assert.Equal(t, want, r.skipped, value)
		assert.Empty(t, r.failed, value)
	}
}

func TestVariable_Refused(t *testing.T) {
	for _, value := range []string{"0", "-0", "-1", "1.0001", "10", "yes", "true", "NaN", "Inf", " 1", "1 "} {
		t.Setenv(long.Variable, value)
		r := run(t, func(t testing.TB) { long.N(t, 1, 2) })
		assert.Contains(t, r.failed, fmt.Sprintf("SAVEPOINT_LONG=%q", value))

		r = run(t, func(t testing.TB) { long.Skip(t, "the reason") })
		assert.Contains(t, r.failed, fmt.Sprintf("SAVEPOINT_LONG=%q", value))
		assert.Empty(t, r.skipped)
	}
}
