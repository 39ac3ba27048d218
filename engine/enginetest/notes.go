package enginetest

import (
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"
)

func testNotes(s *subject) {
	get := func(name string) []byte {
		s.t.Helper()
		b, err := s.e.Note(s.ctx(), name)
		require.NoError(s.t, err)
		own := append([]byte(nil), b...)
		overwrite(b) // the bytes are the caller's
		if b != nil && own == nil {
			own = []byte{}
		}
		return own
	}
	set := func(name string, value []byte) {
		s.t.Helper()
		require.NoError(s.t, s.e.SetNote(s.ctx(), name, value))
		overwrite(value)
	}
	require.Nil(s.t, get("never"))
	set("never", nil) // removing a note that does not exist
	require.Nil(s.t, get("never"))

	// Names that are prefixes of one another, or keys of machines.
	names := []string{"n", "n\x00", "nn", "\x00", "\xff", "kind/1", "kind/10", "a", strings.Repeat("n", 255)}
	pos := s.store(grow("a", 0, 2))
	for i, name := range names {
		set(name, fmt.Appendf(nil, "value %d", i))
	}
	for range 2 {
		for i, name := range names {
			require.Equal(s.t, fmt.Sprint("value ", i), string(get(name)))
			require.Equal(s.t, fmt.Sprint("value ", i), string(get(name)), "a second read returns the same")
		}
		require.Nil(s.t, get("kind/"))
		s.reopen()
	}
	set("n", []byte("other, and longer"))
	set("nn", []byte{})
	set("a", nil)
	set("big", block(100_000, 1))
	for range 2 {
		require.Equal(s.t, "other, and longer", string(get("n")))
		require.Equal(s.t, "value 1", string(get("n\x00")))
		require.Equal(s.t, []byte{}, get("nn"), "a value of length 0 is one")
		require.Nil(s.t, get("a"))
		require.Equal(s.t, block(100_000, 1), get("big"))
		h, items := s.load("a", everything)
		require.Equal(s.t, headAt("a", h.Number, 2, pos[0]), h)
		require.Equal(s.t, eventItems("a", 1, 2, pos[0]), items)
		require.Equal(s.t, []string{"a"}, s.scanKeys("", "", 0), "notes are no machines")
		s.reopen()
	}
}
