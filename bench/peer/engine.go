package peer

import (
	"context"
	"path/filepath"

	"github.com/liap-tui/savepoint/bench/workload"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt"
)

// engineStore is savepoint's engine for files. savepoint's committer passes encoded
// bytes to it. The machine's head is its seq, as for the peers; the engine compares
// and stores it. Settings: the defaults.
type engineStore struct {
	engine engine.Engine

	steps  []engine.Step
	writes []engine.Write
	events []engine.Event
	heads  []byte
	out    []engine.Result
}

func openEngine(dir string, _ *workload.Load) (Store, error) { return OpenEngine(dir, Journal) }

// OpenEngine opens the engine in dir with a journal of the given size in bytes.
func OpenEngine(dir string, journal int64) (Store, error) {
	e, err := bolt.Open(filepath.Join(dir, "game.db"), &bolt.Options{Journal: journal})
	if err != nil {
		return nil, err
	}
	return &engineStore{engine: e}, nil
}

// Reporter is a store that reports what its opening did.
type Reporter interface{ OpenReport() engine.OpenReport }

// OpenReport returns the report of the engine.
func (s *engineStore) OpenReport() engine.OpenReport { return s.engine.(Reporter).OpenReport() }

func (s *engineStore) Start(*Append) (Pending, error) { panic("peer: an engine is used in batches") }

func (s *engineStore) Batch(as []*Append) error {
	if n := len(as); cap(s.steps) < n {
		s.steps, s.writes, s.out = make([]engine.Step, 2*n), make([]engine.Write, 2*n), make([]engine.Result, 2*n)
		s.events, s.heads = make([]engine.Event, 2*n), make([]byte, 0, 16*n)
	}
	s.steps, s.out, s.heads = s.steps[:len(as)], s.out[:len(as)], s.heads[:0]
	for i, a := range as {
		s.heads = headValue(s.heads, a.Seq)
		s.events[i] = engine.Event{Bytes: a.Event.Bytes, Terms: a.Event.Terms}
		s.writes[i] = engine.Write{
			Machine: a.Machine, Kind: 1, Schema: 1, Expect: a.Seq - 1, Seq: a.Seq,
			Events: s.events[i : i+1 : i+1], Head: s.heads[len(s.heads)-8:],
		}
		if a.State != nil {
			s.writes[i].Snapshots = []engine.Snapshot{{Seq: a.Seq, Bytes: a.State}}
		}
		s.steps[i].Writes, s.out[i] = s.writes[i:i+1:i+1], engine.Result{}
	}
	if err := s.engine.Commit(context.Background(), s.steps, s.out); err != nil {
		return err
	}
	for i, a := range as {
		a.Err = s.out[i].Err
	}
	return nil
}

func (s *engineStore) Read(machine string, fn func([]byte)) (uint64, error) {
	want := engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: engine.All, Events: true, To: engine.All}
	h, err := s.engine.Load(context.Background(), machine, want, func(it engine.Item) error {
		if it.Err != nil {
			return it.Err
		}
		if it.Part == engine.PartEvent {
			fn(it.Bytes)
		}
		return nil
	})
	return h.Seq, err
}

func (s *engineStore) Count() (n int64, err error) {
	var machines []string
	err = s.engine.Scan(context.Background(), "", "", 0, func(machine string, _ engine.Head) error {
		machines = append(machines, machine)
		return nil
	})
	for _, m := range machines {
		if err == nil {
			_, err = s.Read(m, func([]byte) { n++ })
		}
	}
	return n, err
}

func (s *engineStore) Close() error { return s.engine.Close() }
