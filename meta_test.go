package savepoint_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func TestMeta_StoredAndShown(t *testing.T) {
	c := newClock()
	for name, path := range engines {
		t.Run(name, func(t *testing.T) {
			db := open(t, path(t), &savepoint.Options{Now: c.Now})
			s := register(t, db)
			ctx := t.Context()
			begin(t, s, "g", 0)
			c.turn(1500 * time.Millisecond)
			_, err := s.Append(ctx, "g", plays[0], savepoint.By("ann"), savepoint.Tag("a", "b"), savepoint.Cause("click 7"),
				savepoint.Correlation("request 9"), savepoint.OriginTimeout, savepoint.Key("k"))
			require.NoError(t, err)
			var got []savepoint.Record[table]
			for rec, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
				require.NoError(t, err)
				got = append(got, rec)
			}
			require.Len(t, got, 2)
			assert.Equal(t, savepoint.Meta{Kind: "table", ID: "g", Seq: 2, Pos: 2, Name: "played", Time: c.Now(), Version: savepoint.V(1, 0, 0),
				From: "turn", To: "turn", Actor: "ann", Origin: savepoint.OriginTimeout, Key: "k", Cause: "click 7", Correlation: "request 9",
				Tags: []string{"a", "b"}, Took: 1500 * time.Millisecond}, got[1].Meta)
			assert.Equal(t, "waiting", got[0].From)
			assert.Equal(t, "turn", got[0].To)
			assert.Equal(t, savepoint.OriginUser, got[0].Origin)
			assert.Equal(t, plays[0], got[1].Event)
		})
	}
}

func TestMeta_OriginFromTheActor(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	for _, actor := range []string{"system", "system/timer", "ann", ""} {
		_, err := s.Append(t.Context(), "g", &noted{Text: "x"}, savepoint.By(actor))
		require.NoError(t, err)
	}
	var got []string
	for rec, err := range s.Events(t.Context(), "g", savepoint.EventRange{}) {
		require.NoError(t, err)
		got = append(got, rec.Origin.String())
	}
	assert.Equal(t, []string{"system", "system", "user", "user"}, got)
}

func TestMachine_With_NamesTheActorOfEachEvent(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		h, err := s.Update(ctx, "g", func(m *savepoint.Machine[table]) error {
			require.NoError(t, m.Append(&noted{Text: "first"}))
			require.NoError(t, m.With(savepoint.By("system/clock"), savepoint.Tag("tick")))
			require.NoError(t, m.Append(&noted{Text: "second"}))
			return errors.Join(m.With(savepoint.By("bob")), m.Append(&noted{Text: "third"}))
		}, savepoint.By("ann"), savepoint.Tag("all"), savepoint.Key("k"))
		require.NoError(t, err)
		assert.EqualValues(t, 3, h.Seq)
		var got []string
		for rec, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
			require.NoError(t, err)
			got = append(got, fmt.Sprint(rec.Actor, " ", rec.Origin, " ", rec.Tags, " ", rec.Key))
		}
		assert.Equal(t, []string{"ann user [all] k", "system/clock system [tick] k", "bob user [] k"}, got)
		assert.Equal(t, "third by bob", load(t, s, "g").Value.Note)
		_, err = s.Update(ctx, "g", func(m *savepoint.Machine[table]) error {
			_ = m.With(savepoint.Key("another"))
			return nil
		})
		require.ErrorIs(t, err, savepoint.ErrUnsupported)
	})
}

func TestMeta_ApplySeesWhatIsStored(t *testing.T) {
	// At append and at replay Apply gets the same Meta: UTC, microseconds, no pos.
	seen := map[uint64][]savepoint.Meta{}
	k := savepoint.Kind[counter]{Name: "c", Events: savepoint.Events[counter]{"watched": watched{}}, Phase: func(c *counter) string { return c.Last }}
	watch = func(m savepoint.Meta) { seen[m.Seq] = append(seen[m.Seq], m) }
	now := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.FixedZone("far", 5*3600))
	db := open(t, engines["file"](t), &savepoint.Options{Now: func() time.Time { return now }})
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	for i := range 3 {
		_, err := s.Append(t.Context(), "g", watched{fmt.Sprint(i)}, savepoint.By("ann"), savepoint.Key(fmt.Sprint(i)), savepoint.Tag("t"))
		require.NoError(t, err)
	}
	_, err = s.Verify(t.Context(), "g")
	require.NoError(t, err)
	for seq := range uint64(3) {
		ms := seen[seq+1]
		require.Len(t, ms, 2)
		assert.Equal(t, ms[0], ms[1])
		assert.Equal(t, now.UTC().Truncate(time.Microsecond), ms[0].Time)
		assert.Zero(t, ms[0].Pos)
	}
}

type watched struct{ Text string }

var watch func(savepoint.Meta)

func (e watched) Apply(c *counter, m savepoint.Meta) error {
	watch(m)
	c.Last = e.Text
	return nil
}

// kept is an event that holds a map; Apply keeps it.
type kept struct{ Hand map[string]any }

type keeper struct {
	Phase string
	Hand  map[string]any
}

func (e kept) Apply(k *keeper, _ savepoint.Meta) error { k.Hand = e.Hand; return nil }

func TestIsolation_EventsStatesAndLooks(t *testing.T) {
	// row H6: nobody's later change reaches what is stored
	db := open(t, engines["file"](t), nil)
	s, err := savepoint.Register(db, savepoint.Kind[keeper]{Name: "keeper", Events: savepoint.Events[keeper]{"kept": kept{}}})
	require.NoError(t, err)
	ctx := t.Context()
	hand := map[string]any{"ann": 7}
	_, err = s.Append(ctx, "g", kept{hand})
	require.NoError(t, err)
	hand["ann"] = "changed"
	st, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"ann": int64(7)}, st.Value.Hand, "an int in an any is int64 at once, not only after a restart")
	st.Value.Hand["ann"] = "changed"
	again, err := s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, int64(7), again.Value.Hand["ann"])
	for rec, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
		require.NoError(t, err)
		rec.Event.(kept).Hand["ann"] = "changed"
	}
	whole := keeper{Hand: map[string]any{"bob": []any{1}}}
	_, err = s.Save(ctx, "g", whole)
	require.NoError(t, err)
	whole.Hand["bob"].([]any)[0] = "changed"
	rep, err := s.Verify(ctx, "g")
	require.NoError(t, err)
	assert.True(t, rep.OK(), "%v", rep.Divergences)
	again, err = s.Load(ctx, "g")
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"bob": []any{int64(1)}}, again.Value.Hand)
}

func TestStore_List_PagesInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		s := register(t, db)
		other, err := savepoint.Register(db, savepoint.DocKind("tabl"))
		require.NoError(t, err)
		_, err = other.Save(t.Context(), "e-0001", savepoint.Doc{})
		require.NoError(t, err)
		var want []string
		var acks []*savepoint.Ack
		for i := range 600 {
			want = append(want, fmt.Sprintf("g-%04d", i))
			acks = append(acks, s.Go(t.Context(), want[i], deal()))
		}
		for _, a := range acks {
			require.NoError(t, a.Err())
		}
		list := func(o savepoint.ListOptions) (ids []string) {
			for h, err := range s.List(t.Context(), o) {
				require.NoError(t, err)
				assert.EqualValues(t, 1, h.Seq)
				assert.Equal(t, "turn", h.Phase)
				ids = append(ids, h.ID)
			}
			return ids
		}
		assert.Equal(t, want, list(savepoint.ListOptions{}))
		assert.Equal(t, want[:300], list(savepoint.ListOptions{Limit: 300}))
		assert.Equal(t, want[300:], list(savepoint.ListOptions{After: want[299]}))
		assert.Equal(t, want[110:120], list(savepoint.ListOptions{Prefix: "g-011"}))
		_, err = s.Delete(t.Context(), want[0])
		require.NoError(t, err)
		assert.Equal(t, want[1:], list(savepoint.ListOptions{}))
	})
}

func TestMeta_TooLarge(t *testing.T) {
	db := open(t, savepoint.Memory, nil)
	s := register(t, db)
	begin(t, s, "g", 1)
	long := strings.Repeat("x", 64<<10)
	for _, o := range []savepoint.WriteOption{savepoint.By(long), savepoint.Key(long), savepoint.Cause(long), savepoint.Correlation(long), savepoint.Tag(long)} {
		_, err := s.Append(t.Context(), "g", plays[1], o)
		require.ErrorIs(t, err, savepoint.ErrTooLarge)
	}
	assert.EqualValues(t, 2, load(t, s, "g").Seq)
}
