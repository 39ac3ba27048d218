package record

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func fullEnvelope() Envelope {
	return Envelope{Time: 1767268800123456, Version: 1 << 32, Name: "played", From: "turn", To: "scoring",
		Actor: "ann", Origin: 3, Reason: "why", Key: "k-1", KeySum: 0xfeedbeef, Cause: "c", Correlation: "r",
		Tags: []string{"a", "b"}, Revision: 7, RevisionName: "seven", Mark: 9, Error: "lost", Payload: []byte{1, 2, 3}}
}

// rows A12, D18, F16.
func TestEnvelope_RoundTrip(t *testing.T) {
	plain := Envelope{Time: -1, Name: "dealt", From: "turn", To: "turn", Payload: []byte{}}
	for _, e := range []Envelope{plain, fullEnvelope()} {
		b := e.Append([]byte("before"))
		var got Envelope
		require.NoError(t, got.Parse(b[len("before"):], nil))
		assert.Equal(t, e, got)
		assert.Equal(t, b[len("before"):], got.Append(nil), "one envelope has one encoding")
	}
}

func TestEnvelope_EachFieldAlone(t *testing.T) {
	for i, e := range []Envelope{{To: "x"}, {Actor: "x"}, {Origin: 1}, {Reason: "x"}, {Key: "x", KeySum: 1}, {Cause: "x"},
		{Correlation: "x"}, {Tags: []string{"x"}}, {Revision: 1}, {RevisionName: "x"}, {Mark: 1}, {Error: "x"}} {
		e.Payload = []byte("p")
		var got Envelope
		require.NoError(t, got.Parse(e.Append(nil), nil))
		assert.Equal(t, e, got, "case %d", i)
	}
}

func TestEnvelope_Truncated(t *testing.T) {
	e := fullEnvelope()
	e.Payload = nil
	b := e.Append(nil)
	for n := range b {
		var got Envelope
		require.Error(t, got.Parse(b[:n], nil), "%d of %d bytes", n, len(b))
	}
}

func TestEnvelope_FromTheFuture(t *testing.T) {
	var got Envelope
	require.ErrorIs(t, got.Parse([]byte{0x80, 0x80, 0x01, 0, 0}, nil), ErrNewer)
}

func FuzzEnvelope(f *testing.F) {
	e := fullEnvelope()
	f.Add(e.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Envelope
		if got.Parse(b, nil) != nil {
			return
		}
		canonical := got.Append(nil)
		var again Envelope
		require.NoError(t, again.Parse(canonical, nil))
		require.Equal(t, canonical, again.Append(nil))
	})
}

func TestHead_RoundTripAndDamage(t *testing.T) {
	h := Head{Deleted: true, Version: 1 << 32, Phase: "turn", Created: 5, Updated: -6, Base: 3, Snapshot: 100, SnapshotTime: 77,
		Bytes: 12345, Digest: Digest{1, 2, 3}, Revision: 4, RevisionName: "v4", Mark: 8, Gaps: []Gap{{58, 100}}}
	b := h.Append(nil, "owner")
	var got Head
	require.NoError(t, got.Parse(b, "owner"))
	assert.Equal(t, h, got)
	require.Error(t, got.Parse(b, "another"), "a head of another machine")
	for i := range b {
		b[i] ^= 0x40
		require.Error(t, got.Parse(b, "owner"), "byte %d changed", i)
		b[i] ^= 0x40
		require.Error(t, got.Parse(b[:i], "owner"), "%d bytes", i)
	}
}

// rows C9, C10.
func TestSnapshot_RoundTripAndDamage(t *testing.T) {
	s := Snapshot{Kind: "game", ID: "g-1", Seq: 100, Version: 1 << 32, Phase: "turn", Time: 9, Created: 5, Updated: 6, Deleted: true,
		Pinned: true, Digest: Digest{9}, Bytes: 77, Revision: 2, RevisionName: "two", Mark: 3, Reason: "by hand", Tags: []string{"t"},
		Keys: []Key{{Name: "k", Sum: 1, Seq: 99, Version: 1, Phase: "p", Time: 4}}, State: []byte("state")}
	b := s.Append([]byte("x"), "owner")[1:]
	var got Snapshot
	require.NoError(t, got.Parse(b, "owner"))
	assert.Equal(t, s, got)
	require.Error(t, got.Parse(b, "another"))
	for i := range b {
		b[i] ^= 0x01
		require.Error(t, got.Parse(b, "owner"), "byte %d changed", i)
		b[i] ^= 0x01
	}
}

func FuzzSnapshotHead(f *testing.F) {
	s := Snapshot{Kind: "game", ID: "g", State: []byte("state"), Keys: []Key{{Name: "k"}}, Tags: []string{"a"}}
	h := Head{Phase: "turn", Gaps: []Gap{{1, 2}}}
	f.Add(s.Append(nil, ""))
	f.Add(h.Append(nil, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		sealed := seal(append([]byte(nil), b...), 0, "") // so that the fields are reached
		var s Snapshot
		if s.Parse(sealed, "") == nil {
			var again Snapshot
			require.NoError(t, again.Parse(s.Append(nil, ""), ""))
		}
		var h Head
		if h.Parse(sealed, "") == nil {
			var again Head
			require.NoError(t, again.Parse(h.Append(nil, ""), ""))
		}
	})
}

func TestDigest_Chain(t *testing.T) {
	var d Digest
	a, b := d.Next([]byte("a")), d.Next([]byte("b"))
	assert.NotEqual(t, a, b)
	assert.NotEqual(t, a.Next([]byte("b")), b.Next([]byte("a")), "the order counts")
	long := make([]byte, 10000)
	assert.NotEqual(t, d.Next(long), d.Next(long[1:]))
	assert.Zero(t, testing.AllocsPerRun(200, func() { d = d.Next(long[:300]) }))
}
