package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// gameState returns bytes like those of an encoded state: words that all states of
// the kind have, and some that only this one has.
func gameState(kind uint32, machine string, seq uint64) []byte {
	words := [][]string{
		{"current_player", "required_piece_count", "turn_order", "captured_piles", "zero_declares_in_a_row"},
		{"letters_on_the_rack", "words_on_the_board", "tiles_left_in_the_bag", "challenge_in_progress", "premium_squares"},
	}[kind%2]
	r := rand.New(rand.NewPCG(seq, uint64(crc32.ChecksumIEEE([]byte(machine)))))
	var b []byte
	for _, w := range words {
		b = fmt.Appendf(b, "%s=%d,only-%s-%x;", w, r.IntN(9), machine, r.Uint64())
	}
	return b
}

// gameWrite returns a write of one event and a snapshot after it.
func gameWrite(kind uint32, machine string, seq uint64) engine.Write {
	w := writeOf(machine, seq-1, 1)
	w.Kind = kind
	w.Snapshots = []engine.Snapshot{{Seq: seq, Bytes: gameState(kind, machine, seq)}}
	return w
}

// playGames writes seqs from to to of each of the machines.
func playGames(t testing.TB, e *Engine, kind uint32, machines int, from, to uint64) {
	t.Helper()
	for seq := from; seq <= to; seq++ {
		for m := range machines {
			require.NoError(t, commitSteps(e, stepOf(gameWrite(kind, fmt.Sprintf("%d-%d", kind, m), seq))))
		}
	}
}

// readGames checks that each snapshot is damaged or as it was written, and returns
// the number of damaged ones.
func readGames(t testing.TB, e *Engine, kind uint32, machines int, to uint64) (damaged int) {
	t.Helper()
	for m := range machines {
		machine, snapshots, events := fmt.Sprintf("%d-%d", kind, m), uint64(0), uint64(0)
		_, err := e.Load(context.Background(), machine, everything, func(it engine.Item) error {
			switch {
			case it.Part == engine.PartEvent:
				events++
				require.NoError(t, it.Err)
			case it.Err != nil:
				require.ErrorIs(t, it.Err, engine.ErrDamaged)
				require.ErrorContains(t, it.Err, "dictionary")
				damaged++
				snapshots++
			default:
				snapshots++
				require.Equal(t, string(gameState(kind, machine, it.Seq)), string(it.Bytes), "%s %d", machine, it.Seq)
			}
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, [2]uint64{to, to}, [2]uint64{events, snapshots}, machine)
	}
	return damaged
}

// codecsIn counts the stored snapshots of a closed file by codec, and returns the
// keys of its dictionaries.
func codecsIn(t testing.TB, path string) (codecs map[format.Codec]int, keys, copies []string) {
	t.Helper()
	codecs = map[format.Codec]int{}
	change(t, path, func(tx *bbolt.Tx) error {
		for name, list := range map[string]*[]string{"dictionaries": &keys, "copies": &copies} {
			_ = tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
				*list = append(*list, fmt.Sprintf("%x", k))
				return nil
			})
		}
		return tx.Bucket(bucketSnapshots).ForEach(func(_, v []byte) error {
			codecs[format.PeekHeader(v).Codec]++
			return nil
		})
	})
	return codecs, keys, copies
}

// row C1.
func TestDictionary_MadeAndUsed(t *testing.T) {
	// 1. a kind gets its own dictionary once there are enough snapshots of enough machines; 2. snapshots stored before and
	// after it are read, after reopening and read-only; 3. schema versions share a dictionary.
	for name, o := range map[string]config{"direct": {}, "journal": {journalBytes: 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			e, err := openWith(path, o)
			require.NoError(t, err)
			playGames(t, e, 1, 6, 1, 2)
			require.NoError(t, e.Close())
			codecs, keys, _ := codecsIn(t, path)
			require.Empty(t, keys, "12 snapshots are too few")
			require.Equal(t, map[format.Codec]int{format.Snappy: 12}, codecs)

			e, err = openWith(path, o)
			require.NoError(t, err)
			playGames(t, e, 1, 6, 3, 25)
			playGames(t, e, 2, 3, 1, 30) // three machines are too few
			assert.Zero(t, readGames(t, e, 1, 6, 25))
			require.NoError(t, e.Close())
			codecs, keys, copies := codecsIn(t, path)
			require.Equal(t, []string{"0000000100000001"}, keys)
			require.Equal(t, keys, copies)
			assert.GreaterOrEqual(t, codecs[format.Shared], 20)

			e, err = openWith(path, config{readOnly: true})
			require.NoError(t, err)
			assert.Zero(t, readGames(t, e, 1, 6, 25))
			assert.Zero(t, readGames(t, e, 2, 3, 30))
			require.NoError(t, e.Close())

			e = openAt(t, path, o) // the first write after opening uses the dictionary
			w := gameWrite(1, "1-0", 26)
			w.Schema++
			require.NoError(t, commitSteps(e, stepOf(w)))
			playGames(t, e, 2, 6, 31, 30) // nothing
			require.NoError(t, commitSteps(e, stepOf(gameWrite(2, "2-0", 31))))
			require.NoError(t, e.Close())
			after, keys, _ := codecsIn(t, path)
			assert.Len(t, keys, 1)
			assert.Equal(t, codecs[format.Shared]+1, after[format.Shared])
			assert.Equal(t, codecs[format.Snappy]+1, after[format.Snappy], "kind 2 has none")
			e = openAt(t, path, config{noCompression: true})
			require.NoError(t, commitSteps(e, stepOf(gameWrite(1, "1-0", 27))))
			items, err := readAll(e, "1-0")
			require.NoError(t, err)
			assert.Len(t, items, 27+27+1)
		})
	}
}

func TestDictionary_NewOneIfItSavesATenth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	o := config{dictionaryDue: 1}
	e, err := openWith(path, o)
	require.NoError(t, err)
	playGames(t, e, 1, 6, 1, 80) // enough for several attempts
	require.NoError(t, e.Close())
	_, keys, _ := codecsIn(t, path)
	require.Len(t, keys, 1, "of the same no second one")

	e, err = openWith(path, o)
	require.NoError(t, err)
	for seq := uint64(1); seq <= 20; seq++ { // the states of kind 1 become like those of kind 2
		for m := range 16 {
			w := gameWrite(2, fmt.Sprintf("2-%d", m), seq)
			w.Kind = 1
			require.NoError(t, commitSteps(e, stepOf(w)))
		}
	}
	require.NoError(t, e.Close())
	_, keys, copies := codecsIn(t, path)
	assert.Equal(t, []string{"0000000100000001", "0000000100000002"}, keys)
	assert.Equal(t, keys, copies)
	e = openAt(t, path, config{})
	assert.Zero(t, readGames(t, e, 1, 6, 80))
	assert.Zero(t, readGames(t, e, 2, 16, 20))
}

// gamesFile returns a closed file with snapshots of two kinds, each with a
// dictionary.
func gamesFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{journalBytes: 1 << 20, dictionaryDue: 1})
	require.NoError(t, err)
	playGames(t, e, 1, 5, 1, 6)
	playGames(t, e, 2, 5, 1, 6)
	require.NoError(t, e.Close())
	codecs, keys, _ := codecsIn(t, path)
	require.Len(t, keys, 2)
	require.Equal(t, map[format.Codec]int{format.Shared: 60}, codecs)
	return path
}

func TestDictionary_EachByteOfOneCopy(t *testing.T) {
	// A wrong byte in a dictionary loses nothing: its copy is used, and opening for writing repairs it.
	path := gamesFile(t)
	first := dictionaryKey(1, 1)
	var good []byte
	change(t, path, func(tx *bbolt.Tx) error {
		good = bytes.Clone(tx.Bucket(bucketDictionaries).Get(first))
		return nil
	})
	for i := range good {
		if i > format.HeaderLen && i%40 != 0 {
			continue
		}
		for _, name := range [][]byte{bucketDictionaries, bucketCopies} {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			change(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(name).Put(first, bad) })
			e, err := openWith(path, config{readOnly: true})
			require.NoError(t, err)
			require.Zero(t, readGames(t, e, 1, 5, 6), "byte %d in %s", i, name)
			require.NoError(t, e.Close())
			e, err = openWith(path, config{})
			require.NoError(t, err)
			require.NoError(t, e.Close())
			change(t, path, func(tx *bbolt.Tx) error {
				for _, name := range [][]byte{bucketDictionaries, bucketCopies} {
					require.Equal(t, good, tx.Bucket(name).Get(first), "byte %d in %s", i, name)
				}
				return nil
			})
		}
	}
}

func TestDictionary_Lost(t *testing.T) {
	// 1. without its dictionary a snapshot is damaged, never a wrong state; 2. the other kind and the events are whole;
	// 3. later snapshots are compressed and read.
	both := func(fn func(b *bbolt.Bucket, key []byte) error) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			return errors.Join(fn(tx.Bucket(bucketDictionaries), dictionaryKey(1, 1)), fn(tx.Bucket(bucketCopies), dictionaryKey(1, 1)))
		}
	}
	for name, lose := range map[string]func(tx *bbolt.Tx) error{
		"removed": both((*bbolt.Bucket).Delete),
		"damaged": both(func(b *bbolt.Bucket, key []byte) error {
			v := bytes.Clone(b.Get(key))
			v[len(v)-1]++
			return b.Put(key, v)
		}),
		"replaced by another": both(func(b *bbolt.Bucket, key []byte) error {
			d, err := format.NewDictionary(bytes.Repeat([]byte("another dictionary "), 20))
			require.NoError(t, err)
			h := format.Header{Type: format.TypeDictionary, Kind: 1, Number: uint64(d.ID()), Seq: 1, Raw: uint32(len(d.Bytes()))}
			return b.Put(key, format.AppendValue(nil, &h, d.Bytes(), nil))
		}),
		"replaced under its id": both(func(b *bbolt.Bucket, key []byte) error {
			h, payload, err := format.ParseValue(b.Get(key), format.LongestDictionary)
			require.NoError(t, err)
			other := bytes.Clone(payload)
			other[7]++
			return b.Put(key, format.AppendValue(nil, &h, other, nil))
		}),
		"replaced by kind 2's": both(func(b *bbolt.Bucket, key []byte) error { return b.Put(key, b.Get(dictionaryKey(2, 1))) }),
	} {
		t.Run(name, func(t *testing.T) {
			path := gamesFile(t)
			change(t, path, lose)
			e := openAt(t, path, config{dictionaryDue: 1})
			assert.Equal(t, 30, readGames(t, e, 1, 5, 6))
			assert.Zero(t, readGames(t, e, 2, 5, 6))
			for seq := uint64(7); seq <= 30; seq++ {
				for m := range 5 {
					require.NoError(t, commitSteps(e, stepOf(gameWrite(1, fmt.Sprintf("1-%d", m), seq))))
				}
			}
			assert.Equal(t, 30, readGames(t, e, 1, 5, 30))
			require.NoError(t, e.Close())
			codecs, _, _ := codecsIn(t, path)
			assert.Greater(t, codecs[format.Shared], 60+100, "with a new dictionary")
			e = openAt(t, path, config{})
			assert.Equal(t, 30, readGames(t, e, 1, 5, 30))
		})
	}
}

func TestDictionary_FailedTransaction(t *testing.T) {
	// A dictionary that was made in a transaction that stored nothing is not used.
	path := filepath.Join(t.TempDir(), "test.db")
	var fail atomic.Bool
	e, err := openWith(path, config{dictionaryDue: 24, seams: seams{commit: func(tx *txn) error {
		if fail.Load() {
			return diskFull(tx)
		}
		return tx.commit()
	}}})
	require.NoError(t, err)
	playGames(t, e, 1, 5, 1, 4)
	fail.Store(true)
	for m := range 5 {
		require.ErrorIs(t, commitSteps(e, stepOf(gameWrite(1, fmt.Sprintf("1-%d", m), 5))), engine.ErrDiskFull)
	}
	fail.Store(false)
	playGames(t, e, 1, 5, 5, 8)
	assert.Zero(t, readGames(t, e, 1, 5, 8))
	require.NoError(t, e.Close())
	e = openAt(t, path, config{})
	assert.Zero(t, readGames(t, e, 1, 5, 8))
}

func TestDictionary_NothingOfOneMachine(t *testing.T) {
	// A dictionary has no bytes of only one machine, nor of only a purged machine and the next one under its key.
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{dictionaryDue: 40})
	require.NoError(t, err)
	playGames(t, e, 1, 5, 1, 6)
	require.NoError(t, commitSteps(e, stepOf(engine.Write{Machine: "1-3", Expect: 6, Purge: true})))
	for seq := uint64(1); seq <= 6; seq++ {
		require.NoError(t, commitSteps(e, stepOf(gameWrite(1, "1-3", seq))))
		require.NoError(t, commitSteps(e, stepOf(gameWrite(1, "1-9", seq))))
	}
	require.NoError(t, e.Close())
	change(t, path, func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketDictionaries).Get(dictionaryKey(1, 1))
		require.NotNil(t, v)
		require.Equal(t, format.Snappy, format.PeekHeader(v).Codec)
		d, err := new(dictionaries).parse(dictionaryKey(1, 1), v)
		require.NoError(t, err)
		assert.Contains(t, string(d.Bytes()), "tiles_left_in_the_bag")
		for m := range 10 {
			assert.NotContains(t, string(d.Bytes()), fmt.Sprintf("only-1-%d", m))
		}
		return nil
	})
}

func TestDictionary_OlderFile(t *testing.T) {
	// A file of a version before dictionaries has no buckets for them: it can be read, and gets them when it is opened
	// for writing.
	path := filepath.Join(t.TempDir(), "test.db")
	e, err := openWith(path, config{})
	require.NoError(t, err)
	playGames(t, e, 1, 5, 1, 3)
	require.NoError(t, e.Close())
	change(t, path, func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket(bucketDictionaries), tx.DeleteBucket(bucketCopies))
	})
	e, err = openWith(path, config{readOnly: true})
	require.NoError(t, err)
	assert.Zero(t, readGames(t, e, 1, 5, 3))
	require.NoError(t, e.Close())
	e = openAt(t, path, config{dictionaryDue: 1})
	playGames(t, e, 1, 5, 4, 6)
	assert.Zero(t, readGames(t, e, 1, 5, 6))
}
