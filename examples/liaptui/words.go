package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/liap-tui/savepoint"
)

// complain prints each cause of an error once, and what to do about it.
func complain(w io.Writer, c *config, err error) {
	lines := strings.Split(err.Error(), "\n")
	const most = 4
	for i, line := range lines {
		if i == most {
			fmt.Fprintf(w, "liaptui: and %d more\n", len(lines)-most)
			break
		}
		fmt.Fprintf(w, "liaptui: %s\n", line)
	}
	if what := advice(c, err); what != "" {
		fmt.Fprintf(w, "  %s\n", what)
	}
}

// advice returns what the user can do about an error, or "".
func advice(c *config, err error) string {
	again := "run the same command again: it continues at the last move on disk"
	for _, a := range []struct {
		is   error
		what string
	}{
		{errDiverged, "keep a copy of the file, and see the records named above: an Apply has changed, or reads something besides the game and the event"},
		{savepoint.ErrLocked, "another process uses the file: let it end, or name another file with -db"},
		{savepoint.ErrForeign, "name another file with -db: this one is left as it is"},
		{savepoint.ErrNewer, "use the newer program that wrote it, or name another file with -db"},
		{savepoint.ErrCorrupt, "keep a copy of the file; see what else is damaged with -verify"},
		{savepoint.ErrDiskFull, "free space on the disk, then " + again},
		{savepoint.ErrStopped, "check the disk, then " + again},
		{savepoint.ErrInDoubt, "check the disk, then " + again},
		{savepoint.ErrQuarantined, "see what is wrong with the game with -verify; the other tables played on"},
		{fs.ErrNotExist, missing(c)},
		{fs.ErrPermission, "get permission to read and write it, or name another file with -db"},
	} {
		if errors.Is(err, a.is) {
			return a.what
		}
	}
	return ""
}

func missing(c *config) string {
	if c.verify {
		return "there is nothing to verify yet: play first, without -verify, or name another file with -db"
	}
	return "make its directory first, or name another file with -db"
}

// count returns a number and its noun, in the plural unless the number is 1.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return thousands(int64(n)) + " " + noun
}

// thousands formats 1234567 as 1,234,567.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func perSecond(n int64, took time.Duration) int64 {
	return int64(float64(n) / max(took.Seconds(), 0.001))
}

// round keeps about three digits.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

func bytesOf(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
