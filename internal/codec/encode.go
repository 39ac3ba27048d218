package codec

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Marshal returns the msgpack encoding of v, which the caller owns. A type (or pointer to it) with MarshalMsg encodes
// itself; other structs become maps by field name, integers take as few bytes as they need. The keys of
// map[string]string, map[string]bool and map[string]any are sorted, those of other maps are not: compare documents, not
// bytes. Values that Scan would refuse, extensions that are not times, maps that are no documents in a type with an any,
// channels, funcs and complex numbers are errors; unexported fields are left out (see Problems).
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

// Append appends the msgpack encoding of v to dst and returns the extended slice, as Marshal would encode it. After an
// error it returns dst as it was; the bytes behind len(dst) may have changed.
func Append(dst []byte, v any) ([]byte, error) {
	e := encoders.Get().(*encoder)
	b, err := e.append(dst, v)
	if err != nil {
		return dst, err
	}
	e.release()
	return b, nil
}

// Self-encoding types, as tinylib/msgp generates them.
type (
	msgMarshaler   interface{ MarshalMsg([]byte) ([]byte, error) }
	msgUnmarshaler interface{ UnmarshalMsg([]byte) ([]byte, error) }
)

var encoders = sync.Pool{New: func() any { return &encoder{enc: msgpack.NewEncoder(nil)} }}

const (
	spareLimit = 256 << 10 // larger buffers are not kept
	firstCheck = 16 << 10  // after so many bytes the nesting is looked at while encoding
)

// An encoder is what one call of Marshal or Append needs. It goes back to its pool only after a success: an error or a
// panic may leave the library's part of it in any state.
type encoder struct {
	enc   *msgpack.Encoder
	spare []byte // kept between calls

	b     []byte // what is being written to
	start int    // where the value begins in b
	own   bool   // the value encoded itself
	check int    // the length of b at which to look at the nesting
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
	// Not into e.b: a method that does not append must not harm what stands there.
	b, err := rv.Interface().(msgMarshaler).MarshalMsg(nil)
	if err != nil {
		return err
	}
	e.b = append(e.b, b...)
	e.own = true
	return nil
}

// Write is called by the library.
func (e *encoder) Write(p []byte) (int, error) {
	e.b = append(e.b, p...)
	if len(e.b) >= e.check {
		return len(p), e.nesting()
	}
	return len(p), nil
}

// WriteByte is called by the library.
func (e *encoder) WriteByte(c byte) error {
	e.b = append(e.b, c)
	if len(e.b) >= e.check {
		return e.nesting()
	}
	return nil
}

// nesting refuses what is already nested too deep: a value that contains itself would exhaust the stack, which no
// recover can help. The lengths at which it is called double, so it costs one scan more.
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
