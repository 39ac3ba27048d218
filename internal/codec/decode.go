package codec

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Unmarshal decodes b, which is exactly one msgpack value, into *v. It scans b first. *v is set to its zero value before
// decoding, so that the result depends on b alone, and it shares no memory with b; after an error it is undefined.
// A type with UnmarshalMsg decodes itself. Values inside fields of type any are documents, every time.Time is in UTC.
// A pointer to any, or to a type whose underlying type is map[string]any or []any, receives a document.
func Unmarshal(b []byte, v any) error {
	d := decoders.Get().(*decoder)
	if err := d.unmarshal(b, v); err != nil {
		return err
	}
	d.release(len(b))
	return nil
}

// A Decoder is for one goroutine that decodes many values, one after another. The zero Decoder is ready for use.
type Decoder struct{ d *decoder }

// Unmarshal is the function Unmarshal, with the buffers of d.
func (d *Decoder) Unmarshal(b []byte, v any) error {
	if d.d == nil {
		d.d = newDecoder()
	}
	err := d.d.unmarshal(b, v)
	d.d.b = nil
	if err != nil {
		d.d = nil
	}
	return err
}

var decoders = sync.Pool{New: func() any { return newDecoder() }}

func newDecoder() *decoder {
	d := &decoder{dec: msgpack.NewDecoder(nil)}
	d.maps = d.mapping
	return d
}

// A decoder holds what one call of Unmarshal needs. It is used again only after a success: after an error the library's
// decoder may keep recording what it reads.
type decoder struct {
	dec  *msgpack.Decoder
	maps func(*msgpack.Decoder) (any, error)
	b    []byte
	i    int

	exts extensions // found in b

	typ  reflect.Type // the type decoded last
	plan *plan        // of typ
}

func (d *decoder) unmarshal(b []byte, v any) (err error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return fmt.Errorf("decode into %T: want a pointer that is not nil", v)
	}
	t := rv.Type().Elem()
	if d.exts, err = scan(b, maxDepth, maxElements, false); err != nil {
		return fmt.Errorf("decode %v: %w", t, err)
	}
	if d.typ != t {
		d.typ, d.plan = t, planOf(t)
	}
	return d.decode(b, v, rv, t)
}

func (d *decoder) decode(b []byte, v any, rv reflect.Value, t reflect.Type) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError("decode", t, p)
		}
	}()
	rv.Elem().SetZero()
	plan := d.plan
	if plan.unmarshalMsg {
		// A copy, because such a method may keep parts of its argument.
		rest, err := v.(msgUnmarshaler).UnmarshalMsg(append(make([]byte, 0, len(b)), b...))
		if err == nil && len(rest) != 0 {
			err = fmt.Errorf("UnmarshalMsg left %d of %d bytes", len(rest), len(b))
		}
		if err == nil && plan.tidy != nil {
			err = plan.tidy(rv.Elem())
		}
		if err != nil {
			return fmt.Errorf("decode %v: %w", t, err)
		}
		return nil
	}
	if plan.document {
		p := newParser(b)
		x, err := p.value()
		if err == nil {
			err = assign(rv.Elem(), x)
		}
		if err != nil {
			return fmt.Errorf("decode %v: %w", t, err)
		}
		return nil
	}
	if err := d.exts.err(b); err != nil {
		return fmt.Errorf("decode %v: %w", t, err)
	}
	if d.b, d.i = b, 0; d.exts.armed {
		d.b = defused(b)
	}
	d.dec.Reset(d)
	d.dec.SetMapDecoder(d.maps)
	if err := d.dec.Decode(v); err != nil {
		return fmt.Errorf("decode %v: byte %d: %w", t, d.i, err)
	}
	if d.i != len(d.b) {
		return fmt.Errorf("decode %v: the value ends at byte %d of %d", t, d.i, len(d.b))
	}
	if plan.tidy != nil {
		if err := plan.tidy(rv.Elem()); err != nil {
			return fmt.Errorf("decode %v: %w", t, err)
		}
	}
	return nil
}

// assign stores the document x in v, whose underlying type is an interface, map[string]any or []any.
func assign(v reflect.Value, x any) error {
	if x == nil {
		return nil // v is zero already
	}
	rx := reflect.ValueOf(x)
	if v.Kind() != reflect.Interface && rx.Type() != v.Type() {
		if !rx.CanConvert(v.Type()) || rx.Kind() != v.Kind() {
			return fmt.Errorf("the value is %s", kindName(x))
		}
		rx = rx.Convert(v.Type())
	}
	v.Set(rx)
	return nil
}

// mapping decodes a map inside an any. The library's own decoder of such maps supports string keys only.
func (d *decoder) mapping(*msgpack.Decoder) (any, error) {
	p := parser{b: d.b, i: d.i}
	v, err := p.value()
	d.i = p.i
	return v, err
}

// Read implements io.Reader for the library.
func (d *decoder) Read(p []byte) (int, error) {
	n := copy(p, d.b[d.i:])
	d.i += n
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// ReadByte implements io.ByteScanner for the library.
func (d *decoder) ReadByte() (byte, error) {
	if d.i >= len(d.b) {
		return 0, io.EOF
	}
	d.i++
	return d.b[d.i-1], nil
}

// UnreadByte implements io.ByteScanner for the library.
func (d *decoder) UnreadByte() error {
	if d.i == 0 {
		return errors.New("no byte was read")
	}
	d.i--
	return nil
}

// release returns d to the pool after it decoded n bytes.
func (d *decoder) release(n int) {
	d.b = nil
	if n <= spareLimit { // the library's buffer is as large as the longest string so far
		decoders.Put(d)
	}
}
