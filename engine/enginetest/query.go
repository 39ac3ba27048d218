package enginetest

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/engine"
)

// about holds what a query can filter an event by.
type about struct {
	kind uint32
	engine.Terms
}

func (a about) matches(q engine.Query) bool {
	for _, of := range [][2]string{{q.Name, a.Name}, {q.From, a.From}, {q.To, a.To}, {q.Actor, a.Actor}} {
		if of[0] != "" && of[0] != of[1] {
			return false
		}
	}
	if q.Kind != 0 && q.Kind != a.kind || q.Origin != 0 && q.Origin != a.Origin {
		return false
	}
	return q.MinTime == 0 && q.MaxTime == 0 || q.MinTime <= a.Time && a.Time <= q.MaxTime
}

// event returns an event in the form that the engine under test requires.
func (s *subject) event(ev engine.Event) engine.Event {
	if s.config.Event != nil {
		ev = s.config.Event(ev)
	}
	return ev
}

// query returns the events of a Query, which must be in order and not damaged.
func (s *subject) query(q engine.Query, stop int) (got []placed) {
	s.t.Helper()
	err := s.e.(engine.Querier).Query(s.ctx(), q, func(r engine.Record) error {
		if r.Err != nil {
			return r.Err
		}
		if r.Pos <= q.After || q.Before > 0 && r.Pos >= q.Before {
			return fmt.Errorf("position %d is outside the queried range", r.Pos)
		}
		if n := len(got); n > 0 && (got[n-1].pos >= r.Pos) != q.Newest {
			return fmt.Errorf("position %d is delivered after %d", r.Pos, got[n-1].pos)
		}
		got = append(got, placed{r.Machine, r.Seq, r.Pos, string(r.Bytes)})
		if len(got) == stop {
			return engine.Stop
		}
		return nil
	})
	require.NoError(s.t, err, "query %+v", q)
	return got
}

// requireQuery compares one Query, if the engine is a Querier: it delivers every
// event that q selects, and no event that is not stored.
func (m *model) requireQuery(s *subject, q engine.Query) {
	s.t.Helper()
	if _, ok := s.e.(engine.Querier); !ok {
		return
	}
	got := s.query(q, 0)
	all := m.placed(q.After)
	if q.Newest {
		slices.Reverse(all)
	}
	i := 0
	for _, p := range all {
		if q.Before > 0 && p.pos >= q.Before {
			continue
		}
		if i < len(got) && got[i].pos == p.pos {
			require.Equal(s.t, p, got[i])
			i++
			continue
		}
		if m.about[p.pos].matches(q) {
			require.Fail(s.t, "an event is not found", "%+v: %+v %+v", q, p, m.about[p.pos])
		}
	}
	require.Equal(s.t, len(got), i, "query %+v gives an event that is not there", q)
}

// store commits each write as a step of its own, all in one group, and applies them
// to the model.
func (m *model) store(s *subject, writes ...engine.Write) {
	s.t.Helper()
	steps := make([]engine.Step, len(writes))
	for i, w := range writes {
		for j := range w.Events {
			w.Events[j] = s.event(w.Events[j])
		}
		steps[i] = step(w)
	}
	for i, r := range s.commit(steps...) {
		require.NoError(s.t, m.take(steps[i], false, r), "step %d", i)
	}
}

func testQuery(s *subject) {
	if _, ok := s.e.(engine.Querier); !ok {
		s.t.Skip("the engine is no Querier")
	}
	const n = 900 // events of machines a, b and c in turn, with one rare event
	m := newModel()
	for i := range uint64(n) {
		machine := string(rune('a' + i%3))
		w := grow(machine, i/3, 1)
		w.Kind = uint32(1 + i%3)
		w.Events[0].Terms = engine.Terms{Name: fmt.Sprint("name", i%5), From: fmt.Sprint("from", i%4), To: fmt.Sprint("to", i%7),
			Actor: fmt.Sprint("actor", i%211), Origin: uint8(1 + i%2), Time: int64(1000 + i)}
		if i == 500 {
			w.Events[0].Terms.Name = "rare"
		}
		m.store(s, w)
		if i == 400 {
			s.reopen()
		}
	}
	check := func() {
		for _, q := range []engine.Query{
			{}, {Newest: true}, {Name: "rare"}, {Name: "rare", Newest: true}, {Name: "never"}, {From: "from2", To: "to3"}, {Actor: "actor7"},
			{Actor: "actor7", Name: "name1"}, {Origin: 2, Newest: true}, {Kind: 3, Name: "rare"}, {Kind: 2}, {MinTime: 1100, MaxTime: 1110},
			{MinTime: 1890, MaxTime: 1<<63 - 1, Newest: true}, {After: m.pos - 5}, {Before: 6}, {After: 3, Before: 9, Newest: true},
			{After: engine.All}, {After: engine.All, Newest: true}, {Before: 1}, {Before: 1, Newest: true}, {After: m.pos, Newest: true}, {After: 7, Before: 8},
		} {
			m.requireQuery(s, q)
		}
	}
	check()
	require.Len(s.t, s.query(engine.Query{Newest: true}, 4), 4)
	s.reopen()
	check()
	m.store(s, engine.Write{Machine: "a", Expect: n / 3, Seq: n / 3, TrimTo: 200}, purge("b", n/3))
	check()
	s.reopen()
	check()
}

// testQueryRestored restores events by writes of another kind: a Query finds them by
// that kind, and Feed and Load deliver them, also for a machine that was purged and
// created again.
func testQueryRestored(s *subject) {
	if _, ok := s.e.(engine.Querier); !ok {
		s.t.Skip("the engine is no Querier")
	}
	const n = 300
	m := newModel()
	check := func() {
		for range 2 {
			for kind := range uint32(6) {
				m.requireQuery(s, engine.Query{Kind: kind})
				m.requireQuery(s, engine.Query{Kind: kind, Newest: true})
			}
			m.requireFeed(s, 0)
			m.requireMachine(s, "a", everything)
			s.reopen()
		}
	}
	of := func(kind uint32, w engine.Write) engine.Write {
		w.Kind = kind
		return w
	}
	trim := of(1, growTo("a", n, n, 0))
	trim.TrimTo = n - 10
	m.store(s, of(1, grow("a", 0, n)), of(1, grow("b", 0, 3)))
	m.store(s, trim)
	older := m.removed("a")
	back := func(kind uint32, older []engine.StoredEvent) engine.Write {
		w := of(kind, growTo("a", n, n, 0))
		w.Restore = older
		return w
	}
	m.store(s, back(2, older[:200]))
	check()
	m.store(s, back(3, older), back(4, older[:100])) // the last write wins
	check()
	m.store(s, purge("a", n), of(1, grow("a", 0, n)), back(5, older[50:150])) // in the place of new ones
	check()
}
