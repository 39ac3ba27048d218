package savepoint_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// past is everything that can be read of a machine's history.
type past[S any] struct {
	head   savepoint.State[S]
	events []savepoint.Record[S]
	at     map[uint64]savepoint.State[S]
}

// from returns p as it reads when the log starts at the base.
func (p past[S]) from(base uint64) past[S] {
	short := past[S]{head: p.head, at: map[uint64]savepoint.State[S]{}}
	for _, rec := range p.events {
		if rec.Seq == base+1 {
			rec.Took = 0
		}
		if rec.Seq > base {
			short.events = append(short.events, rec)
		}
	}
	for seq, st := range p.at {
		if seq == base {
			st.Pos = 0
		}
		if seq >= base {
			short.at[seq] = st
		}
	}
	return short
}

// pastOf reads the history of a machine from a seq on.
func pastOf[S any](t *testing.T, s *savepoint.Store[S], id string, from uint64) past[S] {
	t.Helper()
	st, err := s.Load(t.Context(), id)
	require.NoError(t, err)
	p := past[S]{head: st, at: map[uint64]savepoint.State[S]{}}
	for rec, err := range s.Events(t.Context(), id, savepoint.EventRange{After: from}) {
		require.NoError(t, err)
		p.events = append(p.events, rec)
	}
	for seq := from; seq <= st.Seq; seq++ {
		at, err := s.At(t.Context(), id, savepoint.AtSeq(seq))
		require.NoError(t, err, "seq %d", seq)
		if seq == from {
			at.Pos = 0 // a base has no position
		}
		p.at[seq] = at
	}
	return p
}

// verified checks that Verify finds nothing.
func verified[S any](t *testing.T, s *savepoint.Store[S], id string) {
	t.Helper()
	rep, err := s.Verify(t.Context(), id)
	require.NoError(t, err)
	require.True(t, rep.OK(), "%v", rep.Divergences)
}
