package format

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func someStepWrite(r *rand.Rand) StepWrite {
	some := func() []byte {
		b := make([]byte, r.IntN(40))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	expect := r.Uint64() >> r.IntN(64)
	w := StepWrite{Machine: append(some(), 'm'), Kind: r.Uint32(), Schema: r.Uint64(), Number: r.Uint64(), Pos: r.Uint64(),
		Expect: expect, Seq: expect + uint64(r.IntN(9)), Token: bytes.Repeat([]byte{byte(r.Uint32())}, 16), Head: some()}
	for range r.IntN(4) {
		w.Drop = append(w.Drop, r.Uint64())
		w.Events = append(w.Events, StepEvent{Time: r.Int64() - 1<<62, Bytes: some()})
		w.Snaps = append(w.Snaps, StepSnapshot{Seq: r.Uint64(), Bytes: some()})
	}
	return w
}

func sameStepWrite(t *testing.T, want, have StepWrite) {
	t.Helper()
	require.Equal(t, want.Append(nil), have.Append(nil))
	require.Equal(t, want.Seq, have.Seq)
	require.Equal(t, want.Pos, have.Pos)
	require.Equal(t, len(want.Events), len(have.Events))
}

// TestStep_RoundTrip: appended writes are read in order, into slices that are reused.
func TestStep_RoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var have StepWrite
	for range 2000 {
		head := GroupHeader{Number: r.Uint64(), Pos: r.Uint64(), Machines: r.Uint64()}
		b := head.Append(nil)
		var writes []StepWrite
		n := r.IntN(5)
		b = AppendStepLen(b, n)
		for range n {
			writes = append(writes, someStepWrite(r))
			b = writes[len(writes)-1].Append(b)
		}
		var got GroupHeader
		rest, err := got.Cut(b)
		require.NoError(t, err)
		require.Equal(t, head, got)
		m, rest, err := CutStepLen(rest)
		require.NoError(t, err)
		require.Equal(t, n, m)
		for _, w := range writes {
			var one []byte
			one, rest, err = CutWrite(rest)
			require.NoError(t, err)
			require.NoError(t, have.Parse(one))
			sameStepWrite(t, w, have)
		}
		require.Empty(t, rest)
	}
}

// TestStep_Cut: a part of a write is not accepted as a write.
func TestStep_Cut(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		w := someStepWrite(r)
		b := w.Append(nil)
		for n := range len(b) {
			_, _, err := CutWrite(b[:n])
			require.Error(t, err)
			if n >= 4 {
				require.Error(t, new(StepWrite).Parse(b[4:n]))
			}
		}
		require.Error(t, new(StepWrite).Parse(append(b[4:len(b):len(b)], 0)))
	}
	_, err := new(GroupHeader).Cut([]byte{stepShape + 1, 0, 0, 0})
	require.ErrorIs(t, err, ErrNewer)
}

// FuzzStep: any bytes are parsed without a panic, and no list has more elements than
// the input has bytes.
func FuzzStep(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		w := someStepWrite(r)
		f.Add(w.Append(AppendStepLen((&GroupHeader{Number: 1}).Append(nil), 1)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var head GroupHeader
		rest, err := head.Cut(b)
		for err == nil && len(rest) > 0 {
			var n int
			for n, rest, err = CutStepLen(rest); err == nil && n > 0; n-- {
				var one []byte
				if one, rest, err = CutWrite(rest); err != nil {
					return
				}
				var w StepWrite
				if w.Parse(one) != nil {
					return
				}
				require.LessOrEqual(t, len(w.Drop)+len(w.Events)+len(w.Snaps), len(one))
				var again StepWrite
				require.NoError(t, again.Parse(w.Append(nil)[4:]))
				sameStepWrite(t, w, again)
			}
		}
	})
}
