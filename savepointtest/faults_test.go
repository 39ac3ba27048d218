package savepointtest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/savepointtest"
)

func scores(t *testing.T, f *savepointtest.Faults) (*savepoint.DB, *savepoint.Store[score]) {
	t.Helper()
	db, err := savepoint.Open("faults", &savepoint.Options{Engine: f})
	require.NoError(t, err)
	s, err := savepoint.Register(db, savepoint.Kind[score]{Name: "score", Events: savepoint.Events[score]{"scored": scored{}}})
	require.NoError(t, err)
	return db, s
}

func TestFaults(t *testing.T) {
	f := savepointtest.NewFaults(nil)
	db, s := scores(t, f)
	ctx := t.Context()
	add := func() error { _, err := s.Append(ctx, "g", scored{1}); return err }
	again := func() uint64 { // as after a crash
		t.Helper()
		_ = db.Close()
		f.Heal()
		db, s = scores(t, f)
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		require.EqualValues(t, st.Seq, st.Value.Points)
		return st.Seq
	}
	require.NoError(t, add())
	f.Inject(savepointtest.FailOnce(2))
	f.Inject(savepointtest.DiskFull(4, 2))
	var errs []bool
	for i := range 7 {
		err := add()
		errs = append(errs, err != nil)
		if i == 1 {
			require.ErrorIs(t, err, savepointtest.ErrInjected)
		} else if err != nil {
			require.ErrorIs(t, err, savepoint.ErrDiskFull)
		}
	}
	assert.Equal(t, []bool{false, true, false, true, true, false, false}, errs)
	assert.Equal(t, 8, f.Commits())

	f.Inject(savepointtest.Fail(1))
	require.ErrorIs(t, add(), savepoint.ErrInDoubt)
	require.ErrorIs(t, add(), savepoint.ErrStopped)
	assert.EqualValues(t, 5, again())
	for i, stored := range []bool{true, false} {
		f.Inject(savepointtest.InDoubt(1, stored))
		require.ErrorIs(t, add(), savepoint.ErrInDoubt)
		assert.EqualValues(t, 6, again(), "%d", i)
	}
	require.NoError(t, add())
	require.NoError(t, db.Close())
}

func TestFaults_Slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := savepointtest.NewFaults(nil)
		db, s := scores(t, f)
		f.Inject(savepointtest.Slow(time.Minute))
		start := time.Now()
		_, err := s.Append(t.Context(), "g", scored{1})
		require.NoError(t, err)
		assert.Equal(t, time.Minute, time.Since(start))
		f.Heal()
		require.NoError(t, db.Close())
	})
}
