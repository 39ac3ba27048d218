package codec_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/liap-tui/savepoint/internal/codec"
)

// bombs are small inputs that make a decoder without a scan allocate gigabytes, or overflow its stack.
func bombs() map[string][]byte {
	wide := append([]byte{0xdd, 0x02, 0xfa, 0xf0, 0x80}, bytes.Repeat([]byte{0xc0}, 50_000_000)...)
	return map[string][]byte{
		"array of 4 G":                  {0xdd, 0xff, 0xff, 0xff, 0xff, 0x01},
		"map of 4 G":                    {0xdf, 0xff, 0xff, 0xff, 0xff, 0x01},
		"bytes of 4 G":                  {0xc6, 0xff, 0xff, 0xff, 0xff, 0x01},
		"string of 4 G":                 {0xdb, 0xff, 0xff, 0xff, 0xff, 0x01},
		"extension of 4 G":              {0xc9, 0xff, 0xff, 0xff, 0xff, 0x01, 0x01},
		"10 MB of nested arrays":        bytes.Repeat([]byte{0x91}, 10_000_000),
		"nested maps":                   bytes.Repeat([]byte{0x81}, 10_000_000),
		"50 M nils":                     wide,
		"arrays that share their bytes": append(bytes.Repeat([]byte{0xdc, 0x04, 0x00}, 60), bytes.Repeat([]byte{0xc0}, 1200)...),
	}
}

// A bomb is an error for every door into the package, within 100 ms and 16 MiB.
func TestScan_Bombs(t *testing.T) {
	for name, b := range bombs() {
		t.Run(name, func(t *testing.T) {
			doors := map[string]func() error{
				"Scan":                   func() error { return codec.Scan(b, codec.Limits{}) },
				"Document":               func() error { _, err := codec.Document(b); return err },
				"Unmarshal any":          func() error { var v any; return codec.Unmarshal(b, &v) },
				"Unmarshal []int64":      func() error { var v []int64; return codec.Unmarshal(b, &v) },
				"Unmarshal []byte":       func() error { var v []byte; return codec.Unmarshal(b, &v) },
				"Unmarshal map[int]bool": func() error { var v map[int]bool; return codec.Unmarshal(b, &v) },
			}
			for door, open := range doors {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				err := open()
				took := time.Since(start)
				runtime.ReadMemStats(&after)
				assert.Error(t, err, door)
				assert.Less(t, took, 100*time.Millisecond, door)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), door)
			}
		})
	}
}

func TestScan(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		lim  codec.Limits
		want string // part of the error; empty: accepted
	}{
		{name: "empty", b: nil, want: "byte 0: the bytes end"},
		{name: "nil", b: []byte{0xc0}},
		{name: "fixint", b: []byte{0x7f}},
		{name: "negative fixint", b: []byte{0xe0}},
		{name: "the unused byte", b: []byte{0xc1}, want: "byte 0: 0xc1 does not start a value"},
		{name: "the unused byte inside", b: []byte{0x92, 0x01, 0xc1}, want: "byte 2: 0xc1 does not start a value"},
		{name: "two values", b: []byte{0x01, 0x02}, want: "byte 1: 1 bytes follow the value"},
		{name: "short int", b: []byte{0xcf, 0, 0, 0, 0, 0, 0, 0}, want: "byte 0: 0xcf needs 8 more bytes, 7 are left"},
		{name: "short string", b: []byte{0xa3, 'a', 'b'}, want: "byte 0: 0xa3 needs 3 more bytes"},
		{name: "short str 8", b: []byte{0xd9, 3, 'a', 'b'}, want: "a length of 3, 2 bytes are left"},
		{name: "short length", b: []byte{0xda, 0}, want: "needs 2 more bytes"},
		{name: "short array", b: []byte{0x92, 0x01}, want: "2 values are claimed, 1 bytes are left"},
		{name: "map without its value", b: []byte{0x81, 0x01}, want: "2 values are claimed, 1 bytes are left"},
		{name: "short extension", b: []byte{0xc7, 1, 5}, want: "a length of 2, 1 bytes are left"},
		{name: "extension", b: []byte{0xc7, 1, 5, 0xc1}},
		{name: "fixed extension", b: []byte{0xd4, 5, 0xc1}},
		{name: "bytes may hold anything", b: []byte{0xc4, 2, 0xc1, 0xdf}},
		{name: "siblings share no bytes", b: []byte{0x92, 0x91, 0x01}, want: "byte 1: 2 values are claimed, 1 bytes are left"},
		{name: "depth 64", b: append(bytes.Repeat([]byte{0x91}, 64), 0x01)},
		{name: "depth 65", b: append(bytes.Repeat([]byte{0x91}, 65), 0x01), want: "byte 64: nested deeper than 64"},
		{name: "depth 3 of 2", b: []byte{0x91, 0x91, 0x90}, lim: codec.Limits{Depth: 2}, want: "byte 2: nested deeper than 2"},
		{name: "depth 2 of 2", b: []byte{0x91, 0x91, 0x01}, lim: codec.Limits{Depth: 2}},
		{name: "depth 100 of 100", b: append(bytes.Repeat([]byte{0x91}, 100), 0x01), lim: codec.Limits{Depth: 100}},
		{name: "depth 101 of 100", b: append(bytes.Repeat([]byte{0x91}, 101), 0x01), lim: codec.Limits{Depth: 100}, want: "nested deeper than 100"},
		{name: "elements 3 of 3", b: []byte{0x93, 1, 2, 3}, lim: codec.Limits{Elements: 3}},
		{name: "elements 4 of 3", b: []byte{0x94, 1, 2, 3, 4}, lim: codec.Limits{Elements: 3}, want: "more than 3 elements"},
		{name: "a map's keys count", b: []byte{0x82, 1, 2, 3, 4}, lim: codec.Limits{Elements: 3}, want: "more than 3 elements"},
		{name: "elements add up", b: []byte{0x92, 0x91, 1, 0x91, 2}, lim: codec.Limits{Elements: 3}, want: "byte 3: more than 3 elements"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := codec.Scan(tt.b, tt.lim)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// Every prefix of a valid value is refused, and so is the value with a byte more.
func TestScan_Prefixes(t *testing.T) {
	b, err := codec.Marshal(newCardGame())
	require.NoError(t, err)
	require.NoError(t, codec.Scan(b, codec.Limits{}))
	for n := range b {
		require.Error(t, codec.Scan(b[:n], codec.Limits{}), "%d bytes", n)
	}
	for c := range 256 {
		require.Error(t, codec.Scan(append(b[:len(b):len(b)], byte(c)), codec.Limits{}), "0x%02x after the value", c)
	}
}

// Scan and the library agree on the length of values with each first byte.
func TestScan_AgreesWithTheLibrary(t *testing.T) {
	for c := range 256 {
		b := make([]byte, 1, 64)
		b[0] = byte(c)
		for len(b) < 40 { // zeros are lengths of zero, types and fixints
			if codec.Scan(b, codec.Limits{}) == nil {
				break
			}
			b = append(b, 0)
		}
		r := bytes.NewReader(append(b[:len(b):len(b)], 0, 0, 0, 0))
		err := msgpack.NewDecoder(r).Skip()
		if c == 0xc1 {
			assert.Error(t, err)
			assert.Len(t, b, 40)
			continue
		}
		require.NoError(t, err, "0x%02x", c)
		assert.Equal(t, 4, r.Len(), "0x%02x", c)
	}
}

func TestScan_AllocatesNothing(t *testing.T) {
	b, err := codec.Marshal(newCardGame())
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = codec.Scan(b, codec.Limits{}) }))
}
