package pagecheck_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
)

// TestSingle: the value is found where bbolt put it, and the header of another page
// is not accepted.
func TestSingle(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 300)
	b := file(t, 1024, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("alone"))
		return errors.Join(err, b.Put([]byte("only"), want))
	})
	metas := pagecheck.ReadMetas(bytes.NewReader(b))
	top := b[int(metas.Newest().Root)*1024+16:] // the element of the only bucket
	root := ne.Uint64(top[int(ne.Uint32(top[4:]))+len("alone"):])
	single := func(b []byte, id uint64, key string) (int64, int64, error) {
		return pagecheck.Single(bytes.NewReader(b), int64(len(b)), 1024, id, key)
	}

	at, length, err := single(b, root, "only")
	require.NoError(t, err)
	assert.Equal(t, want, b[at:at+length])
	assert.Equal(t, int64(root)*1024+pagecheck.SingleAt("only"), at)

	put16, put32 := ne.PutUint16, ne.PutUint32
	page := b[root*1024:]
	for name, c := range map[string]struct {
		change func(p []byte)
		says   string
	}{
		"another page":   {func(p []byte) { p[0]++ }, "its header is that of page"},
		"a branch":       {func(p []byte) { put16(p[8:], 1) }, "flags 0x1"},
		"no keys":        {func(p []byte) { put16(p[10:], 0) }, "0 keys"},
		"two keys":       {func(p []byte) { put16(p[10:], 2) }, "2 keys"},
		"long overflow":  {func(p []byte) { put32(p[12:], 1<<31) }, "beyond the end"},
		"no overflow":    {func(p []byte) { put32(p[12:], 0) }, "of 1024 bytes"},
		"a bucket":       {func(p []byte) { put32(p[16:], 1) }, "key 0: flags 0x1"},
		"key elsewhere":  {func(p []byte) { put32(p[20:], 17) }, "key 0: "},
		"key too short":  {func(p []byte) { put32(p[24:], 3) }, `is not "only"`},
		"key too long":   {func(p []byte) { put32(p[24:], 5) }, `is not "only"`},
		"another key":    {func(p []byte) { p[32] = 'x' }, `is not "only"`},
		"value too long": {func(p []byte) { put32(p[28:], 5*1024) }, "key 0: "},
	} {
		sound := bytes.Clone(page)
		c.change(page)
		_, _, err := single(b, root, "only")
		require.ErrorIs(t, err, pagecheck.ErrDamaged, name)
		require.ErrorContains(t, err, c.says, name)
		copy(page, sound)
	}
	for _, id := range []uint64{0, 1, uint64(len(b)) / 1024, 1 << 60} {
		_, _, err = single(b, id, "only")
		require.ErrorIs(t, err, pagecheck.ErrDamaged)
		require.ErrorContains(t, err, "a page from 2")
	}
	_, _, err = single(b[:root*1024+1024], root, "only") // cut off after the page
	require.ErrorIs(t, err, pagecheck.ErrDamaged)
	bad := errors.New("bad")
	_, _, err = pagecheck.Single(&failing{bytes.NewReader(b), 0, bad}, int64(len(b)), 1024, root, "only")
	require.ErrorIs(t, err, bad)
	require.NotErrorIs(t, err, pagecheck.ErrDamaged)
}
