package savepoint_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestMeta_StoredAndShown writes with every option and reads each field of Meta back.
// row A3, A5, A9, D17, E10, G19
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

// TestMeta_OriginFromTheActor derives the origin from the actor's name where no option sets it.
// row A10
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

// TestMeta_ApplySeesWhatIsStored checks that Apply gets the same Meta at append and at replay: in UTC, in microseconds, without a position.
func TestMeta_ApplySeesWhatIsStored(t *testing.T) {
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

// watched is an event whose Apply calls watch.
type watched struct{ Text string }

var watch func(savepoint.Meta)

func (e watched) Apply(c *counter, m savepoint.Meta) error {
	watch(m)
	c.Last = e.Text
	return nil
}

// TestMeta_TooLarge refuses fields of Meta that are too large to be stored.
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

// TestMeta_ApplyAndReplayAgree has an Apply that stores what it sees of Meta: the live state and the replayed one are equal.
func TestMeta_ApplyAndReplayAgree(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 1}, savepoint.Key("k"), savepoint.By("ann"))
		require.NoError(t, err)
		live, err := s.Load(ctx, "g")
		require.NoError(t, err)
		at, err := s.At(ctx, "g", savepoint.AtSeq(1))
		require.NoError(t, err)
		assert.Equal(t, at, live)
		rep, err := s.Verify(ctx, "g")
		require.NoError(t, err)
		assert.Empty(t, rep.Divergences)
	})
}
