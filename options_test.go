package savepoint_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt"
)

// TestOptions_BadValues refuses negative and unknown values: the error names the field, and no file is created.
func TestOptions_BadValues(t *testing.T) {
	for field, o := range map[string]*savepoint.Options{
		"LockTimeout": {LockTimeout: -1}, "MaxEvent": {MaxEvent: -1}, "MaxState": {MaxState: -1}, "Queue": {Queue: -1},
		"QueueBytes": {QueueBytes: -1}, "trategy": {Strategy: 77}, "Cache": {Cache: savepoint.CacheOptions{Bytes: -1}},
	} {
		path := filepath.Join(t.TempDir(), "game.db")
		_, err := savepoint.Open(path, o)
		says(t, err, nil, "savepoint: Options", field)
		assert.NoFileExists(t, path)
	}
}

// TestOptions_LoggerSilentByDefault writes nothing to the standard outputs, and to the Logger where there is one.
// row I8
func TestOptions_LoggerSilentByDefault(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	oldOut, oldErr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	work := func(o *savepoint.Options) {
		db := open(t, engines["file"](t), o)
		s := register(t, db)
		begin(t, s, "g", 2)
		_, err := s.Recover(t.Context(), "g", savepoint.RecoverOptions{To: savepoint.AtSeq(1)})
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
	work(nil)
	os.Stdout, os.Stderr = oldOut, oldErr
	require.NoError(t, w.Close())
	said, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Empty(t, string(said))
	var log bytes.Buffer
	work(&savepoint.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	assert.Contains(t, log.String(), "machine recovered")
}

// TestFromEnv reads each variable, and reports all bad values at once, each with its variable.
// row K1, K5
func TestFromEnv(t *testing.T) {
	none, err := savepoint.FromEnv(nil)
	require.NoError(t, err)
	assert.Equal(t, &savepoint.Options{}, none, "no variable is set")

	for name, value := range map[string]string{
		"PERSISTENCE_STRATEGY": "event_sourced", "SNAPSHOT_INTERVAL_SECONDS": "300", "MAX_SNAPSHOTS_PER_STATE": "7",
		"SNAPSHOT_COMPRESSION": "false", "SNAPSHOT_RETENTION_DAYS": "7", "MAX_EVENTS_PER_STATE": "10000",
		"EVENT_COMPACT_THRESHOLD": "1000", "EVENT_RETENTION_DAYS": "30", "COMPLETED_GAME_RETENTION_HOURS": "24",
		"CACHE_ENABLED": "false", "CACHE_SIZE": "1000", "CACHE_TTL_SECONDS": "3600", "RECOVERY_ENABLED": "true", "AUTO_RECOVERY": "false",
	} {
		t.Setenv(name, value)
	}
	base := savepoint.Options{MaxEvent: 1234, Strategy: savepoint.Versioned}
	o, err := savepoint.FromEnv(&base)
	require.NoError(t, err)
	assert.Equal(t, savepoint.Versioned, base.Strategy, "FromEnv does not change its argument")
	want := &savepoint.Options{
		MaxEvent: 1234, Strategy: savepoint.EventSourced, NoCompression: true, NoRecoverAll: true,
		Snapshot:  savepoint.SnapshotPolicy{Every: 5 * time.Minute, Keep: 7, MaxAge: 7 * 24 * time.Hour},
		Retention: savepoint.RetentionPolicy{MaxRecords: 10000, Batch: 1000, MaxAge: 30 * 24 * time.Hour, ArchiveAfter: 24 * time.Hour},
		Cache:     savepoint.CacheOptions{Off: true, Machines: 1000, TTL: time.Hour},
	}
	assert.Equal(t, want, o)
	assert.Equal(t, 24*time.Hour, o.Retention.ArchiveAfter)
	assert.Equal(t, 30*24*time.Hour, o.Retention.MaxAge)
	require.NoError(t, open(t, savepoint.Memory, o).Close(), "a database opens with them")

	for name, bad := range map[string][]string{
		"PERSISTENCE_STRATEGY":      {"HYBRID", "nothing"},
		"SNAPSHOT_INTERVAL_SECONDS": {"0", "-1", "5m", "1.5", "99999999999999999999"},
		"EVENT_RETENTION_DAYS":      {"2147483647"}, // it is more than a time.Duration holds
		"MAX_EVENTS_PER_STATE":      {"many"},
		"CACHE_ENABLED":             {"perhaps"},
	} {
		for _, value := range bad {
			t.Run(name+"="+value, func(t *testing.T) {
				t.Setenv(name, value)
				o, err := savepoint.FromEnv(nil)
				require.ErrorContains(t, err, name)
				require.ErrorContains(t, err, value)
				require.ErrorContains(t, err, "use ")
				assert.Nil(t, o)
			})
		}
	}
	t.Setenv("CACHE_SIZE", "x")
	t.Setenv("CACHE_ENABLED", "x")
	_, err = savepoint.FromEnv(nil)
	says(t, err, nil, "CACHE_SIZE", "CACHE_ENABLED") // both are reported at once
}

// TestOptions_Engine: the engine of a file is used alone, and is then given to savepoint.Open.
func TestOptions_Engine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	eng, err := bolt.Open(path, nil)
	require.NoError(t, err)
	out := make([]engine.Result, 1)
	require.NoError(t, eng.Commit(context.Background(), []engine.Step{{Writes: []engine.Write{{Machine: "a", Seq: 1, Events: []engine.Event{{Bytes: []byte("e")}}, Head: []byte("h")}}}}, out))
	_, err = bolt.Open(path, &bolt.Options{LockTimeout: 1})
	require.ErrorIs(t, err, engine.ErrLocked)
	db, err := savepoint.Open("a name", &savepoint.Options{Engine: eng})
	require.NoError(t, err)
	assert.True(t, db.OpenReport().Created)
	require.NoError(t, db.Close())
	_, err = bolt.Open(path, &bolt.Options{LockTimeout: -1})
	require.ErrorContains(t, err, "LockTimeout")
	_, err = bolt.Open("", nil)
	require.ErrorContains(t, err, "path is empty")
	db, err = savepoint.Open(savepoint.Memory, nil)
	require.NoError(t, err)
	assert.Equal(t, engine.OpenReport{Clean: true}, db.OpenReport())
	require.NoError(t, db.Close())
}
