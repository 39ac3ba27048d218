package bolt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
)

// walked is what bbolt itself finds in a file: another way to the numbers of Buckets.
func walked(t *testing.T, path string) (u engine.Usage) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	u.PageBytes = int64(db.Info().PageSize)
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		u.Pages = tx.Size() / u.PageBytes
		for id := range int(u.Pages) {
			switch p, err := tx.Page(id); {
			case err != nil:
				return err
			case p.Type == "free":
				u.FreePages++
			}
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			out := engine.Bucket{Name: string(name)}
			if b.Root() != 0 {
				s := b.Stats()
				out.Pages = int64(s.BranchPageN + s.BranchOverflowN + s.LeafPageN + s.LeafOverflowN)
			}
			u.Buckets = append(u.Buckets, out)
			last := &u.Buckets[len(u.Buckets)-1]
			return b.ForEach(func(k, v []byte) error {
				last.Entries++
				last.KeyBytes += int64(len(k))
				last.ValueBytes += int64(len(v))
				return nil
			})
		})
	}))
	u.SystemPages = u.Pages - u.FreePages
	for _, b := range u.Buckets {
		u.SystemPages -= b.Pages
	}
	return u
}

// usageWrites are writes to many machines whose events differ in size, from one
// that shares a page with others to one of many pages.
func usageWrites(seed uint64, n int) (all []engine.Write) {
	r := rand.New(rand.NewPCG(seed, 1))
	seqs := map[string]uint64{}
	for range n {
		id := fmt.Sprintf("machine %d", r.IntN(400))
		size := 1 + r.IntN(300)
		if r.IntN(50) == 0 {
			size = r.IntN(60_000)
		}
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		w := engine.Write{Machine: id, Kind: 1, Schema: 1, Expect: seqs[id], Seq: seqs[id] + 1, Events: []engine.Event{{Bytes: b}}, Head: []byte("head of " + id)}
		if r.IntN(10) == 0 {
			w.Snapshots = []engine.Snapshot{{Seq: w.Seq, Bytes: b}}
		}
		seqs[id]++
		all = append(all, w)
	}
	return all
}

func TestBuckets_AsBboltFinds(t *testing.T) {
	for name, o := range map[string]config{
		"direct":           {},
		"journal":          {journalBytes: 1 << 20},
		"uncompressed":     {noCompression: true},
		"a page at a time": {readBytes: 1, journalBytes: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			e, err := openWith(path, o)
			require.NoError(t, err)
			for some := range slices.Chunk(usageWrites(1, 3000), 100) {
				commitBolt(t, e, some...)
			}
			var gone []engine.Write
			for i := range 200 { // so that pages are free, and inner pages have few children
				id := fmt.Sprintf("machine %d", i)
				h, err := e.Load(t.Context(), id, engine.LoadRange{}, nil)
				require.NoError(t, err)
				if h.Number > 0 {
					gone = append(gone, engine.Write{Machine: id, Expect: h.Seq, Purge: true})
				}
			}
			commitBolt(t, e, gone...)
			require.NoError(t, e.SetNote(t.Context(), "note", []byte("value")))
			if o.journalBytes > 0 {
				require.NoError(t, e.journal.checkpoint(nil))
			}
			live, err := e.Buckets(t.Context())
			require.NoError(t, err)
			assert.Zero(t, live.Journal, "all of it is in the buckets")
			require.NoError(t, e.Close())

			want := walked(t, path)
			require.Greater(t, want.FreePages, int64(10))
			o.readOnly = true
			e, err = openWith(path, o)
			require.NoError(t, err)
			defer e.Close()
			got, err := e.Buckets(t.Context())
			require.NoError(t, err)
			size, err := e.Size(t.Context())
			require.NoError(t, err)
			assert.Equal(t, size.FileBytes, got.FileBytes)
			got.FileBytes = 0
			assert.Equal(t, want, got, "a file opened for reading")
			events, machines := bucketNamed(t, got, "events"), bucketNamed(t, got, "machines")
			assert.Equal(t, size.Machines, machines.Entries)
			assert.Greater(t, events.Pages, int64(100), "several levels of pages")
			for _, b := range live.Buckets { // closing wrote the mark only
				if b.Name != "meta" {
					assert.Equal(t, bucketNamed(t, got, b.Name), b)
				}
			}
		})
	}
}

func bucketNamed(t *testing.T, u engine.Usage, name string) engine.Bucket {
	t.Helper()
	for _, b := range u.Buckets {
		if b.Name == name {
			return b
		}
	}
	require.Fail(t, "no bucket", name)
	return engine.Bucket{}
}

// What is in the journal only is said apart, after a crash and in a file opened for reading too.
func TestBuckets_Journal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{journalBytes: 8 << 20})
	require.NoError(t, err)
	defer killBolt(e)
	var bytes int64
	for i := range uint64(20) {
		w := engine.Write{Machine: "m", Expect: 2 * i, Seq: 2*i + 2, Events: []engine.Event{{Bytes: make([]byte, 1000)}, {Bytes: make([]byte, 500)}}, Head: []byte("head")}
		commitBolt(t, e, w)
		bytes += 1504
		u, err := e.Buckets(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 2*i+2, u.Journal.Records)
		assert.GreaterOrEqual(t, u.Journal.Bytes, bytes)
		assert.Less(t, u.Journal.Bytes, bytes*11/10)
		assert.Zero(t, bucketNamed(t, u, "events").Entries)
		assert.EqualValues(t, 1, bucketNamed(t, u, "journal").Entries)
		assert.Greater(t, bucketNamed(t, u, "journal").ValueBytes, int64(8<<20), "full or empty")
	}
	require.NoError(t, e.journal.checkpoint(nil))
	u, err := e.Buckets(t.Context())
	require.NoError(t, err)
	assert.Zero(t, u.Journal)
	assert.NotZero(t, bucketNamed(t, u, "events").Entries)
	commitBolt(t, e, engine.Write{Machine: "m", Expect: 40, Seq: 41, Events: []engine.Event{{Bytes: []byte("e")}}, Head: []byte("head")})
	killBolt(e)

	r, err := openWith(path, config{readOnly: true})
	require.NoError(t, err)
	defer r.Close()
	u, err = r.Buckets(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, u.Journal.Records)
}

// 1. Writes go on while Buckets reads, and the other way round.
// 2. Each read transaction is short: it reads no more than readBytes of pages.
// 3. What was there before and stays there is counted.
func TestBuckets_WhileWriting(t *testing.T) {
	transactions := 0
	var mu sync.Mutex
	path := filepath.Join(t.TempDir(), "test.db")
	e := openAt(t, path, config{journalBytes: 1 << 20, readBytes: 16 << 10, seams: seams{read: func() { mu.Lock(); transactions++; mu.Unlock() }}})
	writes := usageWrites(2, 4000)
	for some := range slices.Chunk(writes[:2000], 100) {
		commitBolt(t, e, some...)
	}
	require.NoError(t, e.journal.checkpoint(nil))
	before, err := e.Buckets(t.Context())
	require.NoError(t, err)
	transactions = 0
	_, err = e.Buckets(t.Context())
	require.NoError(t, err)
	var used int64
	for _, b := range before.Buckets {
		if b.Name != "journal" { // one long value, whose pages are not read
			used += b.Pages
		}
	}
	perTransaction := int64(16<<10) / before.PageBytes
	assert.Greater(t, int64(transactions), used/4/perTransaction, "overflow pages are not read, branch pages twice")
	assert.Greater(t, transactions, 30)

	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		defer close(done)
		for some := range slices.Chunk(writes[2000:], 10) {
			commitBolt(t, e, some...)
		}
	})
	n := 0
	for more := true; more; n++ {
		select {
		case <-done:
			more = false
		default:
		}
		u, err := e.Buckets(t.Context())
		require.NoError(t, err)
		for _, b := range u.Buckets {
			if b.Name == "events" || b.Name == "machines" || b.Name == "snapshots" {
				assert.GreaterOrEqual(t, b.Entries, bucketNamed(t, before, b.Name).Entries*9/10, b.Name) // blocks are joined
			}
		}
	}
	all.Wait()
	assert.Greater(t, n, 1)
	after, err := e.Buckets(t.Context())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, bucketNamed(t, after, "machines").Entries, bucketNamed(t, before, "machines").Entries)
}

func TestBuckets_Ends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	rounds := 0
	ctx, cancel := context.WithCancel(t.Context())
	e := openAt(t, path, config{readBytes: 1, seams: seams{read: func() {
		if rounds++; rounds == 10 {
			cancel()
		}
	}}})
	for some := range slices.Chunk(usageWrites(3, 500), 100) {
		commitBolt(t, e, some...)
	}
	rounds = 0
	_, err := e.Buckets(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 10, rounds, "at once")
}

// Damage is an error, never a panic or an endless loop.
func TestBuckets_Damage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{noCompression: true})
	require.NoError(t, err)
	for some := range slices.Chunk(usageWrites(4, 1500), 100) {
		commitBolt(t, e, some...)
	}
	var root uint64
	require.NoError(t, e.view(func(tx *txn) error { t := tx.tree("events"); root = t.root(); return nil }))
	good := make([]byte, e.handle.pageSize())
	_, err = e.file.ReadAt(good, int64(root)*int64(len(good)))
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	found := 0
	for i := range 200 {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1 << (i % 8)
		_, err = f.WriteAt(bad, int64(root)*int64(len(good)))
		require.NoError(t, err)
		if _, err := e.Buckets(t.Context()); err != nil {
			require.ErrorIs(t, err, engine.ErrCorrupt, "byte %d", i)
			found++
		}
	}
	assert.Greater(t, found, 100)
	_, err = f.WriteAt(good, int64(root)*int64(len(good)))
	require.NoError(t, err)
	_, err = e.Buckets(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Close())
}
