package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/bench/workload"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
	"github.com/liap-tui/savepoint/internal/format"
)

// Stored holds the sizes of the content of one bucket of a closed file.
type Stored struct {
	What    string
	Items   int   // events, or snapshots
	JSON    int64 // their size as JSON
	Raw     int64 // their size as the library encodes them, with their envelopes, before compression
	Payload int64 // after compression
	Values  int   // stored values
	Bytes   int64 // values and keys, with their headers
}

// Space stores the recorded games, the recorded games with a typed state and
// snapshots, and games of the example with snapshots, each in a file of its own,
// closes the file, and returns what its buckets hold. Dictionaries count with the
// snapshots that they compress.
func Space(dir, recorded string) ([]Stored, error) {
	events := Stored{What: "recorded events"}
	path := filepath.Join(dir, "recorded.db")
	if err := storeRecorded(path, recorded, &events); err != nil {
		return nil, err
	}
	if err := events.count(path, "events"); err != nil {
		return nil, err
	}
	all := []Stored{events}
	for _, each := range []int{20, 5} {
		rooms := Stored{What: fmt.Sprintf("their typed snapshots, one in %d events", each)}
		path = filepath.Join(dir, fmt.Sprintf("rooms-%d.db", each))
		if err := storeRooms(path, recorded, each, &rooms); err != nil {
			return nil, err
		}
		if err := rooms.count(path, "snapshots"); err != nil {
			return nil, err
		}
		all = append(all, rooms)
	}
	typed := []Stored{{What: "events of the example game"}, {What: "its snapshots, one in 20 events"}}
	path = filepath.Join(dir, "games.db")
	if err := storeGames(path, &typed[0], &typed[1]); err != nil {
		return nil, err
	}
	for i, bucket := range []string{"events", "snapshots"} {
		if err := typed[i].count(path, bucket); err != nil {
			return nil, err
		}
	}
	return append(all, typed...), nil
}

// storeRecorded stores each room of the recording as a machine. s.JSON counts the
// payloads of the lines.
func storeRecorded(path, recorded string, s *Stored) error {
	db, err := savepoint.Open(path, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	kind := document.Kind("room")
	kind.Snapshot = savepoint.SnapshotPolicy{Events: -1, Every: -1, NoClose: true}
	rooms, err := savepoint.Register(db, kind)
	if err != nil {
		return err
	}
	var last *savepoint.Ack
	err = workload.EachLine(recorded, func(l *workload.Line) error {
		var set map[string]any
		dec := json.NewDecoder(bytes.NewReader(l.Payload))
		dec.UseNumber()
		if err := dec.Decode(&set); err != nil {
			return err
		}
		whole(set)
		s.Items++
		s.JSON += int64(l.Bytes)
		last = rooms.Go(context.Background(), l.Room, document.Update{Set: set, Reason: l.Type})
		return nil
	})
	if err != nil {
		return err
	}
	if last == nil {
		return fmt.Errorf("recorded games: %s is empty", recorded)
	}
	if err := last.Err(); err != nil {
		return err
	}
	return db.Close()
}

// whole converts the numbers in v: whole ones to int64, the others to float64.
func whole(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // no error: a json.Number has the syntax of a number
		return f
	case map[string]any:
		for name := range v {
			v[name] = whole(v[name])
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	}
	return v
}

// saw counts one item and its size as JSON.
func (s *Stored) saw(v any) error {
	b, err := json.Marshal(v)
	s.Items++
	s.JSON += int64(len(b))
	return err
}

// storeRooms stores the recording with a typed state and a snapshot after each
// number of events.
func storeRooms(path, recorded string, each int, snapshots *Stored) error {
	db, err := savepoint.Open(path, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	kind := workload.RoomKind()
	kind.Snapshot = savepoint.SnapshotPolicy{Events: each, Every: -1, Keep: -1, NoClose: true}
	rooms, err := savepoint.Register(db, kind)
	if err != nil {
		return err
	}
	var acks []*savepoint.Ack
	states, seqs := map[string]*workload.Room{}, map[string]int{}
	err = workload.EachMessage(recorded, func(room string, e savepoint.Event[workload.Room]) error {
		acks = append(acks, rooms.Go(context.Background(), room, e))
		if states[room] == nil {
			states[room] = new(workload.Room)
			if err := snapshots.saw(states[room]); err != nil {
				return err
			}
		}
		if err := e.Apply(states[room], savepoint.Meta{}); err != nil {
			return err
		}
		if seqs[room]++; seqs[room]%each != 0 {
			return nil
		}
		return snapshots.saw(states[room])
	})
	for _, a := range acks {
		err = errors.Join(err, a.Err())
	}
	return errors.Join(err, db.Close())
}

// storeGames plays games of the example and stores them with a snapshot every 20
// events.
func storeGames(path string, events, snapshots *Stored) error {
	db, err := savepoint.Open(path, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	kind := workload.GameKind()
	kind.Snapshot = savepoint.SnapshotPolicy{Events: 20, Every: -1, Keep: -1, NoClose: true}
	games, err := savepoint.Register(db, kind)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for seed := range uint64(50) {
		list, err := workload.Play(seed, 400)
		if err != nil {
			return err
		}
		id, state := fmt.Sprintf("g-%d", seed), game.New()
		if err := snapshots.saw(&state); err != nil {
			return err
		}
		var last *savepoint.Ack
		for i, ev := range list {
			last = games.Go(ctx, id, ev)
			if err := ev.Apply(&state, savepoint.Meta{}); err != nil {
				return err
			}
			if err := events.saw(ev); err != nil {
				return err
			}
			if (i+1)%20 == 0 {
				if err := snapshots.saw(&state); err != nil {
					return err
				}
			}
		}
		if err := last.Err(); err != nil {
			return err
		}
	}
	return db.Close()
}

// count adds the sizes of a bucket of the closed file. With the bucket of snapshots
// it counts their dictionaries too.
func (s *Stored) count(path, bucket string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		for _, also := range []string{"dictionaries", "copies"} {
			if b := tx.Bucket([]byte(also)); b != nil && bucket == "snapshots" {
				if err := b.ForEach(func(k, v []byte) error { s.Bytes += int64(len(k) + len(v)); return nil }); err != nil {
					return err
				}
			}
		}
		return tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
			h, payload, err := format.ParseValue(v, 1<<30)
			if err != nil {
				return err
			}
			s.Values++
			s.Bytes += int64(len(k) + len(v))
			s.Payload += int64(len(payload))
			if len(k) == 16 { // the first piece holds the length of all
				s.Raw += int64(h.Raw)
			}
			return nil
		})
	})
}
