package codec_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/internal/codec"
)

func seeds(f *testing.F) {
	for _, b := range bombs() {
		f.Add(b[:min(len(b), 1000)])
	}
	for _, v := range []any{newCardGame(), newEverything(), played{}, map[int]any{1: time.Now(), 300: []byte("b")}, time.Unix(1_700_000_000, 0x37ffffff)} {
		b, err := codec.Marshal(v)
		require.NoError(f, err)
		f.Add(b)
	}
}

// allocated is how many bytes were ever allocated, to some 100 KiB. Unlike runtime.ReadMemStats it stops nothing.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Guarantees: (1) Scan never panics, (2) it and what follows allocate at most 16 MiB for up to 64 KiB, (3) what Scan
// accepts Document decodes or refuses without a panic, and what Document decodes comes back from Marshal, (4) what Scan
// refuses no door takes.
func FuzzScan(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 64<<10)]
		before := allocated()
		err := codec.Scan(b, codec.Limits{})
		d, docErr := codec.Document(b)
		if n := allocated() - before; n > 16<<20 {
			t.Fatalf("%d bytes allocated for %d", n, len(b))
		}
		var x any
		anyErr := codec.Unmarshal(b, &x)
		if err != nil {
			if docErr == nil || anyErr == nil {
				t.Fatal("what Scan refuses is decoded")
			}
			return
		}
		if (docErr == nil) != (anyErr == nil) {
			t.Fatalf("Document: %v, Unmarshal: %v", docErr, anyErr)
		}
		if docErr != nil {
			return
		}
		if !codec.Equal(d, x) {
			t.Fatalf("Document and Unmarshal differ: %q", codec.Diff(d, x, 5))
		}
		again, err := codec.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		d2, err := codec.Document(again)
		if err != nil {
			t.Fatal(err)
		}
		if !codec.Equal(d, d2) || codec.Diff(d, d2, 5) != nil {
			t.Fatalf("a document changed: %q", codec.Diff(d, d2, 5))
		}
	})
}

// Guarantees: Unmarshal into typed values of many kinds (1) never panics, (2) allocates at most 64 MiB for up to 16 KiB,
// (3) returns values that are unchanged after Marshal and Unmarshal.
func FuzzUnmarshal(f *testing.F) {
	type mixed struct {
		A, Time any
		Map     map[string]any
		Ints    map[int64]any
		List    []any
		Texts   map[string]string
		T       *time.Time
		Next    *mixed
	}
	targets := []reflect.Type{
		reflect.TypeFor[cardGame](), reflect.TypeFor[everything](), reflect.TypeFor[mixed](), reflect.TypeFor[nested](), reflect.TypeFor[node](), reflect.TypeFor[arrayed](),
		reflect.TypeFor[map[string]any](), reflect.TypeFor[[]any](), reflect.TypeFor[map[int][]string](), reflect.TypeFor[[]map[string]time.Time](), reflect.TypeFor[[]time.Time](),
	}
	seeds(f)
	m, err := codec.Marshal(mixed{A: map[int]any{1: 2}, Map: map[string]any{"a": 1}, Next: &mixed{}})
	require.NoError(f, err)
	f.Add(m)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 16<<10)]
		for _, typ := range targets {
			before := allocated()
			v := reflect.New(typ)
			err := codec.Unmarshal(b, v.Interface())
			if n := allocated() - before; n > 64<<20 {
				t.Fatalf("%v: %d bytes allocated for %d", typ, n, len(b))
			}
			if err != nil {
				continue
			}
			again, err := codec.Marshal(v.Interface())
			if err != nil {
				t.Fatalf("%v: %v", typ, err)
			}
			w := reflect.New(typ)
			if err := codec.Unmarshal(again, w.Interface()); err != nil {
				t.Fatalf("%v: %v", typ, err)
			}
			if !codec.Equal(v.Interface(), w.Interface()) {
				t.Fatalf("%v changed: %q", typ, codec.Diff(v.Interface(), w.Interface(), 5))
			}
		}
	})
}

// Guarantee: Normalize, then Marshal, then Document returns an equal document, and so does Marshal, then Document; also
// for a struct with a field of type any.
func FuzzRoundTrip(f *testing.F) {
	for i := range 20 {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		b := make([]byte, 200)
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := (&grower{b: b}).value(0)
		d, err := codec.Normalize(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{d, in} {
			enc, err := codec.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := codec.Document(enc)
			if err != nil {
				t.Fatal(err)
			}
			if !codec.Equal(d, got) {
				t.Fatalf("%q", codec.Diff(d, got, 5))
			}
			enc, err = codec.Marshal(struct {
				F any
				G map[string]any
			}{v, map[string]any{"v": v}})
			if err != nil {
				t.Fatal(err)
			}
			var out struct {
				F any
				G map[string]any
			}
			if err := codec.Unmarshal(enc, &out); err != nil {
				t.Fatal(err)
			}
			if !codec.Equal(d, out.F) || !codec.Equal(d, out.G["v"]) {
				t.Fatalf("in a struct: %q", codec.Diff(d, out.F, 5))
			}
		}
	})
}

// A grower makes Go values of many types from bytes.
type grower struct{ b []byte }

func (g *grower) byte() int {
	if len(g.b) == 0 {
		return 0
	}
	c := g.b[0]
	g.b = g.b[1:]
	return int(c)
}

func (g *grower) bits() uint64 {
	var raw [8]byte
	g.b = g.b[copy(raw[:], g.b):]
	return binary.LittleEndian.Uint64(raw[:]) >> (g.byte() % 64)
}

func (g *grower) text() string {
	n := min(g.byte()%64, len(g.b))
	s := string(g.b[:n])
	g.b = g.b[n:]
	return s
}

func (g *grower) value(depth int) any {
	kind := g.byte() % 24
	if depth > 8 {
		kind %= 14
	}
	n := g.byte() % 5
	switch kind {
	case 0:
		return nil
	case 1:
		return n > 2
	case 2:
		return int64(g.bits())
	case 3:
		return g.bits()
	case 4:
		return int16(g.bits())
	case 5:
		return uint8(g.bits())
	case 6:
		return math.Float64frombits(g.bits())
	case 7:
		return math.Float32frombits(uint32(g.bits()))
	case 8:
		return g.text()
	case 9:
		return []byte(g.text())
	case 10:
		return time.Unix(int64(g.bits()>>4), int64(g.bits()%1e9))
	case 11:
		return point{int(g.bits()), -n}
	case 12:
		return node{Name: g.text(), Kids: []*node{nil, {}}}
	case 13:
		return map[int]int{}
	case 14, 15:
		list := make([]any, n)
		for i := range list {
			list[i] = g.value(depth + 1)
		}
		return list
	case 16, 17:
		m := map[string]any{}
		for range n {
			m[g.text()] = g.value(depth + 1)
		}
		return m
	case 18:
		m := map[int64]any{}
		for range n {
			m[int64(g.bits())] = g.value(depth + 1)
		}
		return m
	case 19:
		m := map[uint16][]any{}
		for range n {
			m[uint16(g.bits())] = []any{g.value(depth + 1)}
		}
		return m
	case 20:
		m := map[string]int{}
		for range n {
			m[g.text()] = int(g.bits())
		}
		return m
	case 21:
		return [3]any{g.value(depth + 1), nil, g.value(depth + 1)}
	case 22:
		v := g.value(depth + 1)
		return &v
	}
	return struct {
		A any
		B map[int]string `msgpack:"b"`
	}{g.value(depth + 1), map[int]string{n: g.text()}}
}
