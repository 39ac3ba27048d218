// Package report turns measurements into tables and charts.
package report

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Sheet is a table with a title and notes below it.
type Sheet struct {
	Title string
	Head  []string
	Rows  [][]string
	Notes []string
}

// Add adds a row; each cell is printed with %v.
func (s *Sheet) Add(cells ...any) {
	var row []string
	for _, c := range cells {
		row = append(row, fmt.Sprint(c))
	}
	s.Rows = append(s.Rows, row)
}

// String returns the sheet as Markdown with aligned columns.
func (s *Sheet) String() string {
	width := make([]int, len(s.Head))
	for _, row := range append([][]string{s.Head}, s.Rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", s.Title)
	line := func(row []string) {
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				fmt.Fprintf(&b, "| %s%s ", c, pad)
			} else {
				fmt.Fprintf(&b, "| %s%s ", pad, c)
			}
		}
		b.WriteString("|\n")
	}
	line(s.Head)
	for i, w := range width {
		if i == 0 {
			b.WriteString("|" + strings.Repeat("-", w+2))
		} else {
			b.WriteString("|" + strings.Repeat("-", w+1) + ":")
		}
	}
	b.WriteString("|\n")
	for _, row := range s.Rows {
		line(row)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	return b.String()
}

// Number formats a number with about three digits, NaN as a dash.
func Number(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case v >= 99_950:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 9_995:
		return fmt.Sprintf("%.1fk", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Span formats a median with its interval.
func Span(mid, low, high float64) string {
	if math.IsNaN(mid) {
		return "-"
	}
	if low == high {
		return Number(mid)
	}
	return fmt.Sprintf("%s (%s to %s)", Number(mid), Number(low), Number(high))
}

// Bytes formats a size in bytes.
func Bytes(n float64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", n/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.0f KiB", n/(1<<10))
	}
	return fmt.Sprintf("%.0f B", n)
}
