package workload

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNew(t *testing.T) {
	const machines, events = 20, 30
	for _, name := range Ways {
		t.Run(name, func(t *testing.T) {
			path := RecordedPath()
			if _, err := os.Stat(path); name == "recorded" && err != nil {
				t.Skip("there are no recorded games")
			}
			l, err := New(name, machines, events, path)
			require.NoError(t, err)
			require.Equal(t, machines, l.Machines())
			require.Positive(t, l.Average())
			require.NotEqual(t, l.At(3, 9).Bytes, l.At(4, 9).Bytes, "machines differ")
			require.Equal(t, l.At(3, 9), l.At(3, events+9), "a list starts again after its end")
			require.NotEmpty(t, l.At(3, 9).Terms.Name)
		})
	}
}
