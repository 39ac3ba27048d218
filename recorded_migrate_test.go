package savepoint_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/report"
)

// addFields returns the two ways of a migration that adds fields and removes them again.
func addFields(fields func() map[string]any) (up, down func(savepoint.Doc) (savepoint.Doc, error)) {
	up = func(d savepoint.Doc) (savepoint.Doc, error) {
		for name, v := range fields() {
			if _, there := d[name]; there {
				return nil, fmt.Errorf("there is a field %s already", name)
			}
			d[name] = v
		}
		return d, nil
	}
	down = func(d savepoint.Doc) (savepoint.Doc, error) {
		for name := range fields() {
			delete(d, name)
		}
		return d, nil
	}
	return up, down
}

func playerStats() map[string]any {
	return map[string]any{"player_stats": map[string]any{
		"games_played": int64(0), "games_won": int64(0), "total_score": int64(0), "average": 0.0, "by_seat": map[int64]any{0: "none", 3: "none"}}}
}

func historyAndMetrics() map[string]any {
	return map[string]any{
		"event_history": []any{},
		"performance_metrics": map[string]any{"actions": int64(0), "response_ms": 12.5,
			"since": time.Date(2025, 7, 22, 0, 0, 0, 0, time.UTC)},
		"transitions": []any{map[string]any{"from": nil, "to": "waiting"}},
	}
}

// originalMigrations returns the example migrations of the Python original, which could not be registered there: from 1
// to 2 statistics of the players are added, from 2 to 3 a history of events, figures of performance, and transitions.
func originalMigrations() []savepoint.Migration {
	up2, down2 := addFields(playerStats)
	up3, down3 := addFields(historyAndMetrics)
	return []savepoint.Migration{
		{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0), Up: up2, Down: down2},
		{From: savepoint.V(2, 0, 0), To: savepoint.V(3, 0, 0), Up: up3, Down: down3},
	}
}

// exampleLines returns games of the example in the form in which the original server recorded games.
func exampleLines(t *testing.T) (lines []recordedLine) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	g := game.New()
	start := time.Date(2026, 1, 1, 20, 0, 0, 0, time.UTC)
	for len(lines) < 150 {
		e := game.Next(&g, r)
		if e == nil {
			g = game.New()
			continue
		}
		before := g.Phase
		require.NoError(t, e.Apply(&g))
		line := recordedLine{Room: fmt.Sprint("example-", len(lines)%2), Type: "action_processed", Payload: asDocument(t, e)}
		switch {
		case g.Phase != before:
			line.Type, line.Payload = "phase_change", map[string]any{"phase": g.Phase, "game": asDocument(t, g)}
		case len(lines)%3 == 0:
			line.Type, line.Payload = "phase_data_update", map[string]any{"updates": asDocument(t, e)}
		}
		at := start.Add(time.Duration(len(lines)) * time.Second)
		line.Time = json.Number(fmt.Sprint(at.Unix()))
		lines = append(lines, line)
	}
	return lines
}

// asDocument returns v as the document of its JSON.
func asDocument(t *testing.T, v any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	out := map[string]any{}
	require.NoError(t, dec.Decode(&out))
	return numbers(out).(map[string]any)
}

// TestExampleGame_Migrations runs the original's two example migrations over a game of the example.
// row F18
func TestExampleGame_Migrations(t *testing.T) { migrateLines(t, exampleLines(t)) }

// TestRecorded_Migrations runs the original's two example migrations over the recorded games.
// row F18
func TestRecorded_Migrations(t *testing.T) { migrateLines(t, recordedLines(t)) }

// migrateLines writes two thirds of the lines in version 1, migrates, writes the rest in version 3, compares the states
// before and after the migration, and migrates back.
func migrateLines(t *testing.T, lines []recordedLine) {
	ctx := t.Context()
	want := moments(t, lines)
	var now time.Time
	path := filepath.Join(t.TempDir(), "rooms.db")
	here := place(func(o savepoint.Options) (string, *savepoint.Options) {
		o.Now = func() time.Time { return now }
		return path, &o
	})
	v3 := savepoint.V(3, 0, 0)
	old, current := recordedKind(savepoint.Hybrid), recordedKind(savepoint.Hybrid)
	current.Version, current.Migrations = v3, originalMigrations()
	cut := map[string]uint64{} // the number of lines that each room has in version 1
	write := func(s *savepoint.Store[savepoint.Doc], list []recordedLine) {
		for i := range list {
			now = list[i].at()
			s.Go(ctx, list[i].Room, list[i].event())
		}
		require.NoError(t, s.DB().Flush(ctx))
	}
	third := len(lines) / 3
	use(t, here, old, func(s *savepoint.Store[savepoint.Doc]) {
		write(s, lines[:2*third])
		for h, err := range s.List(ctx, savepoint.ListOptions{}) {
			require.NoError(t, err)
			cut[h.ID] = h.Seq
		}
	})
	added := playerStats()
	maps.Copy(added, historyAndMetrics())
	upcast := func(state any) any {
		doc := maps.Clone(state.(map[string]any))
		maps.Copy(doc, added)
		return doc
	}
	use(t, here, current, func(s *savepoint.Store[savepoint.Doc]) {
		rep, err := s.Migrate(ctx, savepoint.MigrateOptions{DryRun: true})
		require.NoError(t, err)
		assert.Equal(t, []int{len(cut), len(cut), 0}, []int{rep.Machines, rep.Migrated, len(rep.Failed)})
		rep, err = s.Migrate(ctx, savepoint.MigrateOptions{})
		require.NoError(t, err)
		assert.Equal(t, len(cut), rep.Migrated)
		write(s, lines[2*third:])
	})
	use(t, here, current, func(s *savepoint.Store[savepoint.Doc]) {
		compared := map[bool]int{}
		for room, list := range want {
			for i, m := range list {
				seq, before := m.seq, m.seq <= cut[room]
				if cut[room] > 0 && !before {
					seq++ // the record of the migration comes before it
				}
				st, err := s.At(ctx, room, savepoint.AtSeq(seq))
				require.NoError(t, err, "%s %d", room, seq)
				assert.Equal(t, before, st.Upcast)
				expected := m.want
				if cut[room] > 0 {
					expected = upcast(m.want)
				}
				same(t, expected, st.Value, fmt.Sprint(room, " ", seq))
				compared[before]++
				if i == len(list)-1 {
					checkBothWays(t, m.want, current.Migrations)
				}
			}
		}
		assert.Positive(t, compared[true])
		assert.Positive(t, compared[false])
		recoverAcross(t, s, want, cut, upcast)
	})
	use(t, here, current, func(s *savepoint.Store[savepoint.Doc]) {
		_, err := s.Migrate(ctx, savepoint.MigrateOptions{To: savepoint.V(1, 0, 0)})
		require.NoError(t, err)
	})
	use(t, here, old, func(s *savepoint.Store[savepoint.Doc]) {
		back := 0
		for room, list := range want {
			m := list[len(list)-1]
			st, err := s.Load(ctx, room)
			require.NoError(t, err)
			if cut[room] > 0 && !recovered(cut, room) {
				same(t, m.want, st.Value, room+" back in version 1")
				back++
			}
			_, err = s.Append(ctx, room, document.Update{Set: map[string]any{"note": "goes on"}})
			require.NoError(t, err)
		}
		assert.Positive(t, back)
	})
}

// checkBothWays runs CheckMigration for each migration on the way up.
func checkBothWays(t *testing.T, state any, list []savepoint.Migration) {
	t.Helper()
	doc := savepoint.Doc(state.(map[string]any))
	for _, m := range list {
		require.NoError(t, savepoint.CheckMigration(m, doc))
		up, err := m.Up(maps.Clone(doc))
		require.NoError(t, err)
		doc = up
	}
}

// recovered returns whether room is the one that recoverAcross recovers: the longest one.
func recovered(cut map[string]uint64, room string) bool {
	for other, n := range cut {
		if n > cut[room] || n == cut[room] && other < room {
			return false
		}
	}
	return true
}

// recoverAcross recovers the longest room to a time before the migration.
func recoverAcross(t *testing.T, s *savepoint.Store[savepoint.Doc], want map[string][]moment, cut map[string]uint64, upcast func(any) any) {
	t.Helper()
	for room, list := range want {
		if !recovered(cut, room) {
			continue
		}
		var m moment
		for _, candidate := range list {
			if candidate.last && candidate.seq < cut[room] {
				m = candidate
			}
		}
		require.NotZero(t, m.seq)
		rep, err := s.Recover(t.Context(), room, savepoint.RecoverOptions{To: savepoint.AtTime(m.at), Reason: "across a migration"})
		require.NoError(t, err)
		assert.Equal(t, report.Restored, rep.Status)
		assert.Equal(t, m.seq, rep.Seq)
		st, err := s.Load(t.Context(), room)
		require.NoError(t, err)
		assert.False(t, st.Upcast)
		expected, err := codec.Normalize(upcast(m.want))
		require.NoError(t, err)
		same(t, expected, st.Value, room+" recovered")
		return
	}
	t.Fatal("no room was recovered")
}
