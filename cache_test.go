package savepoint_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/report"
)

func cacheOf(db *savepoint.DB) report.CacheStats { return db.Stats().Cache }

// levelOf views a machine and returns the level that had it.
func levelOf(t *testing.T, s *savepoint.Store[table], id string) string {
	t.Helper()
	before := cacheOf(s.DB())
	require.NoError(t, s.View(t.Context(), id, func(*savepoint.State[table]) error { return nil }))
	after := cacheOf(s.DB())
	switch {
	case after.Hits > before.Hits:
		return "live"
	case after.SecondHits > before.SecondHits:
		return "encoded"
	case after.Misses > before.Misses:
		return "engine"
	}
	return "nothing"
}

// TestCache_LeastRecentlyUsedByCount fills a cache of three machines: a fourth one evicts the one that was used least recently.
// row H2
func TestCache_LeastRecentlyUsedByCount(t *testing.T) {
	db := open(t, savepoint.Memory, &savepoint.Options{Cache: savepoint.CacheOptions{Machines: 3}})
	s := register(t, db)
	for _, id := range []string{"a", "b", "c"} {
		begin(t, s, id, 1)
	}
	assert.Equal(t, "live", levelOf(t, s, "a")) // b is the least recently used one now
	begin(t, s, "d", 1)
	for id, want := range map[string]string{"a": "live", "c": "live", "d": "live"} {
		assert.Equal(t, want, levelOf(t, s, id), id)
	}
	assert.Equal(t, "engine", levelOf(t, s, "b"), "the least recently used one was evicted")
	assert.EqualValues(t, 3, cacheOf(db).Live+cacheOf(db).Encoded)
}

// TestCache_BytesDemoteThenEvict fills a cache beyond its bytes: machines first lose their decoded state, then are evicted,
// and each level shows the same state.
// row H7, H8
func TestCache_BytesDemoteThenEvict(t *testing.T) {
	db := open(t, savepoint.Memory, &savepoint.Options{Cache: savepoint.CacheOptions{Bytes: 400 << 10}})
	s := register(t, db)
	const n = 60
	want := map[string]savepoint.State[table]{}
	for i := range n {
		id := fmt.Sprint("g-", i)
		_, err := s.Append(t.Context(), id, &noted{Text: strings.Repeat("x", 4<<10)})
		require.NoError(t, err)
		want[id] = load(t, s, id)
	}
	c := cacheOf(db)
	assert.LessOrEqual(t, c.Bytes, int64(400<<10), "the cache stays within its bytes")
	assert.NotZero(t, c.Demoted)
	assert.NotZero(t, c.Evicted)
	assert.NotZero(t, c.Encoded)
	levels := map[string]int{}
	for i := range n {
		id := fmt.Sprint("g-", n-1-i)
		levels[levelOf(t, s, id)]++
		assert.Equal(t, want[id], load(t, s, id), "each level shows the same state")
	}
	assert.NotZero(t, levels["live"])
	assert.NotZero(t, levels["encoded"])
	assert.NotZero(t, levels["engine"])
}

// TestCache_Expires lets the time to live of two machines pass: they leave the cache, by the monotonic clock.
// row H3
func TestCache_Expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Cache: savepoint.CacheOptions{TTL: time.Minute}})
		require.NoError(t, err)
		s, err := savepoint.Register(db, tableKind())
		require.NoError(t, err)
		begin(t, s, "a", 1)
		time.Sleep(40 * time.Second)
		begin(t, s, "b", 1)
		assert.Equal(t, "live", levelOf(t, s, "a"))
		time.Sleep(61 * time.Second)
		begin(t, s, "c", 1)
		assert.EqualValues(t, 2, cacheOf(db).Expired, "both machines expired by the monotonic clock")
		assert.Equal(t, "engine", levelOf(t, s, "a"))
		require.NoError(t, db.Close())
	})
}

// TestCache_Off switches the cache off: each read goes to the engine, and the states are right.
// row H1
func TestCache_Off(t *testing.T) {
	db := open(t, engines["file"](t), &savepoint.Options{Cache: savepoint.CacheOptions{Off: true}})
	s := register(t, db)
	begin(t, s, "a", 3)
	assert.Equal(t, "engine", levelOf(t, s, "a"))
	assert.Equal(t, "engine", levelOf(t, s, "a"))
	assert.Zero(t, cacheOf(db).Live+cacheOf(db).Encoded)
	assert.EqualValues(t, 4, load(t, s, "a").Seq)
}

// TestCache_QueuedWritesAreNeverEvicted queues writes for twenty machines with a cache of one: none of them is lost.
func TestCache_QueuedWritesAreNeverEvicted(t *testing.T) {
	db := open(t, engines["file"](t), &savepoint.Options{Cache: savepoint.CacheOptions{Machines: 1}})
	s := register(t, db)
	var acks []*savepoint.Ack
	for i := range 200 {
		acks = append(acks, s.Go(t.Context(), fmt.Sprint("g-", i%20), &noted{Text: fmt.Sprint(i)}))
	}
	for _, a := range acks {
		require.NoError(t, a.Err())
	}
	for i := range 20 {
		st := load(t, s, fmt.Sprint("g-", i))
		assert.EqualValues(t, 10, st.Seq)
		assert.Equal(t, fmt.Sprint(180+i, " by "), st.Value.Note)
	}
}

// TestCache_Warm loads thirty machines at once after opening: all are live, and an id without a machine leaves no entry.
// row D14, H4, J7
func TestCache_Warm(t *testing.T) {
	path := engines["file"](t)
	db, err := savepoint.Open(path, nil)
	require.NoError(t, err)
	s := register(t, db)
	var ids []string
	for i := range 30 {
		ids = append(ids, fmt.Sprint("g-", i))
		begin(t, s, ids[i], 2)
	}
	require.NoError(t, db.Close())
	db = open(t, path, nil)
	s = register(t, db)
	require.NoError(t, s.Warm(t.Context(), append(ids, "not there")...))
	assert.EqualValues(t, 30, cacheOf(db).Live, "all machines are live, and an unknown id has no entry")
	for _, id := range ids {
		assert.Equal(t, "live", levelOf(t, s, id))
	}
	require.ErrorIs(t, s.Warm(t.Context(), "bad\x00id"), savepoint.ErrBadID)
}

// TestCache_UnknownMachinesLeaveNothing asks for machines that do not exist: neither the cache nor the counters keep an entry.
// row I4
func TestCache_UnknownMachinesLeaveNothing(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	for i := range 100 {
		_, err := s.Load(t.Context(), fmt.Sprint("g-", i))
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		_, ok, err := s.MachineStats(t.Context(), fmt.Sprint("g-", i))
		require.NoError(t, err)
		assert.False(t, ok, "an unknown machine has no counters")
	}
	assert.Zero(t, cacheOf(db).Live+cacheOf(db).Encoded)
}

// TestCache_FailedMachinesAreEvicted lets the first write of many machines fail: they do not fill the cache for ever.
func TestCache_FailedMachinesAreEvicted(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{Cache: savepoint.CacheOptions{Machines: 8}}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		f.set(func() {
			f.fail = func(n int) (bool, error) {
				return false, fmt.Errorf("%w: %w", engine.ErrNothingStored, savepoint.ErrDiskFull)
			}
		})
		for i := range 100 {
			_, err := s.Append(ctx, fmt.Sprint(i), added{N: 1})
			require.ErrorIs(t, err, savepoint.ErrDiskFull)
		}
		f.set(func() { f.fail = nil })
		_, err := s.Append(ctx, "last", added{N: 1})
		require.NoError(t, err)
		c := db.Stats().Cache
		assert.LessOrEqual(t, c.Live+c.Encoded, 9)
	})
}
