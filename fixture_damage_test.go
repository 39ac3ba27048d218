package savepoint_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/format"
)

// ledgers returns a closed file with machines of n events each. Each event has a block of its own, so that it can be
// damaged alone.
func ledgers(t testing.TB, k savepoint.Kind[ledger], o *savepoint.Options, n int, ids ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, k, o)
	for _, id := range ids {
		write(t, s, id, 1, n)
	}
	require.NoError(t, db.Close())
	inFile(t, path, func(tx *bolt.Tx) error { return apart(t, tx) })
	return path
}

// apart splits the blocks of events, so that each event has its own.
func apart(t testing.TB, tx *bolt.Tx) error {
	b := tx.Bucket([]byte("events"))
	blocks := map[string][]byte{}
	require.NoError(t, b.ForEach(func(key, v []byte) error {
		h, payload, err := format.ParseValue(v, 1<<20)
		if err != nil || len(key) > 16 {
			return nil // a damaged value, or an event in pieces, stays as it is
		}
		payload, _, err = format.Decode(nil, h.Codec, payload, h.Raw)
		require.NoError(t, err)
		block, err := format.ParseBlock(payload, h.Seq)
		require.NoError(t, err)
		for {
			e, ok := block.Next()
			if !ok {
				return nil
			}
			one := h
			one.Seq = e.Seq
			block := format.AppendBlock(nil, []format.Entry{e})
			payload, codec, _ := format.Encode(nil, block)
			one.Codec, one.Raw = codec, uint32(len(block))
			at := binary.BigEndian.AppendUint64(bytes.Clone(key[:8]), e.Seq)
			blocks[string(at)] = format.AppendValue(nil, &one, payload, nil)
		}
	}))
	for key, v := range blocks {
		if err := b.Put([]byte(key), v); err != nil {
			return err
		}
	}
	return nil
}

// inFile changes a closed file with bbolt itself.
func inFile(t testing.TB, path string, fn func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(fn))
	require.NoError(t, db.Close())
}

// headKey returns a machine's key in the bucket machines.
func headKey(kind, id string) []byte { return append([]byte{byte(len(kind))}, kind+id...) }

// valueKey returns the key, in the bucket events or snapshots, of a machine's value whose first seq is seq.
func valueKey(t testing.TB, tx *bolt.Tx, id string, seq uint64) []byte {
	t.Helper()
	v := tx.Bucket([]byte("machines")).Get(headKey("ledger", id))
	require.NotNil(t, v)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, format.PeekHeader(v).Number), seq)
}

// value returns a copy of a value, which has to exist.
func value(t testing.TB, tx *bolt.Tx, bucket string, key []byte) []byte {
	t.Helper()
	v := tx.Bucket([]byte(bucket)).Get(key)
	require.NotNil(t, v, "%s %x", bucket, key)
	return bytes.Clone(v)
}

// harm flips a bit in the middle of the value's payload, in place, and returns the value.
func harm(v []byte) []byte {
	v[format.HeaderLen+(len(v)-format.HeaderLen)/2] ^= 0x10
	return v
}

// spoil damages values of a machine: those with the seqs in the bucket events or snapshots, or its head in machines.
func spoil(t testing.TB, path, bucket, id string, seqs ...uint64) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		if bucket == "machines" {
			key := headKey("ledger", id)
			return tx.Bucket([]byte(bucket)).Put(key, harm(value(t, tx, bucket, key)))
		}
		if bucket == "events" {
			require.NoError(t, apart(t, tx))
		}
		for _, seq := range seqs {
			key := valueKey(t, tx, id, seq)
			if err := tx.Bucket([]byte(bucket)).Put(key, harm(value(t, tx, bucket, key))); err != nil {
				return err
			}
		}
		return nil
	})
}

// remove deletes the values of a machine with the seqs.
func remove(t testing.TB, path, bucket, id string, seqs ...uint64) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		if bucket == "events" {
			require.NoError(t, apart(t, tx))
		}
		for _, seq := range seqs {
			if err := tx.Bucket([]byte(bucket)).Delete(valueKey(t, tx, id, seq)); err != nil {
				return err
			}
		}
		return nil
	})
}

// copied copies a file and returns the path of the copy.
func copied(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	to := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(to, b, 0o600))
	return to
}

// foreignFile creates a bbolt file of another program, with the buckets.
func foreignFile(t testing.TB, path string, buckets ...string) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		for _, name := range buckets {
			b, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			if err := b.Put([]byte("file"), []byte("some value of another program, long enough for a header of ours")); err != nil {
				return err
			}
		}
		return nil
	})
}

// newerFile raises the number of the file's format by one.
func newerFile(t *testing.T, path string) {
	inFile(t, path, func(tx *bolt.Tx) error {
		h, payload, err := format.ParseValue(value(t, tx, "meta", []byte("file")), 1<<20)
		require.NoError(t, err)
		at := 1 + int(payload[0]) // the number follows the id of the program
		binary.BigEndian.PutUint32(payload[at:], binary.BigEndian.Uint32(payload[at:])+1)
		return tx.Bucket([]byte("meta")).Put([]byte("file"), format.AppendValue(nil, &h, payload, nil))
	})
}

// newerFileValue raises the format of the value that identifies the file.
func newerFileValue(t *testing.T, path string) {
	inFile(t, path, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("file"), newer(value(t, tx, "meta", []byte("file"))))
	})
}

// newer raises the format of a value and makes its checksum right, as a later version of the library would write it.
func newer(v []byte) []byte {
	v[4]++
	return sealed(v)
}

// sealed puts the right checksum into a changed value.
func sealed(v []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(v[:44], table), table, v[format.HeaderLen:])
	binary.BigEndian.PutUint32(v[44:], sum)
	return v
}

// blocks returns the first seq of each block of a machine's events.
func blocks(t testing.TB, path, id string) (firsts []uint64) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		from := valueKey(t, tx, id, 0)
		c := tx.Bucket([]byte("events")).Cursor()
		for k, _ := c.Seek(from); len(k) >= 16 && slices.Equal(k[:8], from[:8]); k, _ = c.Next() {
			firsts = append(firsts, binary.BigEndian.Uint64(k[8:]))
		}
		return nil
	})
	return firsts
}

// tamper replaces old with changed in each snapshot of a closed file, makes the checksums right again, and
// returns how many snapshots it changed.
func tamper(t testing.TB, path, old, changed string) (n int) {
	t.Helper()
	inFile(t, path, func(tx *bolt.Tx) error {
		snapshots := tx.Bucket([]byte("snapshots"))
		return snapshots.ForEach(func(key, v []byte) error {
			if !bytes.Contains(v, []byte(old)) {
				return nil
			}
			n++
			return snapshots.Put(bytes.Clone(key), sealed(bytes.Replace(bytes.Clone(v), []byte(old), []byte(changed), 1)))
		})
	})
	return n
}
