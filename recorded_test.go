package savepoint_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/long"
)

// recordedLine is a line of a file of recorded events.
type recordedLine struct {
	Room    string         `json:"room_id"`
	Type    string         `json:"event_type"`
	Payload map[string]any `json:"payload"`
	Player  *string        `json:"player_id"`
	Time    json.Number    `json:"timestamp"`
}

// acted is the event of a player's action as it was recorded.
type acted struct {
	Player  string
	Type    string
	Payload map[string]any
}

func (a acted) Apply(d *savepoint.Doc, m savepoint.Meta) error {
	if *d == nil {
		*d = savepoint.Doc{}
	}
	n, _ := (*d)["actions"].(int64)
	(*d)["actions"] = n + 1
	(*d)["last_action"] = map[string]any{"player": a.Player, "type": a.Type, "payload": a.Payload, "at": m.Time.UnixMicro()}
	return nil
}

// recordedKind returns the kind of a room.
func recordedKind(st savepoint.Strategy) savepoint.Kind[savepoint.Doc] {
	k := document.Kind("room")
	k.Events["acted"] = acted{}
	k.Strategy = st
	if st == savepoint.SnapshotOnly {
		k.Snapshot.Keep = -1
	} else {
		k.Snapshot = savepoint.SnapshotPolicy{Events: 25, Keep: 5}
	}
	return k
}

// recordedLines reads the recording, or skips the test. The quick size has its first lines, a tenth of the full size has
// all of them.
func recordedLines(t *testing.T) (lines []recordedLine) {
	t.Helper()
	path := os.Getenv("SAVEPOINT_RECORDED")
	if path == "" {
		path = filepath.Join("..", "shared", "data", "liap-events.jsonl")
	}
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		t.Skip("no recorded events: name a file in SAVEPOINT_RECORDED")
	}
	require.NoError(t, err)
	scan := bufio.NewScanner(bytes.NewReader(b))
	scan.Buffer(nil, 64<<20)
	for scan.Scan() {
		if len(bytes.TrimSpace(scan.Bytes())) == 0 {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(scan.Bytes()))
		dec.UseNumber()
		var l recordedLine
		require.NoError(t, dec.Decode(&l), "line %d", len(lines)+1)
		l.Payload, _ = numbers(l.Payload).(map[string]any)
		lines = append(lines, l)
	}
	require.NoError(t, scan.Err())
	require.NotEmpty(t, lines)
	return lines[:min(len(lines), long.N(t, 1000, 1<<20))]
}

// numbers converts each json.Number in v, whole numbers to int64 and the others to float64.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return v
}

func (l *recordedLine) at() time.Time {
	f, _ := l.Time.Float64()
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(frac*1e9)).UTC().Truncate(time.Microsecond)
}

func (l *recordedLine) text(name string) string {
	s, _ := l.Payload[name].(string)
	return s
}

// without returns a copy of the payload without the named fields.
func (l *recordedLine) without(names ...string) map[string]any {
	m := maps.Clone(l.Payload)
	for _, n := range names {
		delete(m, n)
	}
	return m
}

// event returns the line as an event of recordedKind.
func (l *recordedLine) event() savepoint.Event[savepoint.Doc] {
	switch l.Type {
	case "phase_change":
		if to := l.text("new_phase"); to != "" {
			return document.Transition{Action: l.Type, To: to, Payload: l.text("old_phase"), Update: l.without("new_phase", "old_phase")}
		}
		return document.Transition{Action: l.Type, To: l.text("phase"), Update: l.without("phase")}
	case "phase_data_update":
		updates, _ := l.Payload["updates"].(map[string]any)
		return document.Update{Set: map[string]any{"phase_data": updates}, Reason: l.text("reason")}
	}
	a := acted{Type: l.Type, Payload: l.Payload}
	if l.Player != nil {
		a.Player = *l.Player
	}
	return a
}

// applyTo applies the line to a document without the library.
func (l *recordedLine) applyTo(doc map[string]any) {
	var set map[string]any
	switch l.Type {
	case "phase_change":
		set = l.without("new_phase", "old_phase", "phase")
		for _, name := range []string{"phase", "new_phase"} {
			if to := l.text(name); to != "" {
				set["phase"] = to
			}
		}
	case "phase_data_update":
		updates, _ := l.Payload["updates"].(map[string]any)
		set = map[string]any{"phase_data": updates}
		if updates == nil {
			set["phase_data"] = nil
		}
	default:
		n, _ := doc["actions"].(int64)
		player := ""
		if l.Player != nil {
			player = *l.Player
		}
		doc["actions"] = n + 1
		doc["last_action"] = map[string]any{"player": player, "type": l.Type, "payload": l.Payload, "at": l.at().UnixMicro()}
	}
	mergeIn(doc, set)
}

func mergeIn(doc, set map[string]any) {
	for name, v := range set {
		if sub, ok := v.(map[string]any); ok {
			if old, ok := doc[name].(map[string]any); ok {
				mergeIn(old, sub)
				continue
			}
		}
		doc[name] = deepCopy(v)
	}
}

// deepCopy returns a copy that shares no map and no slice with v.
func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		c := map[string]any{}
		for name, e := range v {
			c[name] = deepCopy(e)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = deepCopy(v[i])
		}
		return c
	}
	return v
}

// moment is the state of a room after one of its lines, as applyTo computes it.
type moment struct {
	seq  uint64
	last bool // every later line has a later time
	at   time.Time
	want any
}

// moments computes the states of every room, and returns every tenth and the last one.
func moments(t *testing.T, lines []recordedLine) map[string][]moment {
	t.Helper()
	docs, counts, totals := map[string]map[string]any{}, map[string]int{}, map[string]int{}
	times := map[string][]time.Time{}
	for i := range lines {
		totals[lines[i].Room]++
		times[lines[i].Room] = append(times[lines[i].Room], lines[i].at())
	}
	out := map[string][]moment{}
	for i := range lines {
		l := &lines[i]
		if docs[l.Room] == nil {
			docs[l.Room] = map[string]any{}
		}
		l.applyTo(docs[l.Room])
		counts[l.Room]++
		if n := counts[l.Room]; n%10 == 0 || n == totals[l.Room] {
			want, err := codec.Normalize(docs[l.Room])
			require.NoError(t, err)
			later := times[l.Room][n:]
			last := !slices.ContainsFunc(later, func(u time.Time) bool { return !u.After(l.at()) })
			out[l.Room] = append(out[l.Room], moment{uint64(n), last, l.at(), deepCopy(want)})
		}
	}
	return out
}

// same compares documents in their normal form.
func same(t *testing.T, want any, got savepoint.Doc, where string) {
	t.Helper()
	doc, err := codec.Normalize(map[string]any(got))
	require.NoError(t, err)
	if !codec.Equal(want, doc) {
		t.Errorf("%s: %v", where, codec.Diff(want, doc, 5))
	}
}

// TestRecorded_EveryStrategy writes the recorded games under each strategy and reopens the file: the states at many points and
// times are those of a computation without the library.
func TestRecorded_EveryStrategy(t *testing.T) {
	lines := recordedLines(t)
	want := moments(t, lines)
	for _, st := range strategies {
		t.Run(st.String(), func(t *testing.T) {
			t.Parallel()
			var now time.Time
			o := &savepoint.Options{Now: func() time.Time { return now }}
			path := filepath.Join(t.TempDir(), "rooms.db")
			db, err := savepoint.Open(path, o)
			require.NoError(t, err)
			s, err := savepoint.Register(db, recordedKind(st))
			require.NoError(t, err)
			ctx := t.Context()
			var acks []*savepoint.Ack
			for i := range lines {
				l := &lines[i]
				now = l.at()
				var by []savepoint.WriteOption
				if l.Player != nil {
					by = append(by, savepoint.By(*l.Player))
				}
				if st == savepoint.SnapshotOnly { // every write takes a snapshot; Go would coalesce them
					_, err := s.Append(ctx, l.Room, l.event(), by...)
					require.NoError(t, err)
					continue
				}
				acks = append(acks, s.Go(ctx, l.Room, l.event(), by...))
			}
			for i, a := range acks {
				require.NoError(t, a.Err(), "line %d", i+1)
			}
			require.NoError(t, db.Close())

			db = open(t, path, o)
			s, err = savepoint.Register(db, recordedKind(st))
			require.NoError(t, err)
			checked := 0
			for room, list := range want {
				last := list[len(list)-1]
				now, err := s.Load(ctx, room)
				require.NoError(t, err)
				assert.Equal(t, last.seq, now.Seq)
				same(t, last.want, now.Value, room)
				for i, m := range list {
					at, err := s.At(ctx, room, savepoint.AtSeq(m.seq))
					require.NoError(t, err, "%s %d", room, m.seq)
					assert.Equal(t, m.at, at.Updated)
					same(t, m.want, at.Value, fmt.Sprint(room, " ", m.seq))
					checked++
					if i%4 == 0 && m.last {
						at, err := s.At(ctx, room, savepoint.AtTime(m.at))
						require.NoError(t, err, "%s at the time of %d", room, m.seq)
						assert.Equal(t, m.seq, at.Seq)
						same(t, m.want, at.Value, fmt.Sprint(room, " at the time of ", m.seq))
					}
				}
			}
			rooms := 0
			for h, err := range s.List(ctx, savepoint.ListOptions{}) {
				require.NoError(t, err)
				assert.Contains(t, want, h.ID)
				rooms++
			}
			assert.Len(t, want, rooms)
			t.Logf("%d lines, %d rooms, %d states compared, %d bytes of file", len(lines), rooms, checked, db.Stats().FileBytes)
		})
	}
}

// TestRecorded_EventsAndVerify reads every recorded event back as it was written, and verifies every room.
func TestRecorded_EventsAndVerify(t *testing.T) {
	lines := recordedLines(t)
	var now time.Time
	path := filepath.Join(t.TempDir(), "rooms.db")
	o := &savepoint.Options{Now: func() time.Time { return now }}
	db, err := savepoint.Open(path, o)
	require.NoError(t, err)
	s, err := savepoint.Register(db, recordedKind(savepoint.Hybrid))
	require.NoError(t, err)
	byRoom := map[string][]*recordedLine{}
	for i := range lines {
		now = lines[i].at()
		s.Go(t.Context(), lines[i].Room, lines[i].event())
		byRoom[lines[i].Room] = append(byRoom[lines[i].Room], &lines[i])
	}
	require.NoError(t, db.Flush(t.Context()))
	require.NoError(t, db.Close())
	db = open(t, path, o)
	s, err = savepoint.Register(db, recordedKind(savepoint.Hybrid))
	require.NoError(t, err)
	for room, list := range byRoom {
		n := 0
		for rec, err := range s.Events(t.Context(), room, savepoint.EventRange{}) {
			require.NoError(t, err)
			require.Less(t, n, len(list))
			require.EqualValues(t, n+1, rec.Seq)
			require.Equal(t, list[n].at(), rec.Time)
			want, err := codec.Normalize(list[n].event())
			require.NoError(t, err)
			got, err := codec.Normalize(rec.Event)
			require.NoError(t, err)
			require.True(t, codec.Equal(want, got), "%s %d: %v", room, n+1, codec.Diff(want, got, 5))
			n++
		}
		assert.Len(t, list, n)
		v, err := s.Verify(t.Context(), room)
		require.NoError(t, err)
		assert.True(t, v.OK(), "%v", v.Divergences)
		assert.Equal(t, len(list), v.Events)
	}
}
