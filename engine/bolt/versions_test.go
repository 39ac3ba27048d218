package bolt

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint/engine"
)

// versionSample commits machines of several versions and returns the file as a crash
// leaves it.
func versionSample(t *testing.T, o config) (path string, want map[uint64]int64) {
	t.Helper()
	e, err := openWith(filepath.Join(t.TempDir(), "test.db"), o)
	require.NoError(t, err)
	for i := range 30 {
		w := writeOf(fmt.Sprint("m", i%7), uint64(i/7), 1)
		w.Kind, w.Schema = 5, uint64(1+i/10)
		require.NoError(t, commitSteps(e, stepOf(w)))
		if i == 12 {
			require.NoError(t, makeCheckpoint(e, func(*txn) error { return nil }))
		}
	}
	require.NoError(t, commitSteps(e, stepOf(engine.Write{Machine: "m6", Expect: 4, Purge: true})))
	w := writeOf("m0", 5, 1)
	w.Kind, w.Schema = 5, 2
	require.NoError(t, commitSteps(e, stepOf(w)))
	want = map[uint64]int64{2: 1, 3: 5}
	got, err := e.Versions(context.Background(), 5)
	require.NoError(t, err)
	require.Equal(t, want, got)
	path = copyFile(t, e)
	killBolt(e)
	return path, want
}

// TestVersions_SurviveACrash: the counts are those of the heads, in the
// buckets and in the journal.
// row F20.
func TestVersions_SurviveACrash(t *testing.T) {
	for name, o := range map[string]config{"direct": {}, "small journal": journalConfigs["Small"], "journal": {journalBytes: 1 << 20}} {
		t.Run(name, func(t *testing.T) {
			path, want := versionSample(t, o)
			for _, again := range []config{{readOnly: true}, o, {}, o} {
				e, err := openWith(path, again)
				require.NoError(t, err)
				got, err := e.Versions(context.Background(), 5)
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.NoError(t, e.Close())
			}
		})
	}
}

// TestVersions_CountedAgain: counts that are missing, as in a file of an earlier
// version, or that do not match the heads, are counted again from the heads.
// row F20.
func TestVersions_CountedAgain(t *testing.T) {
	sample, want := versionSample(t, config{})
	for name, bad := range map[string]func(tx *bbolt.Tx) error{
		"missing": func(tx *bbolt.Tx) error { return tx.Bucket(bucketCounters).Delete(countersVersions) },
		"flipped": func(tx *bbolt.Tx) error {
			v := bytes.Clone(tx.Bucket(bucketCounters).Get(countersVersions))
			v[len(v)-1]++
			return tx.Bucket(bucketCounters).Put(countersVersions, v)
		},
		"one too many": func(tx *bbolt.Tx) error {
			return putVersions(&txn{counters: tree{tx: tx, name: bucketCounters}}, versionCounts{{5, 3}: 7})
		},
		"below zero": func(tx *bbolt.Tx) error {
			return putVersions(&txn{counters: tree{tx: tx, name: bucketCounters}}, versionCounts{{5, 3}: 7, {5, 9}: -1})
		},
		"another value": func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketCounters).Put(countersVersions, bytes.Clone(tx.Bucket(bucketCounters).Get(countersLast)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(sample)
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), "bad.db")
			require.NoError(t, os.WriteFile(path, raw, 0o600))
			change(t, path, bad)
			for _, o := range []config{{readOnly: true}, {}, {}} {
				e, err := openWith(path, o)
				require.NoError(t, err)
				got, err := e.Versions(context.Background(), 5)
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.NoError(t, e.Close())
			}
		})
	}
}

// TestVersions_DamagedHead: a damaged head that is written again is counted again.
func TestVersions_DamagedHead(t *testing.T) {
	for name, o := range map[string]config{"direct": {}, "journal": journalConfigs["Small"]} {
		t.Run(name, func(t *testing.T) {
			path, _ := versionSample(t, config{})
			change(t, path, func(tx *bbolt.Tx) error {
				v := bytes.Clone(tx.Bucket(bucketMachines).Get([]byte("m1")))
				v[len(v)-1] ^= 1
				return tx.Bucket(bucketMachines).Put([]byte("m1"), v)
			})
			e := openAt(t, path, o)
			w := writeOf("m1", 5, 1)
			w.Kind, w.Schema = 5, 4
			require.NoError(t, commitSteps(e, stepOf(w)))
			got, err := e.Versions(context.Background(), 5)
			require.NoError(t, err)
			require.Equal(t, map[uint64]int64{2: 1, 3: 4, 4: 1}, got)
		})
	}
}
