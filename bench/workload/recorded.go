package workload

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/liap-tui/savepoint"
)

// RecordedPath is where the recorded games are looked for: SAVEPOINT_RECORDED,
// else data/liap-events.jsonl in the directory shared beside a checkout. They are not
// part of this repository.
func RecordedPath() string {
	if path := os.Getenv("SAVEPOINT_RECORDED"); path != "" {
		return path
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "shared", "data", "liap-events.jsonl")
}

// seen is one event of a recorded game: a document, as its server wrote it.
type seen struct {
	Type    string
	Payload map[string]any
	Player  string
	Time    float64
}

func (s seen) Apply(t *tally, _ meta) error {
	t.Events++
	if phase, ok := s.Payload["phase"].(string); ok {
		t.Last = phase
	}
	return nil
}

// line is an event in the file of recorded games.
type line struct {
	Room    string         `json:"room_id"`
	Type    string         `json:"event_type"`
	Payload map[string]any `json:"payload"`
	Player  *string        `json:"player_id"`
	Time    float64        `json:"timestamp"`
}

// recorded gives each machine a stretch of the recorded events; with more
// machines than there are stretches, several machines have the same one.
func recorded(machines, events int, path string) (*Load, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("recorded games: %w", err)
	}
	defer f.Close()
	rooms := map[string][]savepoint.Event[tally]{}
	var order []string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 16<<20)
	for n := 1; in.Scan(); n++ {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("recorded games: %s, event %d: %w", path, n, err)
		}
		ev := seen{Type: l.Type, Payload: l.Payload, Time: l.Time}
		if l.Player != nil {
			ev.Player = *l.Player
		}
		if rooms[l.Room] == nil {
			order = append(order, l.Room)
		}
		rooms[l.Room] = append(rooms[l.Room], ev)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("recorded games: %w", err)
	}
	var all []savepoint.Event[tally]
	for _, room := range order {
		all = append(all, rooms[room]...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("recorded games: %s is empty", path)
	}
	// Stretches begin at any event, so that machines differ.
	lists := make([][]savepoint.Event[tally], min(machines, len(all)))
	for i := range lists {
		from := i * len(all) / len(lists)
		for j := range min(events, len(all)) {
			lists[i] = append(lists[i], all[(from+j)%len(all)])
		}
	}
	kind := savepoint.Kind[tally]{Name: "game", Events: savepoint.Events[tally]{"seen": seen{}}}
	return captured("recorded", kind, lists)
}
