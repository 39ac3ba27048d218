package pagecheck

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// usageFile is a bbolt file with one bucket of many pages, in which keys and values have many lengths.
func usageFile(t *testing.T) (f File, root uint64, keys [][]byte, values []int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024})
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("b"))
		for i := range 3000 {
			if err == nil {
				size := r.IntN(100)
				if i%100 == 0 {
					size = r.IntN(9000)
				}
				err = b.Put(fmt.Appendf(nil, "%0*d", 4+r.IntN(40), i), make([]byte, size))
			}
		}
		return err
	}))
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("b"))
		root, f.Page, f.Pages = uint64(b.Root()), 1024, uint64(tx.Size()/1024)
		return b.ForEach(func(k, v []byte) error {
			keys, values = append(keys, append([]byte(nil), k...)), append(values, len(v))
			return nil
		})
	}))
	require.NoError(t, db.Close())
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	f.R = file
	return f, root, keys, values
}

func TestMeasure_FromAnyKey(t *testing.T) {
	f, root, keys, values := usageFile(t)
	var whole Usage
	next, err := f.Measure(root, nil, 1<<20, &whole)
	require.NoError(t, err)
	assert.Nil(t, next)
	want := Usage{Pages: whole.Pages}
	for i := len(keys) - 1; i >= 0; i-- { // the entries from each key on, and from just before and just after it
		for from, n := range map[string]int64{string(keys[i][:len(keys[i])-1]) + "\x00": -1, string(keys[i]): 1, string(keys[i]) + "\x00": 0} {
			if i%7 != 0 || n < 0 && i > 0 && string(keys[i-1]) >= from {
				continue
			}
			var got Usage
			next, err := f.Measure(root, []byte(from), 1<<20, &got)
			require.NoError(t, err)
			require.Nil(t, next)
			entries := int64(len(keys) - i)
			if n == 0 {
				entries--
			}
			require.Equal(t, entries, got.Entries, "from %q", from)
			require.LessOrEqual(t, got.Pages, whole.Pages)
		}
		want.Entries++
		want.KeyBytes += int64(len(keys[i]))
		want.ValueBytes += int64(values[i])
	}
	assert.Equal(t, want, whole)
	assert.Greater(t, whole.Pages, int64(200))
}

// Parts of any size add up to the whole, and each is as short as it was to be.
func TestMeasure_Parts(t *testing.T) {
	f, root, _, _ := usageFile(t)
	var whole Usage
	_, err := f.Measure(root, nil, 1<<20, &whole)
	require.NoError(t, err)
	for _, most := range []int{1, 2, 3, 10, 100} {
		var all Usage
		parts := 0
		for next, more := []byte(nil), true; more; parts++ {
			reads := &countedReads{f.R, 0}
			part := File{R: reads, Page: f.Page, Pages: f.Pages}
			next, err = part.Measure(root, next, most, &all)
			require.NoError(t, err)
			more = next != nil
			require.LessOrEqual(t, reads.n, 3*(most+8), "three reads a page, and the way down")
		}
		assert.Equal(t, whole, all, "%d pages at a time", most)
		assert.GreaterOrEqual(t, parts, int(whole.Pages)/4/(most+8))
	}
}

type countedReads struct {
	r interface {
		ReadAt(b []byte, at int64) (int, error)
	}
	n int
}

func (c *countedReads) ReadAt(b []byte, at int64) (int, error) {
	c.n++
	return c.r.ReadAt(b, at)
}
