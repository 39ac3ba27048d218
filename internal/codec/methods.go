package codec

import (
	"reflect"

	"github.com/vmihailenco/msgpack/v5"
)

// A method says by which pair of methods the library encodes or decodes a type, in the order in which it looks.
type method int

const (
	byShape method = iota // none: by its kind
	byCodec               // EncodeMsgpack, DecodeMsgpack
	byMsgpack
	byBinary
	byText
)

var encodings = [...]struct{ encode, decode reflect.Type }{
	byCodec:   {reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder]()},
	byMsgpack: {reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler]()},
	byBinary:  {reflect.TypeFor[binaryMarshaler](), reflect.TypeFor[binaryUnmarshaler]()},
	byText:    {reflect.TypeFor[textMarshaler](), reflect.TypeFor[textUnmarshaler]()},
}

type (
	binaryMarshaler   interface{ MarshalBinary() ([]byte, error) }
	binaryUnmarshaler interface{ UnmarshalBinary([]byte) error }
	textMarshaler     interface{ MarshalText() ([]byte, error) }
	textUnmarshaler   interface{ UnmarshalText([]byte) error }
)

// encodedBy says how the library encodes a t, and whether it calls a pointer's method for it. Of a time.Time it says
// byBinary, which is wrong: the library has an extension for it. Callers look for a time first.
func encodedBy(t reflect.Type) (m method, ptr bool) {
	if t == timePointer {
		return byShape, false
	}
	for m := byCodec; m <= byText; m++ {
		if t.Implements(encodings[m].encode) {
			return m, false
		}
	}
	if t.Kind() == reflect.Pointer {
		return byShape, false
	}
	for m := byCodec; m <= byText; m++ {
		if reflect.PointerTo(t).Implements(encodings[m].encode) {
			return m, true
		}
	}
	return byShape, false
}

// decodedBy says how the library decodes a t.
func decodedBy(t reflect.Type) method {
	if t == timePointer {
		return byShape
	}
	for m := byCodec; m <= byText; m++ {
		if t.Implements(encodings[m].decode) {
			return m
		}
	}
	if t.Kind() == reflect.Pointer {
		return byShape
	}
	for m := byCodec; m <= byText; m++ {
		if reflect.PointerTo(t).Implements(encodings[m].decode) {
			return m
		}
	}
	return byShape
}
