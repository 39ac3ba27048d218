package savepoint_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/archive"
	"github.com/liap-tui/savepoint/internal/long"
)

// chapterFiles are the files below an archive's directory.
func chapterFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	}))
	return files
}

// What a compaction gave to an archive comes back with Unarchive, record by record.
//
// row J5
func TestArchiveDir_ChaptersComeBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "to", "archive")
	k := kindOf(savepoint.Versioned)
	k.Snapshot.Events = 3
	onEachKind(t, savepoint.Options{Archive: archive.Dir(dir)}, k, func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		defer func() { require.NoError(t, os.RemoveAll(dir)) }()
		ids := []string{"g", "../../G Ü", strings.Repeat("long ", 51), "g-5"}
		var full []past[table]
		for _, id := range ids {
			begin(t, s, id, 8)
			_, err := s.Save(ctx, id, table{Phase: "scoring", Note: id, Hands: map[int][]string{2: {"7H"}}})
			require.NoError(t, err)
			note(t, s, id, 3)
			full = append(full, pastOf(t, s, id, 0))
		}
		for _, to := range []uint64{4, 5, 9, 13} {
			for _, id := range ids {
				rep, err := s.Compact(ctx, id, savepoint.AtSeq(to))
				require.NoError(t, err)
				assert.Equal(t, 1, rep.Segments)
			}
		}
		assert.Len(t, chapterFiles(t, dir), 16)
		note(t, s, "g", 1) // it goes on meanwhile
		for i, id := range ids {
			assert.Zero(t, recordsOf(t, s, id)-map[string]int{"g": 1}[id])
			rep, err := s.Unarchive(ctx, id)
			require.NoError(t, err, id)
			assert.Equal(t, 4, rep.Segments)
			assert.Equal(t, 13, rep.Records)
			back := pastOf(t, s, id, 0)
			assert.Equal(t, full[i].events, back.events[:13], "with the positions they had")
			for seq, st := range full[i].at {
				assert.Equal(t, st, back.at[seq])
			}
			verified(t, s, id)
		}
		st, err := s.At(ctx, "g", savepoint.AtRevision(1))
		require.NoError(t, err)
		assert.Equal(t, "g", st.Value.Note)
	})
}

func TestArchiveDir_Damage(t *testing.T) {
	dir := t.TempDir()
	o := savepoint.Options{Archive: archive.Dir(dir)}
	onEachKind(t, o, tableKind(), func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		begin(t, s, "g", 6)
		begin(t, s, "other", 6)
		for _, id := range []string{"g", "other"} {
			_, err := s.Compact(ctx, id, savepoint.AtSeq(5))
			require.NoError(t, err)
		}
		full := pastOf(t, s, "g", 5)
		var name, other string
		for _, f := range chapterFiles(t, dir) {
			if strings.Contains(filepath.Base(f), "other") {
				other = f
			} else {
				name = f
			}
		}
		good, err := os.ReadFile(name)
		require.NoError(t, err)
		wrong, err := os.ReadFile(other)
		require.NoError(t, err)
		bad := map[string][]byte{"another machine's": wrong, "empty": {}, "newer": pack(t, `{"savepoint":"chapter 2"}`), "no end": pack(t, `{"savepoint":"chapter 1"}`)}
		for i := 0; i < len(good); i += 37 {
			bad["cut"] = good[:i]
			flipped := append([]byte(nil), good...)
			flipped[i] ^= 0x10
			bad["flipped"] = flipped
			for what, b := range bad {
				require.NoError(t, os.WriteFile(name, b, 0o666))
				_, err := s.Unarchive(ctx, "g")
				if err == nil && what == "flipped" && i < 12 { // a flag of gzip that nobody reads
					_, err = s.Compact(ctx, "g", savepoint.AtSeq(5))
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, savepoint.ErrCorrupt, "%s at %d", what, i)
				require.Equal(t, full, pastOf(t, s, "g", 5))
			}
		}
		z, err := gzip.NewReader(bytes.NewReader(good))
		require.NoError(t, err)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		lines := strings.SplitAfter(string(text), "\n")
		for what, packed := range map[string][]string{"as it was": lines, "a line less": append(lines[:2:2], lines[3:]...), "one more": append(lines[:7:7], "{}")} {
			require.NoError(t, os.WriteFile(name, pack(t, strings.Join(packed, "")), 0o666))
			_, err = o.Archive.Get(ctx, "table", "g", 5, digestAt(t, s, "g", 5))
			assert.Equal(t, what == "as it was", err == nil, "%s: %v", what, err)
		}
		require.NoError(t, os.Remove(name))
		_, err = s.Unarchive(ctx, "g")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		require.NoError(t, os.RemoveAll(filepath.Dir(filepath.Dir(name))))
		require.NoError(t, os.WriteFile(filepath.Dir(filepath.Dir(name)), nil, 0o666)) // in its way
		rep, err := s.Compact(ctx, "g", savepoint.AtSeq(6))
		require.ErrorContains(t, err, "nothing is removed")
		assert.Zero(t, rep.Records)
		require.NoError(t, os.Remove(filepath.Dir(filepath.Dir(name))))
		_, err = s.Compact(ctx, "g", savepoint.AtSeq(6))
		require.NoError(t, err)
		for _, f := range chapterFiles(t, dir) {
			assert.False(t, strings.HasPrefix(filepath.Base(f), "."), "%s is left over", f)
			require.NoError(t, os.Remove(f))
		}
	})
}

func digestAt(t *testing.T, s *savepoint.Store[table], id string, seq uint64) string {
	for info, err := range s.Snapshots(t.Context(), id, savepoint.SnapshotRange{}) {
		require.NoError(t, err)
		if info.Seq == seq {
			return info.Digest
		}
	}
	t.Fatalf("no snapshot %d", seq)
	return ""
}

// A chapter that is whole in itself and not what the machine went through.
func TestUnarchive_ProvesTheRecords(t *testing.T) {
	a := newShelf()
	onEachKind(t, savepoint.Options{Archive: a}, tableKind(), func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		clear(a.chapters)
		begin(t, s, "g", 6)
		begin(t, s, "other", 4)
		note(t, s, "other", 2)
		for _, id := range []string{"g", "other"} {
			_, err := s.Compact(ctx, id, savepoint.Latest())
			require.NoError(t, err)
		}
		var g, other *archive.Segment
		for _, c := range a.chapters {
			if c.ID == "g" {
				g = c
			} else {
				other = c
			}
		}
		good := *g
		for what, change := range map[string]func(){
			"another record":  func() { g.Records = slices.Clone(g.Records); g.Records[6] = other.Records[6] },
			"a record less":   func() { g.Records = g.Records[:6] },
			"the first less":  func() { g.Records = g.Records[1:] },
			"twice":           func() { g.Records = append(g.Records[:3:3], g.Records[2:]...) },
			"another base":    func() { g.Base = other.Base },
			"another digest":  func() { g.Digest = other.Digest },
			"begins later":    func() { g.After = 1 },
			"bytes":           func() { g.Records = slices.Clone(g.Records); g.Records[3].Bytes = []byte{0xff} },
			"of another game": func() { g.ID = "other" },
		} {
			change()
			_, err := s.Unarchive(ctx, "g")
			require.ErrorIs(t, err, savepoint.ErrCorrupt, what)
			assert.Zero(t, recordsOf(t, s, "g"))
			*g = good
		}
		_, err := s.Unarchive(ctx, "g")
		require.NoError(t, err)
		assert.Equal(t, 7, recordsOf(t, s, "g"))
	})
}

func pack(t *testing.T, text string) []byte {
	t.Helper()
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return []byte(b.String())
}

// What comes back from the archive has its place in the feed again.
func TestUnarchive_Feed(t *testing.T) {
	onEachKind(t, savepoint.Options{Archive: newShelf()}, tableKind(), func(t *testing.T, s *savepoint.Store[table]) {
		ctx := t.Context()
		for range 4 {
			note(t, s, "a", 2)
			note(t, s, "b", 1)
		}
		feed := func() (all []string) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			for rec, err := range s.DB().Feed(ctx, 0) {
				if err != nil {
					require.ErrorIs(t, err, savepoint.ErrCompacted)
					continue
				}
				all = append(all, fmt.Sprint(rec.Pos, rec.ID, rec.Seq))
				if rec.ID == "b" && rec.Seq == 4 {
					break
				}
			}
			return all
		}
		full := feed()
		require.Len(t, full, 12)
		_, err := s.Compact(ctx, "a", savepoint.AtSeq(7))
		require.NoError(t, err)
		assert.Len(t, feed(), 5)
		_, err = s.Unarchive(ctx, "a")
		require.NoError(t, err)
		assert.Equal(t, full, feed())
	})
}

// The recorded games, cut at a third and at the end, and put back: every state
// is the one that was there.
func TestUnarchive_RecordedGames(t *testing.T) {
	lines := recordedLines(t)
	want := moments(t, lines)
	var now time.Time
	dir := t.TempDir()
	db := open(t, engines["file"](t), &savepoint.Options{Now: func() time.Time { return now }, Archive: archive.Dir(dir)})
	s, err := savepoint.Register(db, recordedKind(savepoint.Hybrid))
	require.NoError(t, err)
	ctx := t.Context()
	for i := range lines {
		now = lines[i].at()
		s.Go(ctx, lines[i].Room, lines[i].event())
	}
	require.NoError(t, db.Flush(ctx))
	gone, bytes, packed, rooms, few := 0, int64(0), int64(0), 0, long.N(t, 6, max(6, len(want)))
	for room, list := range want {
		if rooms++; rooms > few {
			delete(want, room)
			continue
		}
		last := list[len(list)-1].seq
		for _, to := range []uint64{last / 3, last} {
			rep, err := s.Compact(ctx, room, savepoint.AtSeq(to))
			require.NoError(t, err)
			gone += rep.Records
			bytes += rep.Bytes
		}
		st, err := s.Load(ctx, room)
		require.NoError(t, err)
		same(t, list[len(list)-1].want, st.Value, room)
	}
	records := 0
	for _, list := range want {
		records += int(list[len(list)-1].seq)
	}
	assert.Equal(t, records, gone)
	for _, f := range chapterFiles(t, dir) {
		info, err := os.Stat(f)
		require.NoError(t, err)
		packed += info.Size()
	}
	for room, list := range want {
		_, err := s.Unarchive(ctx, room)
		require.NoError(t, err)
		for i, m := range list {
			if i%5 != 0 {
				continue
			}
			at, err := s.At(ctx, room, savepoint.AtSeq(m.seq))
			require.NoError(t, err)
			same(t, m.want, at.Value, fmt.Sprint(room, " ", m.seq))
		}
		verified(t, s, room)
	}
	t.Logf("%d records of %d bytes, %d in the archive", gone, bytes, packed)
}
