package game

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJoined_Rules(t *testing.T) {
	g := New()
	require.NoError(t, g.Validate())
	refused(t, &g, Started{}, "seats are free")
	do(t, &g, Joined{2, "Ann"})
	refused(t, &g, Joined{2, "Ben"}, `seat 2 is taken by "Ann"`)
	refused(t, &g, Joined{1, "Ann"}, `"Ann" sits on seat 2 already`)
	refused(t, &g, Joined{4, "Ben"}, "seat 4 does not exist")
	refused(t, &g, Joined{-1, "Ben"}, "seat -1 does not exist")
	refused(t, &g, Joined{1, ""}, "a name of 0 bytes")
	refused(t, &g, Joined{1, strings.Repeat("x", MaxName+1)}, "a name of 65 bytes")
	refused(t, &g, Dealt{}, "belongs into phase preparation: the game is in waiting")
	do(t, &g, Joined{0, "Ben"}, Joined{1, "Cid"}, Joined{3, strings.Repeat("x", MaxName)}, Started{})
	refused(t, &g, Started{}, "belongs into phase waiting")
	refused(t, &g, Joined{1, "Eve"}, "belongs into phase waiting")
	assert.Equal(t, 1, g.Round)
}
