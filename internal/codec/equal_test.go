package codec_test

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/internal/codec"
)

func TestNormalize(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5000, time.FixedZone("x", 3600))
	n := 5
	for _, tt := range []struct{ in, want any }{
		{nil, nil}, {true, true}, {"a", "a"}, {5, int64(5)}, {int8(-5), int64(-5)}, {uint8(200), int64(200)}, {uint(7), int64(7)},
		{uint64(math.MaxInt64), int64(math.MaxInt64)}, {uint64(math.MaxInt64 + 1), uint64(math.MaxInt64 + 1)},
		{float32(0.5), 0.5}, {1.5, 1.5}, {suit(3), int64(3)}, {time.Second, int64(time.Second)},
		{[]byte{1}, []byte{1}}, {[]suit{1, 2}, []byte{1, 2}}, {[2]byte{1, 2}, []byte{1, 2}}, {[2]suit{1, 2}, []byte{1, 2}},
		{at, at.UTC()}, {&at, at.UTC()}, {&n, int64(5)}, {(*int)(nil), nil}, {[]int(nil), nil}, {map[string]int(nil), nil}, {[]byte(nil), nil}, {[]byte{}, []byte{}},
		{[]int{1}, []any{int64(1)}}, {[0]int{}, []any{}}, {[2]bool{true}, []any{true, false}},
		{map[string]int{"a": 1}, map[string]any{"a": int64(1)}}, {map[int][]string{1: {"a"}}, map[int64]any{1: []any{"a"}}},
		{map[suit]suit{1: 2}, map[int64]any{1: int64(2)}}, {map[int]int{}, map[int64]any{}}, {map[string]int{}, map[string]any{}},
		{map[any]any{"a": 1}, map[string]any{"a": int64(1)}}, {map[any]any{uint8(1): 1}, map[int64]any{1: int64(1)}},
		{doc{"a": items{1, nil}}, map[string]any{"a": []any{int64(1), nil}}},
		{point{1, 2}, map[string]any{"X": int64(1), "Y": int64(2)}}, {&point{1, 2}, map[string]any{"X": int64(1), "Y": int64(2)}},
		{[]point{{1, 2}}, []any{map[string]any{"X": int64(1), "Y": int64(2)}}}, {map[int]*point{1: nil}, map[int64]any{1: nil}},
		{arrayed{A: 1, B: "b"}, []any{int64(1), "b"}}, {netip.MustParseAddr("1.2.3.4"), []byte{1, 2, 3, 4}}, {keeper{[]byte("k")}, []byte("k")},
		{generated{Text: "hi"}, "hi"}, {&generated{Text: "hi"}, "hi"}, {pointerOnly{7}, int64(7)}, {[]any{pointerOnly{7}}, []any{int64(7)}},
	} {
		got, err := codec.Normalize(tt.in)
		require.NoError(t, err, "%T", tt.in)
		assert.Equal(t, tt.want, got, "%T %v", tt.in, tt.in)
		again, err := codec.Normalize(got)
		require.NoError(t, err)
		assert.Equal(t, got, again)
	}
}

// Normalize returns the document that the encoded bytes decode to.
func TestNormalize_AgreesWithDocument(t *testing.T) {
	for _, v := range []any{newEverything(), newCardGame(), node{Kids: []*node{nil}}, map[string]any{"a": newCardGame(), "b": []any{map[int]point{1: {}}}},
		[]map[string]time.Time{{"a": time.Now()}}, map[string][2]keeper{"a": {}}, nested{}, struct{ E map[int]int }{map[int]int{}}} {
		want, err := codec.Normalize(v)
		require.NoError(t, err)
		b, err := codec.Marshal(v)
		require.NoError(t, err)
		got, err := codec.Document(b)
		require.NoError(t, err)
		assert.True(t, codec.Equal(want, got), "%T: %v", v, codec.Diff(want, got, 5))
		assert.Empty(t, codec.Diff(want, got, 5))
	}
}

func TestNormalize_IsACopy(t *testing.T) {
	in := map[string]any{"l": []any{[]byte("b"), map[int64]any{1: "x"}}}
	out, err := codec.Normalize(in)
	require.NoError(t, err)
	in["l"].([]any)[0].([]byte)[0] = 'X'
	in["l"].([]any)[1].(map[int64]any)[1] = "y"
	in["new"] = 1
	assert.Equal(t, map[string]any{"l": []any{[]byte("b"), map[int64]any{1: "x"}}}, out)
}

func TestNormalize_Errors(t *testing.T) {
	type list []any
	loop := list{nil}
	loop[0] = loop
	m := map[string]any{}
	m["m"] = m
	var self any
	self = &self
	deep := any(point{})
	for range 64 {
		deep = []any{deep}
	}
	for name, tt := range map[string]struct {
		v    any
		want string
	}{
		"mixed keys":    {map[any]any{1: 1, "a": 1}, "has both"},
		"bool keys":     {map[string]any{"x": map[bool]int{true: 1}}, "has a key that is of type bool"},
		"text keys":     {map[netip.Addr]int{{}: 1}, "has a key that is bytes"},
		"equal keys":    {map[any]int{int8(1): 1, int16(1): 1}, "two keys"},
		"chan":          {[]any{make(chan int)}, "unsupported chan int"},
		"func":          {func() {}, "unsupported func()"},
		"a loop":        {loop, "nested deeper than 64"},
		"a map in it":   {m, "nested deeper than 64"},
		"self":          {self, "a pointer that leads to itself"},
		"65 deep":       {deep, "nested deeper than 0"},
		"method panics": {[]any{generated{Text: "panic"}}, "panic: out of cards"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := codec.Normalize(tt.v)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, fmt.Sprintf("normalize %T: ", tt.v))
		})
	}
}

func TestEqual(t *testing.T) {
	at := time.Unix(5, 0)
	for _, tt := range []struct {
		a, b any
		want bool
	}{
		{nil, nil, true}, {nil, false, false}, {nil, "", false}, {nil, []any{}, false}, {nil, map[string]any{}, false}, {nil, []byte{}, false},
		{true, true, true}, {true, false, false}, {int64(1), int64(1), true}, {int64(1), int64(2), false},
		{int64(1), uint64(1), true}, {int64(-1), uint64(math.MaxUint64), false}, {uint64(math.MaxUint64), uint64(math.MaxUint64), true},
		{int64(1), 1.0, false}, {uint64(1), 1.0, false}, {1.5, 1.5, true}, {math.NaN(), math.NaN(), true}, {math.NaN(), 1.0, false}, {0.0, math.Copysign(0, -1), true},
		{"a", "a", true}, {"a", "b", false}, {"a", []byte("a"), false}, {[]byte("a"), []byte("a"), true}, {[]byte("a"), []byte("b"), false},
		{at, at.In(time.FixedZone("x", 60)), true}, {at, at.Add(1), false}, {at, int64(5), false},
		{[]any{int64(1)}, []any{uint64(1)}, true}, {[]any{int64(1)}, []any{}, false}, {[]any{}, []any{}, true}, {[]any{nil}, []any{false}, false},
		{map[string]any{"a": nil}, map[string]any{}, false}, {map[string]any{"a": nil}, map[string]any{"b": nil}, false},
		{map[string]any{"a": math.NaN()}, map[string]any{"a": math.NaN()}, true}, {map[string]any{}, map[int64]any{}, true},
		{map[string]any{"1": true}, map[int64]any{1: true}, false}, {map[int64]any{1: true}, map[int64]any{1: true}, true}, {map[int64]any{1: true}, map[int64]any{1: false}, false},
		{map[string]any{}, []any{}, false},
		// Not documents.
		{1, int64(1), true}, {doc{"a": 1}, map[string]any{"a": int64(1)}, true}, {doc{"a": 1}, doc{"a": 2}, false}, {point{1, 2}, point{1, 2}, true},
		{[]any(nil), nil, true}, {map[string]any(nil), nil, true}, {[]byte(nil), nil, true}, {[]any(nil), []any{}, false}, {make(chan int), make(chan int), false},
		{map[string]any{"a": 1}, map[string]any{"a": int64(1)}, true},
	} {
		assert.Equal(t, tt.want, codec.Equal(tt.a, tt.b), "%T %v, %T %v", tt.a, tt.a, tt.b, tt.b)
		assert.Equal(t, tt.want, codec.Equal(tt.b, tt.a), "%T %v, %T %v", tt.b, tt.b, tt.a, tt.a)
		if tt.want {
			assert.Empty(t, codec.Diff(tt.a, tt.b, 10))
		} else {
			assert.NotEmpty(t, codec.Diff(tt.a, tt.b, 10))
		}
	}
}

func TestDiff(t *testing.T) {
	long := string(make([]byte, 100))
	a := map[string]any{
		"players": []any{nil, nil, map[string]any{"score": int64(5), "name": "a"}}, "hands": map[int64]any{3: []any{"7H"}},
		"n": int64(1), "gone": true, "a b": 1.5, "same": []byte{1}, "bytes": []byte{1}, "t": time.Unix(0, 0).UTC(), "m": map[string]any{"x": nil}, "long": long + "a",
	}
	b := map[string]any{
		"players": []any{nil, nil, map[string]any{"score": int64(7), "name": "a"}, "more"}, "hands": map[int64]any{3: []any{}, 4: nil},
		"n": 1.0, "new": nil, "a b": 2.5, "same": []byte{1}, "bytes": []byte{2}, "t": time.Unix(1, 0).UTC(), "m": []any{int64(1)}, "long": long + "b",
	}
	want := []string{
		`["a b"]: 1.5 != 2.5`,
		`bytes: 0x01 != 0x02`,
		`gone: true != (absent)`,
		`hands[3][0]: "7H" != (absent)`,
		`hands[4]: (absent) != nil`,
		fmt.Sprintf(`long: %q... (101 bytes) (string) != %q... (101 bytes) (string)`, long[:48], long[:48]),
		`m: (map of 1) != (array of 1)`,
		`n: 1 != 1.0`,
		`new: (absent) != nil`,
		`players[2].score: 5 != 7`,
		`players[3]: (absent) != "more"`,
		`t: 1970-01-01T00:00:00Z != 1970-01-01T00:00:01Z`,
	}
	assert.Equal(t, want, codec.Diff(a, b, 100))
	for n := range len(want) {
		assert.Equal(t, want[:n], append([]string{}, codec.Diff(a, b, n)...))
	}
	assert.Nil(t, codec.Diff(a, a, 5))
	assert.Nil(t, codec.Diff(a, b, 0))
	assert.Nil(t, codec.Diff(a, b, -1))
	assert.Equal(t, []string{"(value): 1 != 2"}, codec.Diff(1, 2, 5))
	assert.Equal(t, []string{"X: 1 != 2"}, codec.Diff(point{1, 1}, point{2, 1}, 5))
	assert.Equal(t, []string{`(value): "a" != 0x61`}, codec.Diff("a", []byte("a"), 5))
	assert.Equal(t, []string{`[""]: 1 != 2`}, codec.Diff(map[string]any{"": 1}, map[string]any{"": 2}, 5))
	assert.Len(t, codec.Diff(make(chan int), errors.New("x"), 5), 1)
}
