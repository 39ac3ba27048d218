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

// RecordedPath returns the path of the file of recorded games: SAVEPOINT_RECORDED,
// otherwise data/liap-events.jsonl in the directory shared beside a checkout. They are not
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

// Line is an event in the file of recorded games.
type Line struct {
	Room    string          `json:"room_id"`
	Type    string          `json:"event_type"`
	Payload json.RawMessage `json:"payload"`
	Player  *string         `json:"player_id"`
	Time    float64         `json:"timestamp"`

	Bytes int `json:"-"` // of the whole line
}

// document returns the payload, nil if the line has none.
func (l *Line) document() (doc map[string]any, err error) {
	if len(l.Payload) > 0 {
		err = json.Unmarshal(l.Payload, &doc)
	}
	return doc, err
}

// EachLine reads the file of recorded games and calls fn for each event, in order; fn
// may keep the Line. Errors name the file and the event.
func EachLine(path string, fn func(l *Line) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("recorded games: %w", err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 16<<20)
	for n := 1; in.Scan(); n++ {
		l := &Line{Bytes: len(in.Bytes())}
		err := json.Unmarshal(in.Bytes(), l)
		if err == nil {
			err = fn(l)
		}
		if err != nil {
			return fmt.Errorf("recorded games: %s, event %d: %w", path, n, err)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("recorded games: %w", err)
	}
	return nil
}

// recorded makes a load in which each machine has a run of consecutive recorded
// events; with more machines than recorded events, several machines have the same
// run.
func recorded(machines, events int, path string) (*Load, error) {
	rooms := map[string][]savepoint.Event[tally]{}
	var order []string
	err := EachLine(path, func(l *Line) error {
		doc, err := l.document()
		if err != nil {
			return err
		}
		ev := seen{Type: l.Type, Payload: doc, Time: l.Time}
		if l.Player != nil {
			ev.Player = *l.Player
		}
		if rooms[l.Room] == nil {
			order = append(order, l.Room)
		}
		rooms[l.Room] = append(rooms[l.Room], ev)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []savepoint.Event[tally]
	for _, room := range order {
		all = append(all, rooms[room]...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("recorded games: %s is empty", path)
	}
	// A run starts at any event, so that machines differ.
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
