package report

import (
	"encoding/xml"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSheet(t *testing.T) {
	s := Sheet{Title: "t", Head: []string{"peer", "rate"}}
	s.Add("a", Number(12345))
	s.Add("long", Span(2, 1, 3))
	require.Equal(t, "### t\n\n| peer |                rate |\n|------|--------------------:|\n"+
		"| a    |               12.3k |\n| long | 2.00 (1.00 to 3.00) |\n", s.String())
	require.Equal(t, "-", Number(math.NaN()))
}

func TestChart(t *testing.T) {
	for _, high := range []float64{0, 2, 5000} {
		svg := Chart("a < b", "per second", []Group{{"8 writers", []Bar{{"x", 1, true}, {"y", high, false}, {"z", math.NaN(), false}}}})
		require.NoError(t, xml.Unmarshal([]byte(svg), new(struct{})))
		require.NotContains(t, svg, "NaN")
		require.NotContains(t, svg, "Inf")
	}
}
