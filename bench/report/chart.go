package report

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// Bar is one bar of a chart.
type Bar struct {
	Name  string
	Value float64
	Ours  bool
}

// Group holds the bars under one heading.
type Group struct {
	Name string
	Bars []Bar
}

// Chart returns an SVG of groups of horizontal bars, on a logarithmic scale if the
// largest value is more than thirty times the smallest.
func Chart(title, unit string, groups []Group) string {
	const left, right, width, row = 170, 90, 860, 18
	low, high := math.Inf(1), 0.0
	height := 46
	for _, g := range groups {
		height += 30 + row*len(g.Bars)
		for _, b := range g.Bars {
			if b.Value > 0 {
				low, high = min(low, b.Value), max(high, b.Value)
			}
		}
	}
	length := func(v float64) float64 {
		if !(v > 0) || high <= 0 {
			return 0
		}
		space := float64(width - left - right)
		if high > 30*low {
			floor := math.Pow(10, math.Floor(math.Log10(low)))
			return space * math.Log(v/floor) / math.Log(high/floor)
		}
		return space * v / high
	}
	scale := ""
	if high > 30*low {
		scale = ", logarithmic scale"
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&s, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	fmt.Fprintf(&s, `<text x="12" y="22" font-size="15" font-weight="bold">%s</text>`+"\n", escape(title))
	fmt.Fprintf(&s, `<text x="12" y="38" fill="#555555">%s</text>`+"\n", escape(unit+scale))
	y := 46
	for _, g := range groups {
		y += 22
		fmt.Fprintf(&s, `<text x="12" y="%d" font-weight="bold">%s</text>`+"\n", y, escape(g.Name))
		y += 8
		for _, b := range g.Bars {
			colour := "#9aa7b5"
			if b.Ours {
				colour = "#1f77b4"
			}
			n := length(b.Value)
			fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+13, escape(b.Name))
			fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, y+2, n, row-4, colour)
			fmt.Fprintf(&s, `<text x="%.1f" y="%d">%s</text>`+"\n", float64(left)+n+6, y+13, Number(b.Value))
			y += row
		}
	}
	s.WriteString("</svg>\n")
	return s.String()
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}
