package savepoint_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func TestRecover_ReplayLimitIsAnError(t *testing.T) {
	onEach(t, func(t *testing.T, db *savepoint.DB) {
		ctx := t.Context()
		s := register(t, db)
		note(t, s, "g", 60)
		before := load(t, s, "g")
		rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(50), MaxReplay: 49})
		require.ErrorContains(t, err, "more than 49 records", "row G10: never a shorter replay") // row G10
		assert.Equal(t, savepoint.RecoverFailed, rep.Status)
		assert.Equal(t, before, load(t, s, "g"))

		rep, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(50), MaxReplay: 50, DryRun: true})
		require.NoError(t, err)
		assert.Equal(t, 50, rep.Replayed)
		assert.Equal(t, before, load(t, s, "g"), "a dry run writes nothing")

		for i, to := range []uint64{50, 20} {
			rep, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(to), Reason: fmt.Sprint("test ", i), Actor: "ops"})
			require.NoError(t, err)
			assert.Equal(t, to, rep.Seq)
			assert.Equal(t, fmt.Sprint(to-1, " by "), load(t, s, "g").Value.Note)
		}
		_, err = s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(500), Else: []savepoint.Point{savepoint.BeforeError(), savepoint.AtSeq(7)}})
		require.NoError(t, err, "row G6: the points are tried in their order") // row G6
		assert.Equal(t, "6 by ", load(t, s, "g").Value.Note)

		var past []string
		for r, err := range s.Recoveries(ctx, "g") {
			require.NoError(t, err)
			past = append(past, fmt.Sprint(r.Seq, " ", r.Report.To, " ", r.Report.Seq, " ", r.Report.Reason, " ", r.Actor, " ", r.Origin))
		}
		assert.Equal(t, []string{"61 seq 50 50 test 0 ops recovery", "62 seq 20 20 test 1 ops recovery", "63 seq 500 7   recovery"}, past, "row G14") // row G14
		rv, err := s.Verify(ctx, "g")
		require.NoError(t, err)
		assert.True(t, rv.OK(), "%v", rv.Divergences)
	})
}

func TestVersion_Compares(t *testing.T) {
	a, b := savepoint.V(1, 2, 3), savepoint.V(1, 10, 0)
	assert.Equal(t, a, savepoint.V(1, 2, 3), "row A8: equal versions are equal, whenever they were made") // row A8
	assert.Negative(t, a.Compare(b))
	assert.Positive(t, savepoint.V(2, 0, 0).Compare(b))
	assert.Zero(t, a.Compare(savepoint.V(1, 2, 3)))
	assert.Equal(t, "1.10.0", b.String())
	assert.Len(t, map[savepoint.Version]int{a: 1, savepoint.V(1, 2, 3): 2, b: 3}, 2)
}

func TestLog_SilentByDefault(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	oldOut, oldErr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = w, w
	work := func(o *savepoint.Options) {
		db := open(t, engines["file"](t), o)
		s := register(t, db)
		begin(t, s, "g", 2)
		_, err := s.Recover(t.Context(), "g", savepoint.RecoverOptions{To: savepoint.AtSeq(1)})
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
	work(nil)
	os.Stdout, os.Stderr = oldOut, oldErr
	require.NoError(t, w.Close())
	said, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Empty(t, string(said))
	var log bytes.Buffer
	work(&savepoint.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	assert.Contains(t, log.String(), "machine recovered")
}
