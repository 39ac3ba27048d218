package codec

import (
	"reflect"

	"github.com/vmihailenco/msgpack/v5"
)

// A method is a pair of methods by which the library encodes and decodes a type. The constants are in the order in which
// the library looks for them.
type method int

const (
	byShape method = iota // no methods: by the kind of the type
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

// encodedBy returns how the library encodes a t, and whether it needs the method of a pointer for that. For a time.Time
// the result, byBinary, is wrong, since the library encodes it as an extension: callers test for a time first.
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

// decodedBy returns how the library decodes a t.
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
