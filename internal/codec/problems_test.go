//lint:file-ignore U1000 reflection reads the fields

package codec_test

import (
	"encoding"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/liap-tui/savepoint/internal/codec"
)

type (
	hidden   struct{ A, b int }
	explicit struct {
		A int
		b int `msgpack:"-"`
		C int `msgpack:"-"`
		_ int
	}
	onlyHidden struct{ a int }
	embedding  struct{ hidden }
	mutexed    struct {
		sync.Mutex
		A int
	}
	selfEmbedding struct {
		*selfEmbedding
		A int
	}
	ptrEmbedding struct {
		*Base2
		A int
	}
	Base2      struct{ ID int }
	unexported struct {
		*base
		A int
	}
	stringName    string
	embedsScalar  struct{ stringName }
	ExportedName  string
	embedsScalar2 struct{ ExportedName }
	twoNames      struct {
		A int `msgpack:"x"`
		B int `msgpack:"x"`
	}
	aliased struct {
		A int
		B int `msgpack:"b,alias:A"`
	}
	afterEmbed struct {
		Base2
		ID string
	}
	beforeEmbed struct {
		ID string
		Base2
	}
	inlined struct {
		ID    string
		Base2 `msgpack:",inline"`
	}
	inlinedPtr struct {
		*Base2 `msgpack:",inline"`
	}
	nameOfEmbed struct {
		B int `msgpack:"Base2"`
		Base2
	}
	nameOfSpread struct {
		Base2
		B int `msgpack:"Base2"`
	}
	interned struct {
		A string `msgpack:",intern"`
	}
	omitted struct {
		A any `msgpack:",omitempty"`
	}
	allOmitted struct {
		_msgpack struct{} `msgpack:",omitempty"`
		A        any
	}
	encodeOnly struct{ A int }
	decodeOnly struct{ A int }
	crossed    struct{ A int }
	withTime   struct {
		time.Time
		A int
	}
	withOwn struct {
		time.Time
		A int
	}
	tree          []tree
	loop          map[string]loop
	holder[T any] struct{ F T }
)

func (encodeOnly) MarshalText() ([]byte, error) { return nil, nil }
func (*decodeOnly) UnmarshalText([]byte) error  { return nil }
func (crossed) MarshalBinary() ([]byte, error)  { return nil, nil }
func (*crossed) UnmarshalText([]byte) error     { return nil }
func (withOwn) MarshalBinary() ([]byte, error)  { return []byte{1}, nil }
func (*withOwn) UnmarshalBinary([]byte) error   { return nil }

type suitKey int

func (suitKey) MarshalText() ([]byte, error) { return []byte("suit"), nil }
func (*suitKey) UnmarshalText([]byte) error  { return nil }

type halfGenerated struct{ A int }

func (halfGenerated) MarshalMsg(b []byte) ([]byte, error) { return b, nil }

type embedsGenerated struct {
	generated
	B int
}

func problemsOf[T any]() []string { return codec.Problems(reflect.TypeFor[T]()) }

func TestProblems(t *testing.T) {
	const (
		hiddenText = "is not exported and would not be stored; export it, or tag it `msgpack:\"-\"` if it may be lost"
		useStrings = "; use strings or integers"
	)
	for _, tt := range []struct {
		got  []string
		want []string
	}{
		{problemsOf[hidden](), []string{"hidden.b " + hiddenText}},
		{problemsOf[*hidden](), []string{"hidden.b " + hiddenText}},
		{problemsOf[holder[map[int][]*hidden]](), []string{"holder[map[int][]*github.com/liap-tui/savepoint/internal/codec_test.hidden].F[][].b " + hiddenText}},
		{problemsOf[[]hidden](), []string{"(value)[].b " + hiddenText}},
		{problemsOf[struct{ H [2]hidden }](), []string{"(value).H[].b " + hiddenText}},
		{problemsOf[struct{ A, B hidden }](), []string{"(value).A.b " + hiddenText}},
		{problemsOf[embedding](), []string{"embedding.hidden.b " + hiddenText}},
		{problemsOf[onlyHidden](), []string{"onlyHidden is a codec_test.onlyHidden, which has unexported fields only: nothing of it would be stored"}},
		{problemsOf[struct{ M sync.Mutex }](), []string{"(value).M is a sync.Mutex, which has unexported fields only: nothing of it would be stored"}},
		{problemsOf[mutexed](), []string{"mutexed.Mutex is a sync.Mutex, which has unexported fields only: nothing of it would be stored"}},
		{problemsOf[struct{ C chan int }](), []string{"(value).C is a chan, which cannot be encoded"}},
		{problemsOf[struct{ C func() }](), []string{"(value).C is a func, which cannot be encoded"}},
		{problemsOf[struct{ C complex64 }](), []string{"(value).C is a complex64, which cannot be encoded"}},
		{problemsOf[struct{ C []complex128 }](), []string{"(value).C[] is a complex128, which cannot be encoded"}},
		{problemsOf[struct{ C unsafe.Pointer }](), []string{"(value).C is a unsafe.Pointer, which cannot be encoded"}},
		{problemsOf[struct{ C uintptr }](), []string{"(value).C is a uintptr, which cannot be encoded"}},
		{problemsOf[struct{ C error }](), []string{"(value).C is an error, of which only the text would come back"}},
		{problemsOf[struct{ C fmt.Stringer }](), []string{"(value).C is the interface fmt.Stringer, which cannot be decoded; only any can"}},
		{problemsOf[struct{ C encoding.TextMarshaler }](), []string{"(value).C is the interface encoding.TextMarshaler, which cannot be decoded; only any can"}},
		{problemsOf[struct{ C **int }](), []string{"(value).C is a pointer to a pointer, and a pointer to nil would come back as nil"}},
		{problemsOf[selfEmbedding](), []string{"selfEmbedding.selfEmbedding embeds a type that contains itself: the encoder would not return; give the field a name"}},
		{problemsOf[ptrEmbedding](), []string{"ptrEmbedding.Base2 is an embedded pointer, which comes back set even if it was nil; embed the struct itself, or give the field a name"}},
		{problemsOf[unexported](), []string{"unexported.base is an embedded pointer"}},
		{problemsOf[embedsScalar](), []string{"embedsScalar.stringName is embedded in a way the encoder panics on; give the field an exported name"}},
		{problemsOf[twoNames](), []string{`twoNames.B is stored under the name "x", like twoNames.A: one of them would be lost`}},
		{problemsOf[aliased](), []string{`aliased.B is stored under the name "A", like aliased.A: one of them would be lost`}},
		{problemsOf[afterEmbed](), []string{`afterEmbed.ID is stored under the name "ID", like afterEmbed.Base2.ID: one of them would be lost`}},
		{problemsOf[inlined](), []string{`inlined.Base2.ID is stored under the name "ID", like inlined.ID: one of them would be lost`}},
		{problemsOf[inlinedPtr](), []string{"inlinedPtr.Base2 is embedded in a way the encoder panics on"}},
		{problemsOf[nameOfEmbed](), []string{`nameOfEmbed.Base2 is stored under the name "Base2", like nameOfEmbed.B: one of them would be lost`}},
		{problemsOf[interned](), []string{"interned.A has the tag option intern, with which the decoder returns wrong strings"}},
		{problemsOf[omitted](), []string{`omitted.A is an interface with omitempty: a 0, false or "" in it would come back as nil`}},
		{problemsOf[allOmitted](), []string{`allOmitted.A is an interface with omitempty`}},
		{problemsOf[encodeOnly](), []string{"encodeOnly is encoded by MarshalText but there is no UnmarshalText to decode it"}},
		{problemsOf[decodeOnly](), []string{"decodeOnly is decoded by UnmarshalText but there is no MarshalText to encode it"}},
		{problemsOf[crossed](), []string{"crossed is encoded by MarshalBinary and decoded by UnmarshalText, which do not match"}},
		{problemsOf[withTime](), []string{"withTime inherits MarshalBinary from the embedded Time: its other fields would not be stored; give the field a name"}},
		{problemsOf[halfGenerated](), []string{"halfGenerated has MarshalMsg but no UnmarshalMsg: what is written may not be readable"}},
		{problemsOf[embedsGenerated](), []string{"embedsGenerated inherits MarshalMsg from the embedded generated: its other fields would not be stored; give the field a name"}},
		{problemsOf[struct{ M map[string]big.Int }](), []string{"(value).M[] is a map's value and cannot be encoded: MarshalText needs a pointer; make it a *big.Int"}},
		{problemsOf[struct{ M map[string][2]big.Int }](), []string{"(value).M[][] is a map's value and cannot be encoded: MarshalText needs a pointer"}},
		{problemsOf[struct {
			M map[string]struct{ B big.Int }
		}](), []string{"(value).M[].B is a map's value and cannot be encoded"}},
		{problemsOf[struct{ M map[string][4]suit }](), []string{"(value).M[] is a map's value and cannot be encoded: an array of codec_test.suit needs a pointer; make it a *[4]codec_test.suit"}},
		{problemsOf[struct{ M map[any]int }](), []string{"(value).M is a map whose keys, of type interface {}, do not come back as they were" + useStrings}},
		{problemsOf[struct{ M map[*int]int }](), []string{"(value).M is a map whose keys, of type *int, do not come back as they were"}},
		{problemsOf[struct{ M map[time.Time]int }](), []string{"(value).M is a map whose keys, of type time.Time, have no document"}},
		{problemsOf[struct{ M map[point]int }](), []string{"(value).M is a map whose keys, of type codec_test.point, have no document" + useStrings}},
		{problemsOf[struct{ M map[bool]int }](), []string{"(value).M is a map whose keys, of type bool, have no document" + useStrings}},
		{problemsOf[struct{ M map[float64]int }](), []string{"(value).M is a map whose keys, of type float64, have no document" + useStrings}},
		{problemsOf[struct{ M map[suitKey]int }](), []string{"(value).M is a map whose key type codec_test.suitKey encodes itself (MarshalText): such a map has no document" + useStrings}},
		{problemsOf[struct{ M []map[string]map[bool]int }](), []string{"(value).M[][] is a map whose keys, of type bool"}},
		{problemsOf[struct {
			A chan int
			B hidden
			C map[bool]func()
		}](), []string{"(value).A is a chan", "(value).B.b is not", "(value).C is a map", "(value).C[] is a func"}},

		// Types without problems.
		{problemsOf[everything](), nil}, {problemsOf[cardGame](), nil}, {problemsOf[nested](), nil}, {problemsOf[explicit](), nil}, {problemsOf[arrayed](), nil},
		{problemsOf[node](), nil}, {problemsOf[tree](), nil}, {problemsOf[loop](), nil}, {problemsOf[doc](), nil}, {problemsOf[any](), nil}, {problemsOf[int](), nil},
		{problemsOf[struct{}](), nil}, {problemsOf[nameOfSpread](), nil}, {problemsOf[time.Time](), nil}, {problemsOf[*time.Time](), nil}, {problemsOf[struct{ T []*time.Time }](), nil}, {problemsOf[beforeEmbed](), nil}, {problemsOf[embedsScalar2](), nil},
		{problemsOf[withOwn](), nil}, {problemsOf[generated](), nil}, {problemsOf[*pointerOnly](), nil}, {problemsOf[keeper](), nil}, {problemsOf[msgpack.RawMessage](), nil},
		{problemsOf[struct{ M map[string]*big.Int }](), nil}, {problemsOf[struct{ M map[string][]big.Int }](), nil}, {problemsOf[map[suit]netip.Addr](), nil},
		{problemsOf[struct {
			A int `msgpack:",omitempty"`
		}](), nil},
		{codec.Problems(nil), nil},
	} {
		if !assert.Len(t, tt.got, len(tt.want), "want %q, got %q", tt.want, tt.got) {
			continue
		}
		for i := range tt.want {
			assert.Contains(t, tt.got[i], tt.want[i])
		}
	}
}

// Problems is right about what the library does with a type: a value with all fields set is not restored.
func TestProblems_AreReal(t *testing.T) {
	n := 1
	pn := (*int)(nil)
	for _, v := range []any{
		hidden{1, 2}, onlyHidden{1}, embedding{hidden{1, 2}}, struct{ C chan int }{}, struct{ C func() }{}, struct{ C complex64 }{}, struct{ C uintptr }{1},
		struct{ C error }{fmt.Errorf("x: %w", errSpilled)}, struct{ C fmt.Stringer }{time.Second}, struct{ C **int }{&pn},
		struct{ C unsafe.Pointer }{}, ptrEmbedding{A: 1}, unexported{A: 1}, unexported{base: &base{}, A: 1}, embedsScalar{"x"}, twoNames{1, 2}, aliased{1, 2}, afterEmbed{Base2{1}, "x"},
		inlined{"x", Base2{1}}, inlinedPtr{&Base2{1}}, nameOfEmbed{2, Base2{1}}, omitted{0}, allOmitted{A: false}, encodeOnly{1}, decodeOnly{1}, crossed{1},
		withTime{time.Unix(1, 0).UTC(), 5}, halfGenerated{1}, embedsGenerated{generated{Text: "a"}, 5},
		struct{ M map[string]big.Int }{map[string]big.Int{"a": {}}}, struct{ M map[string][4]suit }{map[string][4]suit{"a": {}}}, struct{ M map[any]int }{map[any]int{1: 1}}, struct{ M map[*int]int }{map[*int]int{&n: 1}},
		struct{ M map[time.Time]int }{map[time.Time]int{time.Now(): 1}},
	} {
		rt := reflect.TypeOf(v)
		require.NotEmpty(t, codec.Problems(rt), "%v", rt)
		b, err := codec.Marshal(v)
		if err != nil {
			continue
		}
		got := reflect.New(rt)
		if err := codec.Unmarshal(b, got.Interface()); err != nil {
			continue
		}
		assert.NotEqual(t, v, got.Elem().Interface(), "%v comes back", rt)
	}
	// Types that are restored, but have no document.
	for _, v := range []any{map[bool]int{true: 1}, map[float64]int{1: 1}, map[point]int{{}: 1}, map[suitKey]int{1: 1}} {
		b, err := codec.Marshal(v)
		require.NoError(t, err)
		_, err = codec.Document(b)
		assert.Error(t, err, "%T", v)
	}
}

// With the tag option intern, strings are wrong after decoding if a field between them is skipped.
func TestProblems_Intern(t *testing.T) {
	type before struct {
		Gone string `msgpack:",intern"`
		A    string `msgpack:",intern"`
		B    string `msgpack:",intern"`
	}
	type after struct {
		A string `msgpack:",intern"`
		B string `msgpack:",intern"`
	}
	b, err := msgpack.Marshal(before{"first", "second", "second"})
	require.NoError(t, err)
	var got after
	err = msgpack.Unmarshal(b, &got)
	assert.True(t, err != nil || got != (after{"second", "second"}), "the option works: allow it")
}
