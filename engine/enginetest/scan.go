package enginetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// hostileKeys has sorted keys: prefixes of one another, bytes that are special in
// encodings, and keys of the greatest length.
var hostileKeys = func() []string {
	keys := []string{
		"\x00", "\x00\x00", "\x00\x01", "\x01", " ", ".", "..", "../a", "/", "//",
		"a", "a\x00", "a\x00\x00", "a\x00b", "a\x00\xff", "a\x01", "a/", "a/b", "aa", "aaa", "ab", "b", "A",
		"ä", "a\u0308", "\u202e", "\xc3", "\xc3\x28", "\xed\xa0\x80", "z", "\x7f", "\x80",
		"\xfe", "\xfe\xff", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff",
		"\x00\x00\x00\x01a", "\x01a", "\x02aa", "game\x00g-1", "game\x00g-10", "game\x00g-2", "gam\x00e",
	}
	for _, n := range []int{127, 128, 254, 255, 256, 257, 300, 511, 512, 1000, 1023, 1024} {
		keys = append(keys, strings.Repeat("k", n))
	}
	keys = append(keys, strings.Repeat("k", 255)+"\x00", strings.Repeat("k", 255)+"\xff",
		strings.Repeat("\xff", 255), strings.Repeat("\xff", 256), strings.Repeat("\x00", 255), strings.Repeat("\x00", 256))
	slices.Sort(keys)
	return keys
}()

// scanned returns the keys that Scan has to deliver, out of keys, which is sorted.
func scanned(keys []string, prefix, after string, limit int) []string {
	var want []string
	for _, key := range keys {
		if strings.HasPrefix(key, prefix) && key > after && (limit == 0 || len(want) < limit) {
			want = append(want, key)
		}
	}
	return want
}

func testScan(s *subject) {
	keys := slices.Clone(hostileKeys)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	pos := make(map[string]uint64)
	var writes []engine.Write
	for _, key := range keys {
		writes = append(writes, grow(key, 0, 1))
	}
	for i, p := range s.store(writes...) {
		pos[keys[i]] = p
	}
	for range 2 {
		got := s.scan("", "", 0)
		var names []string
		numbers := make(map[uint64]bool)
		for _, at := range got {
			names = append(names, at.machine)
			require.Equal(s.t, headAt(at.machine, at.head.Number, 1, pos[at.machine]), at.head)
			require.False(s.t, numbers[at.head.Number])
			numbers[at.head.Number] = true
		}
		require.Equal(s.t, hostileKeys, names)

		probes := append([]string{"", "a\x00a", "k", "absent", strings.Repeat("k", 2000), "\xff\xff\xff\xff"}, hostileKeys...)
		for _, prefix := range probes {
			require.Equal(s.t, scanned(hostileKeys, prefix, "", 0), s.scanKeys(prefix, "", 0), "prefix %.40q", prefix)
			require.Equal(s.t, scanned(hostileKeys, "", prefix, 0), s.scanKeys("", prefix, 0), "after %.40q", prefix)
			for limit := 1; limit < 4; limit++ {
				require.Equal(s.t, scanned(hostileKeys, prefix, "", limit), s.scanKeys(prefix, "", limit), "prefix %.40q limit %d", prefix, limit)
				require.Equal(s.t, scanned(hostileKeys, "", prefix, limit), s.scanKeys("", prefix, limit), "after %.40q limit %d", prefix, limit)
			}
		}
		for _, prefix := range []string{"a", "a\x00", "\xff", "k", strings.Repeat("k", 255), "\x00"} {
			for _, after := range probes {
				require.Equal(s.t, scanned(hostileKeys, prefix, after, 0), s.scanKeys(prefix, after, 0), "prefix %.40q after %.40q", prefix, after)
				require.Equal(s.t, scanned(hostileKeys, prefix, after, 2), s.scanKeys(prefix, after, 2), "prefix %.40q after %.40q limit 2", prefix, after)
			}
		}
		s.reopen()
	}
}

func testScanMany(s *subject) {
	// Thousands of machines, created in no order, read page by page.
	const n = 5000
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("%02d/%d", i*7919%97, i))
	}
	for from := 0; from < n; from += 500 {
		var writes []engine.Write
		for _, key := range keys[from : from+500] {
			writes = append(writes, grow(key, 0, 1))
		}
		s.store(writes...)
	}
	slices.Sort(keys)
	var gone []engine.Write
	keys = slices.DeleteFunc(keys, func(key string) bool {
		if strings.HasPrefix(key, "42/") || strings.HasSuffix(key, "7") {
			gone = append(gone, purge(key, 1))
			return true
		}
		return false
	})
	s.store(gone...)
	require.Equal(s.t, keys, s.scanKeys("", "", 0))
	for _, limit := range []int{1000, 128, 97} {
		var got []string
		for after := ""; ; {
			page := s.scanKeys("", after, limit)
			got = append(got, page...)
			if len(page) < limit {
				break
			}
			after = page[limit-1]
		}
		require.Equal(s.t, keys, got, "pages of %d", limit)
	}
	for _, limit := range []int{63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 999, 1000, 1001, 4095, 4096, 4097, n} {
		require.Equal(s.t, scanned(keys, "", "", limit), s.scanKeys("", "", limit), "limit %d", limit)
	}
	for _, prefix := range []string{"00/", "42/", "43/", "96/", "9", "97/"} {
		require.Equal(s.t, scanned(keys, prefix, "", 0), s.scanKeys(prefix, "", 0))
	}
}

func testScanStop(s *subject) {
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("%03d", i))
		s.store(grow(keys[i], 0, 1))
	}
	own := errors.New("own")
	for _, at := range []int{0, 1, 7, 127, 128, 129, 255, 256, 299} {
		for _, end := range []error{engine.Stop, own} {
			var got []string
			err := s.e.Scan(s.ctx(), "", "", 0, func(machine string, _ engine.Head) error {
				if got = append(got, machine); len(got) > at {
					return end
				}
				return nil
			})
			if end == own {
				require.ErrorIs(s.t, err, own)
			} else {
				require.NoError(s.t, err)
			}
			require.Equal(s.t, keys[:at+1], got)
		}
	}
}

func testKeys(s *subject) {
	// Machines with similar keys are independent of each other.
	pos := make(map[string]uint64)
	for i, key := range hostileKeys {
		pos[key] = s.store(with(grow(key, 0, uint64(1+i%5)), 0, 1))[0]
	}
	check := func(absent func(i int) bool) {
		s.t.Helper()
		var keys []string
		for i, key := range hostileKeys {
			seq := uint64(1 + i%5)
			h, items := s.load(key, everything)
			if absent(i) {
				require.Equal(s.t, engine.Head{}, h, "%.40q", key)
				require.Empty(s.t, items, "%.40q", key)
				continue
			}
			keys = append(keys, key)
			require.Equal(s.t, headAt(key, h.Number, seq, pos[key]), h)
			require.Equal(s.t, append(snapshotItems(key, 0, 1), eventItems(key, 1, seq, pos[key])...), items)
		}
		require.Equal(s.t, keys, s.scanKeys("", "", 0))
	}
	check(func(int) bool { return false })
	for i, key := range hostileKeys {
		if i%2 == 0 {
			s.store(purge(key, uint64(1+i%5)))
		}
	}
	check(func(i int) bool { return i%2 == 0 })
	s.reopen()
	check(func(i int) bool { return i%2 == 0 })
}

func testLongKey(s *subject) {
	// A key that is too long for the engine is refused alone; no key is truncated.
	long := strings.Repeat("L", 1<<16)
	out := s.commit(step(grow("a", 0, 1)), step(grow(long, 0, 1)), step(grow("b", 0, 1)))
	require.NoError(s.t, out[0].Err)
	require.NoError(s.t, out[2].Err)
	want := []string{"a", "b"}
	h, items := s.load(long, everything)
	if out[1].Err == nil {
		want = []string{long, "a", "b"}
		require.Equal(s.t, headAt(long, h.Number, 1, out[1].Pos[0]), h)
		require.Equal(s.t, eventItems(long, 1, 1, out[1].Pos[0]), items)
	} else {
		require.Nil(s.t, out[1].Pos)
		require.Equal(s.t, engine.Head{}, h)
		require.Empty(s.t, items)
	}
	require.Equal(s.t, want, s.scanKeys("", "", 0))
	require.Empty(s.t, s.scanKeys("", strings.Repeat("z", 1<<16), 0))
	h, _ = s.load(long[:1024], everything)
	require.Zero(s.t, h.Number)
}
