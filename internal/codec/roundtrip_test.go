//lint:file-ignore U1000 reflection reads the fields

package codec_test

import (
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/liap-tui/savepoint/internal/codec"
)

type (
	suit  uint8
	doc   map[string]any
	items []any
	node  struct {
		Name string
		Kids []*node
	}
	point  struct{ X, Y int }
	base   struct{ ID, Rev int }
	nested struct {
		Rev string // declared before base, so base is not spread into the outer struct
		base
		Points []point
	}
	arrayed struct {
		_msgpack struct{} `msgpack:",as_array"`
		A        int
		B        string
	}
	everything struct {
		Bool    bool
		Int     int
		I8      int8
		I64     int64
		U8      uint8
		U64     uint64
		F32     float32
		F64     float64
		Text    string
		Bytes   []byte
		Time    time.Time
		Span    time.Duration
		Ptr     *point
		Nil     *point
		List    []point
		Four    [4]int
		Suits   [4]suit
		Hash    [20]byte
		Map     map[string]int
		Hands   map[int][]string
		U16s    map[uint16]suit
		Strings map[string]string
		Points  map[string]*point
		Addr    netip.Addr
		Big     big.Int
		BigPtr  *big.Int
		Array   arrayed
		Skipped string `msgpack:"-"`
		Short   string `msgpack:"s,omitempty"`
		Tree    node
	}
)

func newEverything() everything {
	return everything{
		Bool: true, Int: -1 << 31, I8: -128, I64: math.MaxInt64, U8: 255, U64: math.MaxUint64, F32: 1.5, F64: math.Inf(-1),
		Text: "ä\x00\xff", Bytes: []byte{}, Time: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC), Span: -time.Hour,
		Ptr: &point{1, 2}, List: []point{{3, 4}}, Four: [4]int{1, 2, 3, 4}, Suits: [4]suit{1, 2, 3, 4}, Hash: [20]byte{19: 7},
		Map: map[string]int{}, Hands: map[int][]string{-1: {"a"}, 300: {}}, U16s: map[uint16]suit{7: 8},
		Strings: map[string]string{"a": "b"}, Points: map[string]*point{"x": {5, 6}, "nil": nil},
		Addr: netip.MustParseAddr("10.0.0.1"), Big: *big.NewInt(-99), BigPtr: big.NewInt(1), Array: arrayed{A: 1, B: "b"},
		Tree: node{Name: "root", Kids: []*node{{Name: "kid", Kids: []*node{}}, nil}},
	}
}

// Unmarshal restores what Marshal wrote, for values and for pointers to them.
// row D18.
func TestRoundTrip(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 5000, time.UTC)
	values := []any{
		true, 0, -1, 127, 128, 255, 256, -32, -33, -128, -129, int64(math.MaxInt64), int64(math.MinInt64), uint64(math.MaxUint64),
		int8(-3), int16(300), int32(-70000), uint8(200), uint16(50000), uint32(4e9), float32(1.5), 2.5, math.MaxFloat64,
		"", "text", string(make([]byte, 300)), string(make([]byte, 70000)), []byte("bytes"), []byte{}, now, time.Time{}, time.Unix(-5, 7).UTC(),
		time.Unix(1<<35, 999_999_999).UTC(), time.Minute, []int{1, 2}, []string{}, []string{"a"}, [3]int{1, 2, 3}, suit(3), []suit{1, 2},
		map[string]int{"a": 1}, map[int][]string{1: {"a", "b"}, -7: nil}, map[string]string{"a": "b"}, map[string]bool{"a": true},
		point{1, 2}, []point{{1, 2}}, map[string]point{"a": {1, 2}}, node{Name: "a", Kids: []*node{{Name: "b"}}},
		arrayed{A: 1, B: "x"}, played{1, "7H", true}, newCardGame(), newEverything(), nested{Rev: "a", base: base{1, 2}, Points: []point{}}, nameOfSpread{Base2{1}, 2}, embedsScalar2{"x"}, struct{}{}, struct{ A *int }{},
		netip.MustParseAddr("::1"),
	}
	for _, v := range values {
		want := reflect.New(reflect.TypeOf(v))
		want.Elem().Set(reflect.ValueOf(v))
		b, err := codec.Marshal(v)
		require.NoError(t, err, "%T", v)
		got := reflect.New(reflect.TypeOf(v))
		require.NoError(t, codec.Unmarshal(b, got.Interface()), "%T", v)
		assert.Equal(t, want.Interface(), got.Interface())

		b, err = codec.Marshal(want.Interface())
		require.NoError(t, err, "*%T", v)
		got = reflect.New(reflect.TypeOf(v))
		require.NoError(t, codec.Unmarshal(b, got.Interface()), "*%T", v)
		assert.Equal(t, want.Interface(), got.Interface())

		b, err = codec.Append([]byte("before"), v)
		require.NoError(t, err, "%T", v)
		assert.Equal(t, "before", string(b[:6]))
		got = reflect.New(reflect.TypeOf(v))
		require.NoError(t, codec.Unmarshal(b[6:], got.Interface()), "%T", v)
		assert.Equal(t, want.Interface(), got.Interface())
	}
}

func TestMarshal_Nil(t *testing.T) {
	for _, v := range []any{nil, (*point)(nil), (*generated)(nil), []int(nil), map[string]int(nil), []byte(nil)} {
		b, err := codec.Marshal(v)
		require.NoError(t, err, "%T", v)
		assert.Equal(t, []byte{0xc0}, b, "%T", v)
	}
}

func TestMarshal_Deterministic(t *testing.T) {
	m := map[string]any{}
	for _, k := range "qwertyuiopasdfghjkl" {
		m[string(k)] = map[string]any{"b": 1, "a": 2, "c": map[string]string{"y": "", "x": ""}}
	}
	want, err := codec.Marshal(m)
	require.NoError(t, err)
	for range 20 {
		got, err := codec.Marshal(m)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestMarshal_CompactInts(t *testing.T) {
	b, err := codec.Marshal([]int64{1, -1, 200})
	require.NoError(t, err)
	assert.Equal(t, []byte{0x93, 0x01, 0xff, 0xcc, 200}, b)
}

// The result belongs to the caller: later calls leave it alone.
func TestMarshal_ResultIsTheCallers(t *testing.T) {
	first, err := codec.Marshal("first")
	require.NoError(t, err)
	want := string(first)
	for range 100 {
		_, err := codec.Marshal("other")
		require.NoError(t, err)
	}
	assert.Equal(t, want, string(first))
}

// No result shares memory with the bytes it came from.
func TestUnmarshal_SharesNothing(t *testing.T) {
	type holder struct {
		Text  string
		Bytes []byte
		Any   any
		Raw   msgpack.RawMessage
		Map   map[string][]byte
		Doc   map[string]any
		Self  keeper
	}
	in := holder{
		Text: "text", Bytes: []byte("bytes"), Any: map[string]any{"key": []any{"text", []byte("bytes")}},
		Raw: msgpack.RawMessage{0xa3, 'r', 'a', 'w'}, Map: map[string][]byte{"key": []byte("bytes")},
		Doc: map[string]any{"k": "v", "b": []byte("bytes"), "m": map[int]any{1: "one"}}, Self: keeper{b: []byte("kept")},
	}
	want := in
	want.Doc = map[string]any{"k": "v", "b": []byte("bytes"), "m": map[int64]any{1: "one"}}
	b, err := codec.Marshal(&in)
	require.NoError(t, err)
	var got holder
	require.NoError(t, codec.Unmarshal(b, &got))
	d, err := codec.Document(b)
	require.NoError(t, err)
	wantDoc, err := codec.Document(append([]byte(nil), b...))
	require.NoError(t, err)
	gen := generated{Text: "own"}
	gb, err := codec.Marshal(gen)
	require.NoError(t, err)
	var gotGen generated
	require.NoError(t, codec.Unmarshal(gb, &gotGen))
	for i := range b {
		b[i] = 0xa5
	}
	for i := range gb {
		gb[i] = 0xa5
	}
	assert.Equal(t, want, got)
	assert.Equal(t, wantDoc, d)
	assert.Equal(t, "own", string(gotGen.kept))
}

// keeper keeps the bytes that its decoder receives.
type keeper struct{ b []byte }

func (k keeper) MarshalBinary() ([]byte, error)  { return k.b, nil }
func (k *keeper) UnmarshalBinary(b []byte) error { k.b = b; return nil }
func (g generated) MarshalMsg(b []byte) ([]byte, error) {
	if g.Text == "panic" {
		panic("out of cards")
	}
	if g.Text == "error" {
		return nil, errors.New("no cards")
	}
	if g.Text == "garbage" {
		return append(b, 0xdd, 0xff), nil
	}
	b = append(b, 0xa0|byte(len(g.Text)))
	return append(b, g.Text...), nil
}

// generated has the methods that tinylib/msgp writes, in a form that cannot be mistaken for the library's own.
type generated struct {
	Text string
	kept []byte
	When time.Time
	Any  any
}

func (g *generated) UnmarshalMsg(b []byte) ([]byte, error) {
	n := int(b[0] & 0x1f)
	g.Text = string(b[1 : 1+n])
	g.kept = b[1 : 1+n]
	g.When = time.Unix(5, 0).In(time.FixedZone("x", 3600))
	g.Any = map[string]any{"n": int8(1), "list": []int{1}}
	switch g.Text {
	case "out":
		panic(errSpilled)
	case "rest":
		return b[n:], nil
	}
	return b[1+n:], nil
}

// Methods that the library would take, were it not for the other ones.
func (g generated) MarshalText() ([]byte, error) { return []byte("text"), nil }
func (g *generated) UnmarshalText([]byte) error  { return errSpilled }

var errSpilled = errors.New("spilled")

// pointerOnly is what tinylib/msgp writes for structs: MarshalMsg on the pointer.
type pointerOnly struct{ N byte }

func (p *pointerOnly) MarshalMsg(b []byte) ([]byte, error) { return append(b, p.N), nil }
func (p *pointerOnly) UnmarshalMsg(b []byte) ([]byte, error) {
	p.N = b[0]
	return b[1:], nil
}

func TestOwnMethods(t *testing.T) {
	for _, v := range []any{generated{Text: "hi"}, &generated{Text: "hi"}} {
		b, err := codec.Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, []byte{0xa2, 'h', 'i'}, b)
		b, err = codec.Append([]byte("x"), v)
		require.NoError(t, err)
		assert.Equal(t, []byte{'x', 0xa2, 'h', 'i'}, b)
		var got generated
		require.NoError(t, codec.Unmarshal(b[1:], &got))
		assert.Equal(t, "hi", got.Text)
		assert.Equal(t, time.UTC, got.When.Location(), "times of generated types are in UTC too")
		assert.Equal(t, map[string]any{"n": int64(1), "list": []any{int64(1)}}, got.Any, "and their anys documents")
	}
	for _, v := range []any{pointerOnly{7}, &pointerOnly{7}} {
		b, err := codec.Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, []byte{7}, b)
		var got pointerOnly
		require.NoError(t, codec.Unmarshal(b, &got))
		assert.Equal(t, pointerOnly{7}, got)
	}
}

func TestOwnMethods_Errors(t *testing.T) {
	_, err := codec.Marshal(generated{Text: "panic"})
	assert.EqualError(t, err, "encode codec_test.generated: panic: out of cards")
	_, err = codec.Marshal(generated{Text: "error"})
	assert.EqualError(t, err, "encode codec_test.generated: no cards")
	_, err = codec.Marshal(generated{Text: "garbage"})
	assert.ErrorContains(t, err, "encode codec_test.generated: byte 0: ")
	dst := []byte("kept")
	got, err := codec.Append(dst, generated{Text: "panic"})
	assert.Error(t, err)
	assert.Equal(t, "kept", string(got))

	var g generated
	err = codec.Unmarshal([]byte{0xa3, 'o', 'u', 't'}, &g)
	assert.ErrorIs(t, err, errSpilled)
	assert.EqualError(t, err, "decode codec_test.generated: panic: spilled")
	assert.ErrorContains(t, codec.Unmarshal([]byte{0xa4, 'r', 'e', 's', 't'}, &g), "UnmarshalMsg left 1 of 5 bytes")

	_, err = codec.Marshal(struct{ T thrower }{})
	assert.ErrorContains(t, err, "panic: thrown")
	b, err := codec.Marshal(struct{ T int }{})
	require.NoError(t, err)
	var th struct{ T thrower }
	assert.ErrorContains(t, codec.Unmarshal(b, &th), "panic: thrown back")

	// Neither leaves a broken coder in a pool.
	TestRoundTrip(t)
}

type thrower struct{}

func (thrower) EncodeMsgpack(*msgpack.Encoder) error  { panic("thrown") }
func (*thrower) DecodeMsgpack(*msgpack.Decoder) error { panic("thrown back") }

func TestMarshal_Refuses(t *testing.T) {
	type list []any
	loop := list{nil}
	loop[0] = loop
	ring := &node{Name: "ring"}
	ring.Kids = []*node{ring}
	deep := any(1)
	for range 65 {
		deep = []any{deep}
	}
	for name, tt := range map[string]struct {
		v    any
		want string
	}{
		"func":                 {func() {}, "unsupported func()"},
		"chan inside":          {struct{ C chan int }{}, "unsupported chan int"},
		"complex":              {complex(1, 2), "unsupported complex128"},
		"uintptr":              {uintptr(1), "panic"},
		"itself":               {loop, "nested deeper than 64"},
		"a ring":               {ring, "nested deeper than 64"},
		"65 deep":              {deep, "nested deeper than 64"},
		"4,000,001 elements":   {make([]bool, 4_000_001), "more than 4000000 elements"},
		"bool keys in an any":  {map[string]any{"a": map[bool]int{true: 1}}, "byte 4: a map in an any has string keys only or int64 keys only"},
		"mixed keys in an any": {struct{ A any }{map[any]any{1: 1, "a": map[string]bool{}}}, "a map in an any has string keys only"},
		"large keys in an any": {[]any{map[uint64]int{math.MaxUint64: 1}}, "a map in an any has string keys only"},
		"struct keys":          {[]any{map[point]int{{}: 1}}, "a map in an any has string keys only"},
		"an empty raw message": {[]any{msgpack.RawMessage{}}, "1 values are claimed, 0 bytes are left"},
		"a raw message of two": {msgpack.RawMessage{1, 2}, "1 bytes follow the value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := codec.Marshal(tt.v)
			require.ErrorContains(t, err, tt.want)
			_, err = codec.Append([]byte("abc"), tt.v)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestUnmarshal_Refuses(t *testing.T) {
	good, err := codec.Marshal(point{1, 2})
	require.NoError(t, err)
	var p point
	assert.ErrorContains(t, codec.Unmarshal(append(good, 0), &p), "1 bytes follow the value")
	assert.ErrorContains(t, codec.Unmarshal(good[:len(good)-1], &p), "byte")
	assert.ErrorContains(t, codec.Unmarshal(nil, &p), "the bytes end")
	assert.ErrorContains(t, codec.Unmarshal(good, p), "want a pointer")
	assert.ErrorContains(t, codec.Unmarshal(good, nil), "want a pointer")
	assert.ErrorContains(t, codec.Unmarshal(good, (*point)(nil)), "want a pointer")
	var s string
	assert.ErrorContains(t, codec.Unmarshal(good, &s), "decode string: byte")
	var m map[string]any
	assert.EqualError(t, codec.Unmarshal([]byte{0x81, 1, 1}, &m), "decode map[string]interface {}: the value is a map with integer keys")
	assert.ErrorContains(t, codec.Unmarshal([]byte{0x90}, &m), "the value is an array")
	var l []any
	assert.ErrorContains(t, codec.Unmarshal([]byte{0x80}, &l), "the value is a map")
	var f struct{ E interface{ Foo() } }
	assert.Error(t, codec.Unmarshal([]byte{0x81, 0xa1, 'E', 0x01}, &f), "a panic of the library is an error")
}

// The result depends on the bytes alone, not on what was in the target.
func TestUnmarshal_Replaces(t *testing.T) {
	b, err := codec.Marshal(map[string]any{"Name": "new"})
	require.NoError(t, err)
	kids := []*node{{Name: "old"}}
	n := node{Name: "old", Kids: kids}
	require.NoError(t, codec.Unmarshal(b, &n))
	assert.Equal(t, node{Name: "new"}, n)
	m := map[string]int{"old": 1}
	keep := m
	require.NoError(t, codec.Unmarshal([]byte{0x81, 0xa1, 'a', 1}, &m))
	assert.Equal(t, map[string]int{"a": 1}, m)
	assert.Equal(t, map[string]int{"old": 1}, keep)
	x := any(&point{1, 2})
	require.NoError(t, codec.Unmarshal([]byte{0xc0}, &x))
	assert.Nil(t, x)
}

func TestUnmarshal_Documents(t *testing.T) {
	cards := map[int][]string{1: {"7H"}, 2: nil}
	want := map[string]any{
		"hands": map[int64]any{1: []any{"7H"}, 2: nil}, "n": int64(200), "u": uint64(math.MaxUint64), "f": 0.5, "neg": int64(-3),
		"t": time.Unix(5, 0).UTC(), "b": []byte("x"), "list": []any{int64(1), map[int64]any{int64(300): true}}, "empty": map[string]any{}, "nil": nil,
	}
	in := map[string]any{
		"hands": cards, "n": uint8(200), "u": uint64(math.MaxUint64), "f": float32(0.5), "neg": int16(-3),
		"t": time.Unix(5, 0), "b": []byte("x"), "list": []any{int32(1), map[uint16]bool{300: true}}, "empty": map[string]int{}, "nil": nil,
	}
	b, err := codec.Marshal(in)
	require.NoError(t, err)

	var m map[string]any
	require.NoError(t, codec.Unmarshal(b, &m))
	assert.Equal(t, want, m)
	var d doc
	require.NoError(t, codec.Unmarshal(b, &d))
	assert.Equal(t, doc(want), d)
	var x any
	require.NoError(t, codec.Unmarshal(b, &x))
	assert.Equal(t, any(want), x)
	var null doc
	require.NoError(t, codec.Unmarshal([]byte{0xc0}, &null))
	assert.Nil(t, null)

	type named interface{}
	type holder struct {
		Any   any
		Named named
		Map   map[string]any
		Doc   doc
		List  []any
		Items items
		Ints  map[int]any
		Array [2]any
		Deep  map[string][]map[int]any
		Ptr   *any
		Next  *holder
		base
	}
	h := holder{
		Any: in, Named: uint8(200), Map: in, Doc: in, List: []any{int8(1), in}, Items: items{in, uint8(3), []any{uint16(1000)}}, Ints: map[int]any{1: in, 2: uint8(9)},
		Array: [2]any{in, float32(1)}, Deep: map[string][]map[int]any{"a": {{1: in}}},
		Next: &holder{Any: []any{uint8(200), cards}},
	}
	ptr := any(in)
	h.Ptr = &ptr
	wantPtr := any(want)
	wantH := holder{
		Any: want, Named: int64(200), Map: want, Doc: want, List: []any{int64(1), want}, Items: items{want, int64(3), []any{int64(1000)}}, Ints: map[int]any{1: want, 2: int64(9)},
		Array: [2]any{want, 1.0}, Deep: map[string][]map[int]any{"a": {{1: want}}}, Ptr: &wantPtr,
		Next: &holder{Any: []any{int64(200), want["hands"]}},
	}
	b, err = codec.Marshal(h)
	require.NoError(t, err)
	var got holder
	require.NoError(t, codec.Unmarshal(b, &got))
	assert.Equal(t, wantH, got)

	// Again: what was normalised stays as it is.
	b, err = codec.Marshal(got)
	require.NoError(t, err)
	var again holder
	require.NoError(t, codec.Unmarshal(b, &again))
	assert.Equal(t, got, again)
}

func TestUnmarshal_TimesInUTC(t *testing.T) {
	type holder struct {
		T    time.Time
		P    *time.Time
		List []time.Time
		Map  map[string]time.Time
		Any  any
		In   struct{ T time.Time }
	}
	local := time.Date(2026, 7, 1, 12, 0, 0, 123456000, time.FixedZone("east", 5*3600))
	h := holder{T: local, P: &local, List: []time.Time{local}, Map: map[string]time.Time{"a": local}, Any: local}
	h.In.T = local
	b, err := codec.Marshal(h)
	require.NoError(t, err)
	var got holder
	require.NoError(t, codec.Unmarshal(b, &got))
	utc := local.UTC()
	want := holder{T: utc, P: &utc, List: []time.Time{utc}, Map: map[string]time.Time{"a": utc}, Any: utc}
	want.In.T = utc
	assert.Equal(t, want, got)
	b, err = codec.Marshal(local)
	require.NoError(t, err)
	var tm time.Time
	require.NoError(t, codec.Unmarshal(b, &tm))
	assert.Equal(t, utc, tm)
}

// A field that was a time and is a map now must be an error, whatever the time: the library takes the body of an
// extension for a map, and 0xdf at its beginning for a map of billions.
func TestUnmarshal_TimeIntoMap(t *testing.T) {
	type before struct {
		F time.Time
		G string
	}
	times := []time.Time{{}, time.Unix(1_700_000_000, 0), time.Unix(0xdfffffff, 0), time.Unix(0xc0ffffff, 0)}
	for top := range int64(0x3b9aca00 >> 22) {
		times = append(times, time.Unix(1_700_000_000, top<<22|1))
	}
	for _, tm := range times {
		b, err := codec.Marshal(before{tm, "behind"})
		require.NoError(t, err)
		var same before
		require.NoError(t, codec.Unmarshal(b, &same))
		require.Equal(t, before{tm.UTC(), "behind"}, same)
		var a struct{ F map[string]any }
		require.Error(t, codec.Unmarshal(b, &a))
		var c struct{ F map[string]string }
		require.Error(t, codec.Unmarshal(b, &c))
		var d struct{ F map[int]int }
		require.Error(t, codec.Unmarshal(b, &d))
		var e struct{ F any }
		require.NoError(t, codec.Unmarshal(b, &e))
		require.Equal(t, tm.UTC(), e.F)
		var f []time.Time
		b, err = codec.Marshal([]any{tm, "text \xd7\xff\xdf", []byte{0xd7, 0xff, 0xdf}, 0xd7ff, tm})
		require.NoError(t, err)
		x, err := codec.Document(b)
		require.NoError(t, err)
		var y struct{ L []any }
		require.NoError(t, codec.Unmarshal(append([]byte{0x81, 0xa1, 'L'}, b...), &y))
		require.Equal(t, x, any(y.L))
		require.Error(t, codec.Unmarshal(b, &f))
	}
}

// A time that the library would take for an empty map, or for nil, and whose rest it would take for the name and length of
// another field: the bytes add up, and the result would be wrong without an error.
func TestUnmarshal_TimeTakenForEmptyMap(t *testing.T) {
	for _, first := range []byte{0x80, 0xc0} {
		b := []byte{0x82, 0xa1, 'F', 0xd6, 0xff, first, 0xa1, 'X', 0xd9, 0xa1, 'G', 0xd9, 158}
		b = append(b, make([]byte, 158)...)
		require.NoError(t, codec.Scan(b, codec.Limits{}))
		var was struct {
			F time.Time
			G string
		}
		require.NoError(t, codec.Unmarshal(b, &was))
		require.Len(t, was.G, 158)
		var is struct {
			F map[int]string
			G string
		}
		require.Error(t, codec.Unmarshal(b, &is))
	}
}

// What is no time does not reach the library, which might take it for a map.
func TestExtensions(t *testing.T) {
	for name, ext := range map[string][]byte{
		"of another type":    {0xc7, 5, 9, 0xdf, 0xff, 0xff, 0xff, 0xff},
		"of msgp":            {0xc7, 12, 5, 0xdf, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0},
		"fixed":              {0xd4, 9, 0x80},
		"a time of 5 bytes":  {0xc7, 5, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff},
		"a time of 16 bytes": {0xd8, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"a time too precise": {0xc7, 12, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0},
		"a long header":      {0xc8, 0, 12, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"empty":              {0xc7, 0, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, codec.Scan(ext, codec.Limits{}))
			in := append([]byte{0x81, 0xa1, 'F'}, ext...)
			var a struct{ F map[string]any }
			require.ErrorContains(t, codec.Unmarshal(in, &a), "byte 3: an extension of type")
			_, err := codec.Marshal(map[string]any{"F": msgpack.RawMessage(ext)})
			require.ErrorContains(t, err, "byte 3: an extension of type")
		})
	}
}

func TestDocument_Errors(t *testing.T) {
	for name, tt := range map[string]struct {
		v    any
		b    []byte
		want string
	}{
		"mixed keys":        {b: []byte{0x82, 1, 1, 0xa1, 'a', 1}, want: "byte 3: a map of a document has string keys only or int64 keys only, and this one has a key that is of type string"},
		"mixed the other":   {b: []byte{0x82, 0xa1, 'a', 1, 1, 1}, want: "and this one has a key that is of type int64"},
		"float keys":        {v: map[float64]int{1: 1}, want: "a key that is of type float64"},
		"bool keys":         {v: map[bool]int{true: 1}, want: "a key that is of type bool"},
		"struct keys":       {v: map[point]int{{}: 1}, want: "a key that is a map"},
		"nil key":           {b: []byte{0x81, 0xc0, 1}, want: "a key that is nil"},
		"large key":         {v: map[uint64]int{math.MaxUint64: 1}, want: "a key that is an integer above the largest int64"},
		"same key":          {b: []byte{0x82, 0xa1, 'a', 1, 0xa1, 'a', 1}, want: "the same key twice"},
		"same integer":      {b: []byte{0x82, 1, 1, 0xcc, 1, 1}, want: "the same key twice"},
		"unknown extension": {b: []byte{0xd4, 9, 0}, want: "a document cannot hold an extension of type 9 with 1 bytes"},
		"short time":        {b: []byte{0xd4, 0xff, 0}, want: "an extension of type -1 with 1 bytes"},
		"two values":        {b: []byte{1, 1}, want: "1 bytes follow the value"},
	} {
		t.Run(name, func(t *testing.T) {
			b := tt.b
			if b == nil {
				var err error
				b, err = codec.Marshal(tt.v)
				require.NoError(t, err)
			}
			_, err := codec.Document(b)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "document: ")
		})
	}
}

func TestDocument_TimeOfMsgp(t *testing.T) {
	got, err := codec.Document([]byte{0xc7, 12, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 7})
	require.NoError(t, err)
	assert.Equal(t, time.Unix(9, 7).UTC(), got)
}

// Guarantees: (1) concurrent calls do not see each other's buffers, (2) plans of types are made safely (run with -race).
func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				in := newCardGame()
				in.Turn = g*1000 + i
				b, err := codec.Marshal(in)
				if !assert.NoError(t, err) {
					return
				}
				var out cardGame
				if !assert.NoError(t, codec.Unmarshal(b, &out)) || !assert.Equal(t, in, out) {
					return
				}
				x, err := codec.Normalize(in)
				if !assert.NoError(t, err) {
					return
				}
				y, err := codec.Document(b)
				if !assert.NoError(t, err) || !assert.True(t, codec.Equal(x, y)) {
					return
				}
				_, err = codec.Marshal(generated{Text: "panic"})
				assert.Error(t, err)
			}
		})
	}
	wg.Wait()
}
