package codec

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Marshal returns the msgpack encoding of v, which the caller owns. A type (or pointer to it) with MarshalMsg encodes
// itself; other structs become maps by field name, and integers take as few bytes as possible. The keys of
// map[string]string, map[string]bool and map[string]any are sorted, those of other maps are not: compare documents, not
// bytes. Errors are: values that Scan would refuse, extensions that are not times, in a type with an any a map that is
// not a document, channels, funcs and complex numbers. Unexported fields are left out (see Problems).
func Marshal(v any) ([]byte, error) {
	e := encoders.Get().(*encoder)
	b, err := e.append(e.spare[:0], v)
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(b)), b...)
	e.spare = b
	e.release()
	return out, nil
}

// Append appends what Marshal(v) returns to dst and returns the extended slice. After an error it returns dst as it was;
// the bytes between len(dst) and cap(dst) may have changed.
func Append(dst []byte, v any) ([]byte, error) {
	e := encoders.Get().(*encoder)
	b, err := e.append(dst, v)
	if err != nil {
		return dst, err
	}
	e.release()
	return b, nil
}

// The methods that tinylib/msgp generates for types that encode themselves.
type (
	msgMarshaler   interface{ MarshalMsg([]byte) ([]byte, error) }
	msgUnmarshaler interface{ UnmarshalMsg([]byte) ([]byte, error) }
)

var encoders = sync.Pool{New: func() any { return &encoder{enc: msgpack.NewEncoder(nil)} }}

const (
	spareLimit = 256 << 10 // larger buffers are not kept
	firstCheck = 16 << 10  // number of encoded bytes after which the nesting is checked for the first time
)

// An encoder holds what one call of Marshal or Append needs. It returns to its pool only after a success: an error or a
// panic may leave the library's encoder in any state.
type encoder struct {
	enc   *msgpack.Encoder
	spare []byte // buffer of Marshal, kept between calls

	b     []byte // the output of this call
	start int    // index in b at which the value starts
	own   bool   // the value encoded itself
	check int    // length of b at which the nesting is checked next
}

func (e *encoder) append(dst []byte, v any) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError("encode", reflect.TypeOf(v), p)
		}
	}()
	e.b, e.start, e.own, e.check = dst, len(dst), false, len(dst)+firstCheck
	if err := e.encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	exts, err := scan(e.b[e.start:], maxDepth, maxElements, false)
	if err == nil && !e.own {
		err = exts.err(e.b[e.start:])
		if err == nil && v != nil && planOf(reflect.TypeOf(v)).holdsAny {
			_, err = checkKeys(e.b[e.start:], 0)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return e.b, nil
}

func (e *encoder) encode(v any) error {
	e.enc.Reset(e)
	e.enc.UseCompactInts(true)
	e.enc.SetSortMapKeys(true)
	if v == nil {
		return e.enc.EncodeNil()
	}
	plan := planOf(reflect.TypeOf(v))
	if !plan.marshalMsg && !plan.needsAddr {
		return e.enc.Encode(v)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer && rv.IsNil() {
		return e.enc.EncodeNil()
	}
	if !plan.marshalMsg || !plan.byValue {
		p := reflect.New(rv.Type())
		p.Elem().Set(rv)
		rv = p
	}
	if !plan.marshalMsg {
		return e.enc.EncodeValue(rv.Elem())
	}
	// Not into e.b: a method that does not append would overwrite the bytes of dst.
	b, err := rv.Interface().(msgMarshaler).MarshalMsg(nil)
	if err != nil {
		return err
	}
	e.b = append(e.b, b...)
	e.own = true
	return nil
}

// Write implements io.Writer for the library.
func (e *encoder) Write(p []byte) (int, error) {
	e.b = append(e.b, p...)
	if len(e.b) >= e.check {
		return len(p), e.nesting()
	}
	return len(p), nil
}

// WriteByte implements io.ByteWriter for the library.
func (e *encoder) WriteByte(c byte) error {
	e.b = append(e.b, c)
	if len(e.b) >= e.check {
		return e.nesting()
	}
	return nil
}

// nesting returns an error if the bytes written so far are nested too deep: a value that contains itself would exhaust
// the stack, from which no program recovers. The lengths at which it is called double, so that all calls together cost
// about one more scan.
func (e *encoder) nesting() error {
	e.check = e.start + 2*(len(e.b)-e.start)
	_, err := scan(e.b[e.start:], maxDepth, maxElements, true)
	return err
}

func (e *encoder) release() {
	e.b = nil
	if cap(e.spare) > spareLimit {
		e.spare = nil
	}
	encoders.Put(e)
}

func panicError(what string, t reflect.Type, p any) error {
	if err, ok := p.(error); ok {
		return fmt.Errorf("%s %v: panic: %w", what, t, err)
	}
	return fmt.Errorf("%s %v: panic: %v", what, t, p)
}
