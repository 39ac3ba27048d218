package codec_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/internal/codec"
)

func shapeOf[T any]() string { return codec.Shape(reflect.TypeFor[T]()) }

func TestShape(t *testing.T) {
	const pkg = "github.com/liap-tui/savepoint/internal/codec_test."
	for _, tt := range []struct{ got, want string }{
		{shapeOf[int](), "int64"}, {shapeOf[uint](), "uint64"}, {shapeOf[int8](), "int8"}, {shapeOf[suit](), "uint8"}, {shapeOf[time.Duration](), "int64"},
		{shapeOf[float32](), "float32"}, {shapeOf[string](), "string"}, {shapeOf[[]byte](), "bytes"}, {shapeOf[[]suit](), "bytes"}, {shapeOf[[20]byte](), "bytes[20]"},
		{shapeOf[time.Time](), "time"}, {shapeOf[*time.Time](), "*time"}, {shapeOf[any](), "any"}, {shapeOf[doc](), "map[string]any"}, {shapeOf[[3]*int](), "[3]*int64"},
		{shapeOf[point](), "{X:int64 Y:int64}"},
		{shapeOf[struct{ Y, X int }](), "{X:int64 Y:int64}"},
		{shapeOf[struct{ A, B point }](), "{A:{X:int64 Y:int64} B:#2}"},
		{shapeOf[struct{ A, B []string }](), "{A:[]string B:[]string}"},
		{shapeOf[struct{ A, B items }](), "{A:[]any B:[]any}"},
		{shapeOf[node](), "{Kids:[]*#1 Name:string}"},
		{shapeOf[tree](), "[]^1"}, {shapeOf[loop](), "map[string]^1"},
		{shapeOf[arrayed](), "(A:int64 B:string)"},
		{shapeOf[explicit](), "{A:int64}"},
		{shapeOf[embedding](), "{A:int64}"},
		{shapeOf[beforeEmbed](), "{Base2:{ID:int64} ID:string}"},
		{shapeOf[nested](), "{Points:[]{X:int64 Y:int64} Rev:string base:{ID:int64 Rev:int64}}"},
		{shapeOf[keeper](), "opaque(" + pkg + "keeper)"},
		{shapeOf[struct{ K *keeper }](), "{K:opaque(*codec_test.keeper)}"},
		{shapeOf[generated](), "msg(" + pkg + "generated) {Any:any Text:string When:time}"},
		{shapeOf[*generated](), "msg(" + pkg + "generated) {Any:any Text:string When:time}"},
		{shapeOf[struct {
			A int `msg:"a" msgpack:"b"`
		}](), "{b:int64}"},
		{shapeOf[struct{ C chan int }](), "{C:chan}"},
		{codec.Shape(nil), "nil"},
	} {
		assert.Equal(t, tt.want, tt.got)
	}
}

// Every change that old bytes would feel changes the shape; order and Go's names do not.
func TestShape_Changes(t *testing.T) {
	type game struct {
		Turn  int
		Hands map[int][]string
	}
	same := []string{shapeOf[game](), shapeOf[struct {
		Hands map[int][]string
		Turn  int
	}](), shapeOf[struct {
		T int              `msgpack:"Turn"`
		H map[int][]string `msgpack:"Hands,omitempty"`
	}]()}
	for _, s := range same {
		assert.Equal(t, same[0], s)
	}
	other := []string{same[0],
		shapeOf[struct{ Turn int }](),
		shapeOf[struct {
			Turn  int8
			Hands map[int][]string
		}](),
		shapeOf[struct {
			Turn  int
			Hands map[string][]string
		}](),
		shapeOf[struct {
			Turn int
			Hand map[int][]string
		}](),
		shapeOf[struct {
			Turn  int
			Hands map[int][]string
			More  bool
		}](),
	}
	slices.Sort(other)
	assert.Len(t, slices.Compact(other), 6)
}

// The model of a struct's fields is the library's: the names of the shape are those that are written.
func TestShape_NamesAreWritten(t *testing.T) {
	for _, v := range []any{everything{}, cardGame{}, explicit{}, embedding{}, beforeEmbed{}, embedsScalar2{}, mutexed{}, ptrEmbedding{}, interned{}, inlined{},
		struct {
			A    int `msgpack:" a , omitempty"`
			B    int `msgpack:"'b'"`
			C    int `msgpack:"c,alias:d"`
			D    int `msgpack:",noinline"`
			base `msgpack:"in,noinline"`
		}{A: 1},
		struct {
			Base2 `msgpack:"renamed"`
			point
		}{},
		struct {
			ID int
			embedding
			beforeEmbed
		}{},
	} {
		shape := shapeOfValue(v)
		p := reflect.New(reflect.TypeOf(v))
		p.Elem().Set(reflect.ValueOf(v))
		b, err := codec.Marshal(p.Interface())
		require.NoError(t, err)
		d, err := codec.Document(b)
		require.NoError(t, err)
		names := []string{}
		for name := range d.(map[string]any) {
			names = append(names, name)
		}
		slices.Sort(names)
		if _, ok := v.(everything); ok {
			names = append(names, "s") // omitempty
			slices.Sort(names)
		}
		assert.Equal(t, names, topNames(shape), shape)
	}
}

func shapeOfValue(v any) string { return codec.Shape(reflect.TypeOf(v)) }

// topNames reads the field names of the outer struct from its shape.
func topNames(shape string) []string {
	names := []string{}
	depth, word := 0, ""
	for _, r := range shape {
		switch {
		case strings.ContainsRune("{([", r):
			depth++
			word = ""
		case strings.ContainsRune("})]", r):
			depth--
		case r == ':' && depth == 1:
			names = append(names, word)
		case r == ' ':
			word = ""
		default:
			word += string(r)
		}
	}
	return names
}
