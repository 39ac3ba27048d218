package savepoint_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/internal/long"
)

// findable is a record that a query can find.
type findable struct{ savepoint.Meta }

func (f findable) String() string { return fmt.Sprintf("%s/%s %d", f.Kind, f.ID, f.Seq) }

// matches implements the contract of Query a second time.
func (f findable) matches(q *savepoint.Query) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	return same(q.Kind, f.Kind) && same(q.ID, f.ID) && same(q.From, f.From) && same(q.To, f.To) && same(q.Name, f.Name) &&
		same(q.Actor, f.Actor) && same(q.Correlation, f.Correlation) && (q.Origin == 0 || q.Origin == f.Origin) &&
		(q.Since.IsZero() || !f.Time.Before(q.Since)) && (q.Until.IsZero() || !f.Time.After(q.Until))
}

// searched is a database and all records that were written to it, in the order of their positions.
type searched struct {
	t      *testing.T
	path   string
	opt    *savepoint.Options
	db     *savepoint.DB
	tables *savepoint.Store[table]
	docs   *savepoint.Store[savepoint.Doc]
	all    []findable
	rng    *rand.Rand
	now    time.Time
}

func newSearched(t *testing.T, path string, o *savepoint.Options) *searched {
	if o == nil {
		o = &savepoint.Options{}
	}
	s := &searched{t: t, path: path, opt: o, rng: rand.New(rand.NewPCG(3, 8)), now: time.UnixMicro(1_700_000_000_000_000).UTC()}
	o.Now = func() time.Time { return s.now }
	s.open()
	return s
}

func (s *searched) open() {
	s.db = open(s.t, s.path, s.opt)
	k := tableKind()
	k.Legal = nil
	var err error
	s.tables, err = savepoint.Register(s.db, k)
	require.NoError(s.t, err)
	s.docs, err = savepoint.Register(s.db, document.Kind("doc"))
	require.NoError(s.t, err)
}

func (s *searched) reopen() {
	if s.path != savepoint.Memory {
		require.NoError(s.t, s.db.Close())
		s.open()
	}
}

// write appends n records with random kinds, machines, events and options.
func (s *searched) write(n int) {
	ctx := s.t.Context()
	for range n {
		s.now = s.now.Add(time.Duration(s.rng.IntN(5)-1) * time.Second)
		id := fmt.Sprint("m", s.rng.IntN(12))
		o := []savepoint.WriteOption{savepoint.By(fmt.Sprint("actor", s.rng.IntN(30))), savepoint.Origin(1 + s.rng.IntN(3))}
		if s.rng.IntN(4) == 0 {
			o = append(o, savepoint.Correlation(fmt.Sprint("request", s.rng.IntN(5))))
		}
		var head savepoint.Head
		var err error
		store := "table"
		switch s.rng.IntN(4) {
		case 0:
			store = "doc"
			head, err = s.docs.Append(ctx, id, document.Transition{To: fmt.Sprint("phase", s.rng.IntN(3))}, o...)
		case 1:
			head, err = s.tables.Append(ctx, id, &noted{Text: "x"}, o...)
		default:
			head, err = s.tables.Append(ctx, id, moved{To: fmt.Sprint("phase", s.rng.IntN(4))}, o...)
		}
		require.NoError(s.t, err)
		s.learn(store, id, head.Seq)
	}
}

// learn adds a machine's newest record, as Events returns it.
func (s *searched) learn(kind, id string, seq uint64) {
	r := savepoint.EventRange{After: seq - 1}
	if kind == "doc" {
		for rec, err := range s.docs.Events(s.t.Context(), id, r) {
			require.NoError(s.t, err)
			s.all = append(s.all, findable{rec.Meta})
		}
		return
	}
	for rec, err := range s.tables.Events(s.t.Context(), id, r) {
		require.NoError(s.t, err)
		s.all = append(s.all, findable{rec.Meta})
	}
}

// find reads all pages of a query, and calls between after each but the last.
func (s *searched) find(q savepoint.Query, between func()) (out []string) {
	s.t.Helper()
	for {
		page, err := s.db.Query(s.t.Context(), q)
		require.NoError(s.t, err)
		require.Empty(s.t, page.Damaged)
		require.LessOrEqual(s.t, len(page.Records), max(q.Limit, 100*(1-min(1, q.Limit))))
		for _, rec := range page.Records {
			out = append(out, findable{rec.Meta}.String())
			require.NotNil(s.t, rec.Event)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return out
		}
		between()
	}
}

// want returns what a query has to find.
func (s *searched) want(q savepoint.Query) (out []string) {
	for _, f := range s.all {
		if f.matches(&q) {
			out = append(out, f.String())
		}
	}
	if q.Newest {
		slices.Reverse(out)
	}
	return out
}

// some returns a query with random filters.
func (s *searched) some() (q savepoint.Query) {
	of := s.all[s.rng.IntN(len(s.all))]
	one := func(n int) bool { return s.rng.IntN(n) == 0 }
	if one(3) {
		q.Kind = of.Kind
		if one(2) {
			q.ID = of.ID
		}
	}
	if one(4) {
		q.Since = of.Time.Add(-time.Duration(s.rng.IntN(100)) * time.Second)
	}
	if one(4) {
		q.Until = of.Time.Add(time.Duration(s.rng.IntN(100)) * time.Second)
	}
	if one(4) {
		q.From = of.From
	}
	if one(4) {
		q.To = of.To
	}
	if one(3) {
		q.Name = of.Name
	}
	if one(4) {
		q.Actor = of.Actor
	}
	if one(4) {
		q.Origin = of.Origin
	}
	if one(5) {
		q.Correlation = of.Correlation
	}
	q.Newest = one(2)
	q.Limit = []int{0, 1, 3, 7, 1000}[s.rng.IntN(5)]
	if q.Limit == 1 && s.rng.IntN(4) > 0 {
		q.Limit = 20
	}
	return q
}

// TestQuery_TenFilters compares each filter alone, and any of them together, with a scan of every record: in both orders, in
// pages of any size, before and after reopening.
// row D17, E2, E3
func TestQuery_TenFilters(t *testing.T) {
	for name, way := range feedEngines {
		t.Run(name, func(t *testing.T) {
			path, o := way(t)
			s := newSearched(t, path, o)
			s.write(300)
			for round := range 3 {
				for i, f := range []savepoint.Query{{}, {Kind: "doc"}, {Kind: "table", ID: "m3"}, {Since: s.all[200].Time}, {Until: s.all[50].Time},
					{Since: s.all[200].Time.Add(time.Nanosecond)}, {Until: s.all[50].Time.Add(-time.Nanosecond)},
					{From: "phase1"}, {To: "phase2"}, {Name: "noted"}, {Actor: "actor4"}, {Origin: savepoint.OriginTimeout}, {Limit: 2, Name: "noted"},
					{Correlation: "request2"}, {Kind: "other"}, {Kind: "table", ID: "nobody"}, {Actor: "nobody"}} {
					for _, newest := range []bool{false, true} {
						f.Newest = newest
						want := s.want(f)
						require.Equal(t, want, s.find(f, func() {}), "%+v", f)
						require.True(t, i >= 14 || len(want) > 0, "%+v finds nothing", f)
					}
				}
				for range long.N(t, 20, 600) {
					q := s.some()
					require.Equal(t, s.want(q), s.find(q, func() {}), "%+v", q)
				}
				if round == 0 {
					s.write(40)
				}
				s.reopen()
			}
		})
	}
}

// TestQuery_CursorSurvives appends and reopens between two pages: no record is missed and none is shown twice.
// row E3
func TestQuery_CursorSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "game.db")
	s := newSearched(t, path, nil)
	s.write(120)
	for _, q := range []savepoint.Query{{Newest: true}, {}, {Name: "noted", Newest: true}, {Kind: "table", ID: "m1"}, {Kind: "table", ID: "m1", Newest: true}} {
		q.Limit = 9
		before := s.want(q)
		pages := 0
		got := s.find(q, func() {
			if pages++; pages <= 3 {
				s.write(5)
				if pages == 2 {
					s.reopen()
				}
			}
		})
		if q.Newest {
			require.Equal(t, before, got, "%+v", q)
		} else {
			require.Equal(t, s.want(q), got, "%+v", q)
		}
	}
}

// TestQuery_PurgedMachine purges a machine between two pages: its records are not found any more, and the cursor goes on in the
// new machine of the same id.
func TestQuery_PurgedMachine(t *testing.T) {
	onEachFeed(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		ctx := t.Context()
		write := func(id string, n int) {
			for range n {
				_, err := s.Append(ctx, id, &noted{})
				require.NoError(t, err)
			}
		}
		write("a", 5)
		write("b", 5)
		all := savepoint.Query{Limit: 3}
		mine := savepoint.Query{ID: "a", Limit: 3}
		p1, err := s.Query(ctx, all)
		require.NoError(t, err)
		m1, err := s.Query(ctx, mine)
		require.NoError(t, err)
		last := savepoint.Query{ID: "a", Limit: 3, Newest: true}
		l1, err := s.Query(ctx, last)
		require.NoError(t, err)
		require.NoError(t, s.Purge(ctx, "a"))
		write("a", 2)
		all.Cursor, all.Limit = p1.Next, 100
		p2, err := s.Query(ctx, all)
		require.NoError(t, err)
		require.Len(t, p2.Records, 7)
		require.Empty(t, p2.Next)
		mine.Cursor = m1.Next
		m2, err := s.Query(ctx, mine)
		require.NoError(t, err)
		require.Len(t, m2.Records, 2)
		require.Equal(t, uint64(1), m2.Records[0].Seq)
		last.Cursor = l1.Next
		l2, err := s.Query(ctx, last)
		require.NoError(t, err)
		require.Empty(t, l2.Records, "the new records were appended after the first page")
		page, err := s.Query(ctx, savepoint.Query{Newest: true})
		require.NoError(t, err)
		require.Len(t, page.Records, 7)
		require.IsType(t, &noted{}, page.Records[0].Event)
	})
}

// TestQuery_Refuses refuses cursors of other queries, damaged cursors and contradictory queries.
func TestQuery_Refuses(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	for range 3 {
		_, err := s.Append(t.Context(), "a", &noted{})
		require.NoError(t, err)
	}
	page, err := s.Query(t.Context(), savepoint.Query{Limit: 1})
	require.NoError(t, err)
	newer, err := base64.RawURLEncoding.DecodeString(page.Next)
	require.NoError(t, err)
	newer[0]++
	for _, q := range []savepoint.Query{
		{Cursor: page.Next, Newest: true}, {Cursor: page.Next, ID: "a"}, {Cursor: page.Next, Since: time.Unix(1, 0)},
		{Cursor: page.Next, Until: time.Now()}, {Cursor: page.Next, From: "x"}, {Cursor: page.Next, To: "x"}, {Cursor: page.Next, Name: "noted"},
		{Cursor: page.Next, Actor: "ann"}, {Cursor: page.Next, Origin: savepoint.OriginUser}, {Cursor: page.Next, Correlation: "x"},
		{Cursor: "x"}, {Cursor: page.Next + "AA"}, {Cursor: page.Next[:len(page.Next)-3]}, {Cursor: strings.Repeat("A", 20)},
		{Cursor: base64.RawURLEncoding.EncodeToString(newer)},
	} {
		_, err := s.Query(t.Context(), q)
		require.ErrorIs(t, err, savepoint.ErrBadCursor, "%+v", q)
	}
	_, err = s.Query(t.Context(), savepoint.Query{Cursor: page.Next, Limit: 2})
	require.NoError(t, err)
	_, err = s.Query(t.Context(), savepoint.Query{Limit: -1})
	require.ErrorContains(t, err, "limit")
	_, err = s.Query(t.Context(), savepoint.Query{Kind: "doc"})
	require.ErrorContains(t, err, "DB.Query")
	_, err = db.Query(t.Context(), savepoint.Query{Cursor: page.Next})
	require.ErrorIs(t, err, savepoint.ErrBadCursor, "the cursor is of a query of one kind")
	_, err = db.Query(t.Context(), savepoint.Query{ID: "a"})
	require.ErrorContains(t, err, "Kind")
	_, err = db.Query(t.Context(), savepoint.Query{Kind: "table", ID: "a\x00"})
	require.ErrorIs(t, err, savepoint.ErrBadID)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = db.Query(ctx, savepoint.Query{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = open(t, "kept", &savepoint.Options{Engine: newFaulty()}).Query(t.Context(), savepoint.Query{})
	require.ErrorIs(t, err, savepoint.ErrUnsupported)
}
