package pagecheck_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
	"github.com/liap-tui/savepoint/internal/long"
)

var ne = binary.NativeEndian

// file returns a closed bbolt file that fill made in several transactions.
func file(t testing.TB, pageSize int, fill ...func(tx *bolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: pageSize, NoSync: true, InitialMmapSize: 1 << 26})
	require.NoError(t, err)
	for _, fn := range fill {
		require.NoError(t, db.Update(fn))
	}
	require.NoError(t, db.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// rich has every form of page: trees of three levels, empty, inline and nested
// buckets, long keys, values with overflow pages, free pages.
func rich(t testing.TB, pageSize int) []byte {
	return file(t, pageSize, func(tx *bolt.Tx) error {
		big, err := tx.CreateBucket([]byte("big"))
		for i := range 900 {
			err = errors.Join(err, big.Put(fmt.Appendf(nil, "key %06d", i*7), make([]byte, i%90)))
		}
		inline, err2 := tx.CreateBucket([]byte("inline"))
		long, err3 := tx.CreateBucket([]byte("long"))
		empty, err4 := tx.CreateBucket([]byte("none"))
		nest, err5 := tx.CreateBucket([]byte("nest"))
		err = errors.Join(err, err2, err3, err4, err5, inline.Put([]byte("k"), []byte("v")), empty.Put([]byte("k"), make([]byte, 3*pageSize)))
		for i := range 4 {
			err = errors.Join(err, long.Put(append(fmt.Appendf(nil, "%d", i), make([]byte, 20_000)...), make([]byte, 100_000)))
		}
		for i := range 40 {
			b, err2 := nest.CreateBucket(fmt.Appendf(nil, "nested %d", i))
			err = errors.Join(err, err2, b.Put([]byte("k"), make([]byte, i*30)))
			c, err2 := b.CreateBucket([]byte("deeper"))
			err = errors.Join(err, err2, c.Put([]byte("k"), []byte("v")))
		}
		return err
	}, func(tx *bolt.Tx) error {
		var err error
		for i := range 300 {
			err = errors.Join(err, tx.Bucket([]byte("big")).Delete(fmt.Appendf(nil, "key %06d", i*14)))
		}
		return errors.Join(err, tx.Bucket([]byte("none")).Delete([]byte("k")), tx.DeleteBucket([]byte("long")))
	}, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("big")).Put([]byte("key"), []byte("v"))
	})
}

// check does both walks from the newest meta page.
func check(b []byte, visit pagecheck.Visit, buckets ...string) (pagecheck.Report, error) {
	r := bytes.NewReader(b)
	metas := pagecheck.ReadMetas(r)
	c, err := pagecheck.New(r, int64(len(b)), &metas)
	if err != nil {
		return pagecheck.Report{}, err
	}
	if err := c.Top(visit, buckets...); err != nil {
		return c.Report(), err
	}
	if len(buckets) == 0 {
		err = c.Whole(nil)
	}
	return c.Report(), err
}

func TestCheck_Sound(t *testing.T) {
	for _, size := range []int{1024, 2048, 4096, 16384, 65536} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			b := rich(t, size)
			rep, err := check(b, nil)
			require.NoError(t, err)
			assert.True(t, rep.Whole)
			assert.Equal(t, rep.Pages, rep.Used+rep.Free+2)
			assert.NotZero(t, rep.Free)
			assert.Less(t, rep.Bytes, 3*int64(len(b)))
		})
	}
	t.Run("a free list of more than 65,535 pages", func(t *testing.T) {
		long.Skip(t, "it writes 70 MB")
		b := file(t, 1024, func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("b"))
			return errors.Join(err, b.Put([]byte("k"), make([]byte, 70<<20)))
		}, func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("b")) }, func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("c"))
			return err
		})
		rep, err := check(b, nil)
		require.NoError(t, err)
		assert.Greater(t, rep.Free, uint64(1<<16))
	})
}

// TestCheck_Visits: each key of the named buckets is visited, in order, and no other.
func TestCheck_Visits(t *testing.T) {
	b := rich(t, 1024)
	seen := map[string][]string{}
	_, err := check(b, func(bucket string, key, value []byte) {
		seen[bucket] = append(seen[bucket], string(key))
		if bucket == "inline" {
			assert.Equal(t, "v", string(value))
		}
	}, "big", "inline")
	require.NoError(t, err)
	assert.Equal(t, []string{"k"}, seen["inline"])
	assert.IsIncreasing(t, seen["big"])
	assert.Equal(t, 900-300+1, len(seen["big"]))
	assert.Len(t, seen, 2)
}

// pages of a small file, and its parts.
type small struct {
	b    []byte
	free int
	root int // leaf of the top-level buckets
	tree int // branch page of bucket "b"
	kids []int
}

func (s *small) page(id int) []byte { return s.b[id*1024:] }

func makeSmall(t testing.TB) *small {
	s := &small{b: file(t, 1024, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("b"))
		for i := range 60 {
			err = errors.Join(err, b.Put(fmt.Appendf(nil, "key %02d", i), make([]byte, 40)))
		}
		in, err2 := tx.CreateBucket([]byte("in"))
		return errors.Join(err, err2, in.Put([]byte("one"), []byte("1")), in.Put([]byte("two"), []byte("2")))
	}, func(tx *bolt.Tx) error { return tx.Bucket([]byte("b")).Put([]byte("key 00"), nil) })}
	r := bytes.NewReader(s.b)
	metas := pagecheck.ReadMetas(r)
	m := metas.Newest()
	s.free, s.root = int(m.FreeList), int(m.Root)
	at := s.page(s.root)[16:]
	s.tree = int(ne.Uint64(at[int(ne.Uint32(at[4:]))+1:]))
	for i := range int(ne.Uint16(s.page(s.tree)[10:])) {
		s.kids = append(s.kids, int(ne.Uint64(s.page(s.tree)[16+16*i+8:])))
	}
	return s
}

// metas changes both meta pages, checksums and all.
func (s *small) metas(change func(meta []byte)) {
	for i := range 2 {
		m := s.page(i)[16:]
		change(m)
		h := fnv.New64a()
		h.Write(m[:56])
		ne.PutUint64(m[56:], h.Sum64())
	}
}

// element returns element i of a page.
func (s *small) element(page, i int) []byte { return s.page(page)[16+16*i:] }

// key returns the key of element i of a leaf, followed by its value.
func (s *small) key(page, i int) []byte {
	e := s.element(page, i)
	return e[ne.Uint32(e[4:]):]
}

// inline returns the page of bucket "in".
func (s *small) inline() []byte { return s.key(s.root, 1)[2+16:] }

func TestCheck_Finds(t *testing.T) {
	sound := makeSmall(t)
	_, err := check(sound.b, nil)
	require.NoError(t, err)
	require.Greater(t, len(sound.kids), 3)
	put16, put32, put64 := ne.PutUint16, ne.PutUint32, ne.PutUint64
	for name, c := range map[string]struct {
		change func(s *small)
		says   string
	}{
		"both metas": {func(s *small) { s.b[20]++; s.b[1024+20]++ }, "both meta pages"},
		"metas of two page sizes": {func(s *small) {
			s.metas(func(m []byte) { put32(m[8:], 2048) })
			copy(s.b[2048:], s.b[1024:1104])
			s.metas(func(m []byte) { put32(m[8:], 1024) })
			s.firstMeta(func(m []byte) { put32(m[8:], 2048) })
			put32(s.page(2)[24:], 1024)
			s.sum(2)
		}, "page sizes of"},
		"meta elsewhere":             {func(s *small) { clear(s.b[:1024]); s.metas(func(m []byte) { put32(m[8:], 4096) }); clear(s.b[:1024]) }, "has a page size of 4096 bytes"},
		"bbolt format":               {func(s *small) { s.metas(func(m []byte) { put32(m[4:], 3) }) }, "format 3"},
		"no free list":               {func(s *small) { s.metas(func(m []byte) { put64(m[32:], ^uint64(0)) }) }, "free list is not stored"},
		"more pages than there are":  {func(s *small) { s.metas(func(m []byte) { put64(m[40:], 1<<40) }) }, "do not fit"},
		"no pages":                   {func(s *small) { s.metas(func(m []byte) { put64(m[40:], 3) }) }, "do not fit"},
		"free list beyond the end":   {func(s *small) { s.metas(func(m []byte) { put64(m[32:], 1<<50) }) }, "free list: page 1125899906842624: a page from 2"},
		"free list in a meta page":   {func(s *small) { s.metas(func(m []byte) { put64(m[32:], 1) }) }, "free list: page 1: a page from 2"},
		"free list is a leaf":        {func(s *small) { s.metas(func(m []byte) { put64(m[32:], uint64(s.root)) }) }, "those of a free list"},
		"free list too long":         {func(s *small) { put16(s.page(s.free)[10:], 500) }, "do not fit"},
		"free list far too long":     {func(s *small) { put16(s.page(s.free)[10:], 0xffff); put64(s.page(s.free)[16:], 1<<62) }, "do not fit"},
		"free page in use":           {func(s *small) { s.setFree(s.kids[1]) }, "in the free list"},
		"free page twice":            {func(s *small) { s.setFree(int(s.firstFree()), int(s.firstFree())) }, "free page 4 after 4"},
		"free meta page":             {func(s *small) { s.setFree(1) }, "free page 1 "},
		"free page beyond the end":   {func(s *small) { s.setFree(1 << 30) }, "free page 1073741824 "},
		"free list is free":          {func(s *small) { s.setFree(s.free) }, "of the list itself is listed as free"},
		"a page is forgotten":        {func(s *small) { put16(s.page(s.free)[10:], ne.Uint16(s.page(s.free)[10:])-1) }, "neither in use nor free"},
		"root beyond the end":        {func(s *small) { s.metas(func(m []byte) { put64(m[16:], 1<<50) }) }, "page 1125899906842624: a page from 2"},
		"root in a meta page":        {func(s *small) { s.metas(func(m []byte) { put64(m[16:], 0) }) }, "page 0: a page from 2"},
		"root is the free list":      {func(s *small) { s.metas(func(m []byte) { put64(m[16:], uint64(s.free)) }) }, "in use twice"},
		"page says another id":       {func(s *small) { put64(s.page(s.kids[2]), 77) }, "its header is that of page 77"},
		"page of no kind":            {func(s *small) { put16(s.page(s.kids[2])[8:], 4) }, "flags 0x4"},
		"page of two kinds":          {func(s *small) { put16(s.page(s.kids[2])[8:], 3) }, "flags 0x3"},
		"overflow beyond the end":    {func(s *small) { put32(s.page(s.kids[2])[12:], 1<<31) }, "go beyond the end"},
		"overflow into another page": {func(s *small) { put32(s.page(s.kids[0])[12:], 1) }, "page"},
		"branch below itself":        {func(s *small) { put64(s.element(s.tree, 1)[8:], uint64(s.tree)) }, "in use twice"},
		"child twice":                {func(s *small) { put64(s.element(s.tree, 1)[8:], uint64(s.kids[0])) }, "in use twice"},
		"child beyond the end":       {func(s *small) { put64(s.element(s.tree, 1)[8:], 1<<40) }, "a page from 2"},
		"child is free": {func(s *small) {
			put64(s.element(s.tree, 1)[8:], s.firstFree())
			put64(s.page(int(s.firstFree())), s.firstFree())
			put32(s.page(int(s.firstFree()))[12:], 0)
		}, "in the free list"},
		"branch without children":     {func(s *small) { put16(s.page(s.tree)[10:], 0) }, "0 children"},
		"branch with many children":   {func(s *small) { put16(s.page(s.tree)[10:], 500) }, "500 children"},
		"branch with fewer children":  {func(s *small) { put16(s.page(s.tree)[10:], 2) }, "key of child 0"},
		"branch key elsewhere":        {func(s *small) { put32(s.element(s.tree, 1), 1) }, "key of child 1"},
		"branch key too long":         {func(s *small) { put32(s.element(s.tree, 1)[4:], 1<<31) }, "key of child 1"},
		"branch key of no bytes":      {func(s *small) { put32(s.element(s.tree, 1)[4:], 0) }, "key of child 1"},
		"branch keys not in order":    {func(s *small) { e := s.element(s.tree, 1); copy(e[ne.Uint32(e):], "key 99") }, "child 2 is not greater"},
		"branch key within the child": {func(s *small) { e := s.element(s.tree, 1); e[ne.Uint32(e)+5]++ }, "belongs in another page"},
		"children changed places":     {func(s *small) { s.swap(s.kids[1], s.kids[2]) }, "belongs in another page"},
		"leaf with many keys":         {func(s *small) { put16(s.page(s.kids[1])[10:], 500) }, "500 keys"},
		"leaf with fewer keys":        {func(s *small) { put16(s.page(s.kids[1])[10:], 3) }, "key 0:"},
		"leaf without keys":           {func(s *small) { put16(s.page(s.kids[1])[10:], 0) }, "no keys"},
		"bucket without keys":         {func(s *small) { put16(s.page(s.tree)[8:], 2); put16(s.page(s.tree)[10:], 0) }, "no keys"},
		"leaf key elsewhere":          {func(s *small) { put32(s.element(s.kids[1], 1)[4:], 3) }, "key 1:"},
		"leaf key of no bytes":        {func(s *small) { put32(s.element(s.kids[1], 1)[8:], 0) }, "key 1:"},
		"leaf key too long":           {func(s *small) { put32(s.element(s.kids[1], 1)[8:], 40_000) }, "key 1:"},
		"leaf value too long":         {func(s *small) { put32(s.element(s.kids[1], 1)[12:], 1<<31-1) }, "key 1:"},
		"leaf value longer":           {func(s *small) { s.element(s.kids[1], 1)[12]++ }, "key 2:"},
		"leaf value shorter":          {func(s *small) { s.element(s.kids[1], 1)[12]-- }, "key 2:"},
		"leaf flags":                  {func(s *small) { put32(s.element(s.kids[1], 1), 2) }, "key 1: flags 0x2"},
		"leaf keys not in order":      {func(s *small) { copy(s.key(s.kids[1], 1), "key 99") }, "page"},
		"leaf keys equal":             {func(s *small) { copy(s.key(s.kids[1], 1), s.key(s.kids[1], 0)[:6]) }, "key 1 is not greater"},
		"leaf key before its page":    {func(s *small) { copy(s.key(s.kids[1], 0), "key 00") }, "key 0 belongs"},
		"value is a bucket":           {func(s *small) { put32(s.element(s.kids[1], 1), 1) }, "bucket"},
		"bucket is a value":           {func(s *small) { put32(s.element(s.root, 0), 0) }, "neither in use nor free"},
		"bucket at a meta page":       {func(s *small) { put64(s.key(s.root, 0)[1:], 1) }, "page 1: a page from 2"},
		"bucket at its own page":      {func(s *small) { put64(s.key(s.root, 0)[1:], uint64(s.root)) }, "in use twice"},
		"bucket without a root":       {func(s *small) { put64(s.key(s.root, 0)[1:], 0) }, "a page of 0 bytes"},
		"inline bucket with a root":   {func(s *small) { put64(s.key(s.root, 1)[2:], uint64(s.kids[0])) }, "and a root"},
		"inline bucket's id":          {func(s *small) { s.inline()[0] = 5 }, `bucket "in" in it: page 5`},
		"inline bucket is a branch":   {func(s *small) { s.inline()[8] = 1 }, "flags 0x1"},
		"inline bucket overflows":     {func(s *small) { s.inline()[12] = 1 }, "1 overflow pages"},
		"inline bucket, many keys":    {func(s *small) { s.inline()[11] = 1 }, "258 keys"},
		"inline bucket, fewer keys":   {func(s *small) { s.inline()[10] = 1 }, "key 0:"},
		"inline bucket's key":         {func(s *small) { s.inline()[16+8] = 200 }, "key 0:"},
		"inline bucket's value":       {func(s *small) { s.inline()[32+12] = 0 }, "1 bytes after"},
		"inline bucket's order":       {func(s *small) { copy(s.inline()[48:], "two") }, "key 1 is not greater"},
		"a bucket in an inline one":   {func(s *small) { s.inline()[16] = 1 }, "key 0 is a bucket"},
		"cut off":                     {func(s *small) { s.b = s.b[:10*1024] }, "do not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			s := *sound
			s.b = bytes.Clone(sound.b)
			c.change(&s)
			require.False(t, bytes.Equal(s.b, sound.b), "nothing was changed")
			_, err := check(s.b, nil)
			require.ErrorIs(t, err, pagecheck.ErrDamaged)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func (s *small) firstMeta(change func(m []byte)) { change(s.b[16:]); s.sum(0) }

// sum corrects the checksum of the meta page at page id.
func (s *small) sum(id int) {
	m := s.page(id)[16:]
	h := fnv.New64a()
	h.Write(m[:56])
	ne.PutUint64(m[56:], h.Sum64())
}

func (s *small) firstFree() uint64 { return ne.Uint64(s.page(s.free)[16:]) }

// setFree puts pages at the start of the free list.
func (s *small) setFree(ids ...int) {
	for i, id := range ids {
		ne.PutUint64(s.page(s.free)[16+8*i:], uint64(id))
	}
	ne.PutUint16(s.page(s.free)[10:], max(uint16(len(ids)), ne.Uint16(s.page(s.free)[10:])))
}

// swap makes two pages change places, ids and all.
func (s *small) swap(a, b int) {
	one, two := bytes.Clone(s.page(a)[:1024]), bytes.Clone(s.page(b)[:1024])
	copy(s.page(a)[8:], two[8:])
	copy(s.page(b)[8:], one[8:])
}

// TestCheck_ReadErrors: an error of reading does not match ErrDamaged.
func TestCheck_ReadErrors(t *testing.T) {
	b := makeSmall(t).b
	bad := errors.New("the disk")
	for i := 2; ; i++ {
		r := &failing{r: bytes.NewReader(b), after: i, err: bad}
		metas := pagecheck.ReadMetas(r)
		c, err := pagecheck.New(r, int64(len(b)), &metas)
		if err == nil {
			err = c.Whole(nil)
		}
		if err == nil {
			require.Greater(t, i, 5)
			break
		}
		require.ErrorIs(t, err, bad)
		require.NotErrorIs(t, err, pagecheck.ErrDamaged)
	}
}

// failing fails from read number after on.
type failing struct {
	r     io.ReaderAt
	after int
	err   error
}

func (f *failing) ReadAt(b []byte, at int64) (int, error) {
	if f.after--; f.after < 0 {
		return 0, f.err
	}
	return f.r.ReadAt(b, at)
}

// counting counts the bytes read.
type counting struct {
	r io.ReaderAt
	n int64
}

func (c *counting) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.r.ReadAt(b, at)
	c.n += int64(n)
	return n, err
}

// FuzzCheck: whatever the bytes, the check ends, panics nowhere and reads each
// page a bounded number of times.
func FuzzCheck(f *testing.F) {
	f.Add(makeSmall(f).b[:16<<10])
	f.Add(file(f, 1024)[:4096])
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &counting{r: bytes.NewReader(b)}
		metas := pagecheck.ReadMetas(r)
		for i := range metas { // a fuzzer does not find checksums
			m := metas[i].Raw[16:]
			if ne.Uint32(m) == 0xED0CDAED && metas[i].At+80 <= int64(len(b)) {
				h := fnv.New64a()
				h.Write(m[:56])
				ne.PutUint64(b[metas[i].At+72:], h.Sum64())
			}
		}
		r.r = bytes.NewReader(b)
		metas = pagecheck.ReadMetas(r)
		c, err := pagecheck.New(r, int64(len(b)), &metas)
		if err == nil {
			if err = c.Top(nil); err == nil {
				err = c.Whole(func(_ string, k, v []byte) { _, _ = append([]byte(nil), k...), v })
			}
		}
		if err != nil && !errors.Is(err, pagecheck.ErrDamaged) {
			t.Fatal(err)
		}
		if err == nil && !c.Report().Whole {
			t.Fatal("not whole")
		}
		if r.n > 8*int64(len(b))+1<<20 {
			t.Fatalf("%d bytes read of %d", r.n, len(b))
		}
	})
}
