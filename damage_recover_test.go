package savepoint_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
	"github.com/liap-tui/savepoint/report"
)

// TestDamage_Recover_Partial damages one event of one machine:
//  1. that machine is quarantined, others serve;
//  2. nothing is given up unless RecoverOptions.Partial asks for it;
//  3. a partial recovery keeps the longest good prefix and everything that is written later, also after reopening;
//  4. what was given up is named as a gap, and no point in it shows another state.
//
// row A11, E4, G11, G17, G20
func TestDamage_Recover_Partial(t *testing.T) {
	for _, st := range []savepoint.Strategy{savepoint.Hybrid, savepoint.EventSourced, savepoint.Versioned} {
		t.Run(st.String(), func(t *testing.T) {
			k := ledgerKind(-1)
			k.Strategy = st
			path := ledgers(t, k, nil, 100, "a", "b")
			spoil(t, path, "events", "a", 58)
			db, s := reopen(t, path, k, nil)
			ctx := t.Context()

			for range 2 {
				_, err := s.Load(ctx, "a")
				says(t, err, savepoint.ErrQuarantined, `"a"`, "event 58", "since")
				var c *savepoint.CorruptError
				require.ErrorAs(t, err, &c)
				assert.Equal(t, [4]any{"ledger", "a", "event", uint64(58)}, [4]any{c.Kind, c.ID, c.Part, c.Seq})
				_, err = s.Append(ctx, "a", entry(101))
				require.ErrorIs(t, err, savepoint.ErrQuarantined)
				well(t, s, "b", 100)
			}
			list := db.Quarantined()
			require.Len(t, list, 1)
			assert.Equal(t, "ledger", list[0].Kind)
			assert.Equal(t, "a", list[0].ID)
			assert.False(t, list[0].Since.IsZero())
			require.ErrorIs(t, list[0].Cause, savepoint.ErrCorrupt)
			assert.Equal(t, 1, db.Stats().Quarantined)

			at57, err := s.At(ctx, "a", savepoint.AtSeq(57))
			require.NoError(t, err, "the point is before the damage")
			assert.Equal(t, after(57), at57.Value)
			for _, seq := range []uint64{58, 59, 100} {
				_, err = s.At(ctx, "a", savepoint.AtSeq(seq))
				require.ErrorIs(t, err, savepoint.ErrCorrupt)
			}
			g := history(t, s, "a", savepoint.EventRange{})
			assert.Equal(t, slices.Concat(fromTo(1, 57), fromTo(59, 100)), g.seqs)
			require.Len(t, g.gaps, 1)
			assert.Equal(t, [2]uint64{58, 58}, [2]uint64{g.gaps[0].From, g.gaps[0].To})
			require.Error(t, g.gaps[0].Why)
			_, err = s.Verify(ctx, "a")
			require.ErrorIs(t, err, savepoint.ErrCorrupt)

			rep, err := s.Recover(ctx, "a", savepoint.RecoverOptions{})
			require.ErrorIs(t, err, savepoint.ErrCorrupt, "nothing is given up without Partial")
			require.NotNil(t, rep)
			assert.Equal(t, report.Failed, rep.Status)
			require.NotEmpty(t, rep.Tried)
			assert.EqualValues(t, 57, rep.Tried[0].Good)
			assert.Len(t, db.Quarantined(), 1)

			groups := db.Stats().Groups
			dry, err := s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true, DryRun: true})
			require.NoError(t, err)
			assert.Equal(t, groups, db.Stats().Groups, "a dry run writes nothing")
			assert.Len(t, db.Quarantined(), 1)
			_, err = s.Load(ctx, "a")
			require.ErrorIs(t, err, savepoint.ErrQuarantined)

			rep, err = s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true, Reason: "a bad disk", Actor: "ann"})
			require.NoError(t, err)
			for _, r := range []*report.Recover{dry, rep} {
				assert.Equal(t, report.Partial, r.Status)
				assert.Equal(t, []uint64{57, 100, 58, 100}, []uint64{r.Seq, r.Head, r.LostFrom, r.LostTo})
				assert.Contains(t, r.String(), "records 58 to 100 given up")
			}
			assert.True(t, dry.DryRun)
			assert.Zero(t, dry.Restored)
			assert.EqualValues(t, 101, rep.Restored)
			assert.Empty(t, db.Quarantined())

			_, err = s.Append(ctx, "a", entry(58))
			require.NoError(t, err)
			for turn := range 4 {
				switch turn {
				case 1, 2: // the file is closed and opened again
					require.NoError(t, db.Close())
					if turn == 2 { // without the snapshot of the recovery its record alone has the state
						remove(t, path, "snapshots", "a", 101)
					}
					db, s = reopen(t, path, k, nil)
				case 3:
					require.NoError(t, db.Close())
					o := &savepoint.Options{ReadOnly: true}
					db, s = reopen(t, path, k, o)
				}
				st, err := s.Load(ctx, "a")
				require.NoError(t, err)
				assert.EqualValues(t, 102, st.Seq)
				assert.Equal(t, after(58), st.Value)
				for seq := range uint64(104) {
					st, err := s.At(ctx, "a", savepoint.AtSeq(seq))
					switch {
					case seq <= 57:
						require.NoError(t, err)
						assert.Equal(t, after(int(seq)), st.Value)
					case seq == 101 || seq == 102:
						require.NoError(t, err)
						assert.Equal(t, after(int(seq)-44), st.Value)
					default:
						require.ErrorIs(t, err, savepoint.ErrNoPoint)
						var gap *savepoint.GapError
						if seq <= 100 {
							require.ErrorAs(t, err, &gap)
							assert.Equal(t, savepoint.GapError{From: 58, To: 100}, *gap)
							says(t, err, nil, "58 to 100", "given up by a recovery")
						}
					}
				}
				g := history(t, s, "a", savepoint.EventRange{})
				assert.Equal(t, gone{seqs: append(fromTo(1, 57), 101, 102), gaps: []savepoint.GapError{{From: 58, To: 100}}}, g)
				g = history(t, s, "a", savepoint.EventRange{Newest: true})
				slices.Reverse(g.seqs)
				assert.Equal(t, gone{seqs: append(fromTo(1, 57), 101, 102), gaps: []savepoint.GapError{{From: 58, To: 100}}}, g)
				g = history(t, s, "a", savepoint.EventRange{After: 70, To: 101})
				assert.Equal(t, gone{seqs: []uint64{101}, gaps: []savepoint.GapError{{From: 71, To: 100}}}, g)
				before, err := s.At(ctx, "a", savepoint.BeforeError())
				require.NoError(t, err)
				assert.EqualValues(t, 57, before.Seq)
				var recoveries []savepoint.Recovery
				for r, err := range s.Recoveries(ctx, "a") {
					require.NoError(t, err)
					recoveries = append(recoveries, r)
				}
				require.Len(t, recoveries, 1)
				assert.EqualValues(t, 101, recoveries[0].Seq)
				assert.Equal(t, "ann", recoveries[0].Actor)
				assert.Equal(t, savepoint.OriginRecovery, recoveries[0].Origin)
				assert.Equal(t, report.Partial, recoveries[0].Report.Status)
				assert.EqualValues(t, 100, recoveries[0].Report.LostTo)
				assert.Equal(t, "a bad disk", recoveries[0].Report.Reason)
				v, err := s.Verify(ctx, "a")
				require.NoError(t, err)
				assert.True(t, v.OK(), "%v", v.Divergences)
				assert.Equal(t, []report.Gap{{From: 58, To: 100}}, v.Gaps)
				well(t, s, "b", 100)
			}
		})
	}
}

// TestDamage_Recover_PartialTwice recovers a machine partially two times: both gaps stay listed, and no point in them is reached.
func TestDamage_Recover_PartialTwice(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 10, "a")
	ctx := t.Context()
	spoil(t, path, "events", "a", 4)
	db, s := reopen(t, path, k, nil)
	_, err := s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	write(t, s, "a", 4, 9) // seqs 12 to 17
	require.NoError(t, db.Close())
	spoil(t, path, "events", "a", 15)
	_, s = reopen(t, path, k, nil)
	_, err = s.Recover(ctx, "a", savepoint.RecoverOptions{Partial: true})
	require.NoError(t, err)
	st, err := s.Load(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, after(6), st.Value)
	g := history(t, s, "a", savepoint.EventRange{})
	assert.Equal(t, gone{seqs: []uint64{1, 2, 3, 11, 12, 13, 14, 18}, gaps: []savepoint.GapError{{From: 4, To: 10}, {From: 15, To: 17}}}, g)
	v, err := s.Verify(ctx, "a")
	require.NoError(t, err)
	assert.True(t, v.OK())
	rep, err := s.Recover(ctx, "a", savepoint.RecoverOptions{To: savepoint.AtSeq(16), Else: []savepoint.Point{savepoint.AtSeq(5), savepoint.AtSeq(13)}})
	require.NoError(t, err)
	assert.EqualValues(t, 13, rep.Seq)
	_, err = s.Recover(ctx, "a", savepoint.RecoverOptions{To: savepoint.AtSeq(16)})
	require.ErrorIs(t, err, savepoint.ErrNoPoint)
}

// TestDamage_RecoverAll recovers many machines with several workers: it reports progress, healthy, recovered and failed ones,
// selects by kind and time, and a dry run writes nothing.
// row D14, G18, J7
func TestDamage_RecoverAll(t *testing.T) {
	c := newClock()
	o := &savepoint.Options{Now: c.Now}
	k := ledgerKind(-1)
	path := filepath.Join(t.TempDir(), "game.db")
	db, s := reopen(t, path, k, o)
	docs, err := savepoint.Register(db, document.Kind("wallet"))
	require.NoError(t, err)
	ctx := t.Context()
	start := c.Now()
	for i := range 12 {
		c.turn(time.Hour)
		write(t, s, fmt.Sprintf("m-%02d", i), 1, 5)
	}
	_, err = docs.Save(ctx, "w", savepoint.Doc{"coins": 1})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for _, i := range []int{3, 7, 9} {
		spoil(t, path, "events", fmt.Sprintf("m-%02d", i), 3)
	}
	db, s = reopen(t, path, k, o)
	docs, err = savepoint.Register(db, document.Kind("wallet"))
	require.NoError(t, err)

	var progress []int
	rep, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{Workers: 3, Progress: func(done, total int) {
		assert.Equal(t, 13, total)
		progress = append(progress, done)
	}})
	require.NoError(t, err)
	assert.Equal(t, []int{13, 10, 0, 3}, []int{rep.Machines, rep.Healthy, rep.Recovered, len(rep.Failed)})
	assert.Len(t, progress, 13)
	assert.True(t, slices.IsSorted(progress))
	for _, f := range rep.Failed {
		assert.Equal(t, report.Failed, f.Status)
		require.NotEmpty(t, f.Tried)
		assert.EqualValues(t, 2, f.Tried[0].Good)
		assert.Contains(t, []string{"m-03", "m-07", "m-09"}, f.ID)
	}
	var ids []string
	for _, q := range db.Quarantined() {
		ids = append(ids, q.ID)
	}
	assert.Equal(t, []string{"m-03", "m-07", "m-09"}, ids)
	assert.Zero(t, db.Stats().Groups, "nothing was written")

	rep, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Kinds: []string{"ledger"}, Since: start.Add(5 * time.Hour), Until: start.Add(9 * time.Hour)})
	require.NoError(t, err)
	assert.Equal(t, 5, rep.Machines, "the machines written in hours 5 to 9")
	assert.Len(t, rep.Failed, 1, "m-07 was written in hour 8")
	rep, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Kinds: []string{"wallet"}})
	require.NoError(t, err)
	assert.Equal(t, 1, rep.Machines)

	rep, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Partial: true, DryRun: true})
	require.NoError(t, err)
	assert.Equal(t, 3, rep.Recovered, "a dry run reports what it would recover")
	assert.Zero(t, db.Stats().Groups)
	rep, err = db.RecoverAll(ctx, savepoint.RecoverAllOptions{Partial: true, Until: start.Add(9 * time.Hour), Workers: 2})
	require.NoError(t, err)
	assert.Equal(t, []int{9, 7, 2, 0}, []int{rep.Machines, rep.Healthy, rep.Recovered, len(rep.Failed)})
	assert.Len(t, db.Quarantined(), 1)
	for _, id := range []string{"m-03", "m-07"} {
		st, err := s.Load(ctx, id)
		require.NoError(t, err)
		assert.Equal(t, after(2), st.Value)
		assert.EqualValues(t, 6, st.Seq)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = db.RecoverAll(cancelled, savepoint.RecoverAllOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = docs.Load(ctx, "w")
	require.NoError(t, err)
}

// messages is a handler of a log that sends each message to what.
type messages struct {
	slog.Handler
	what chan string
}

func (h messages) Handle(_ context.Context, r slog.Record) error { h.what <- r.Message; return nil }

func (h messages) Enabled(context.Context, slog.Level) bool { return true }

// TestDamage_RecoverAll_InTheBackground opens a file that was not closed: all machines are checked in the background, and a
// damaged one is quarantined before anybody reads it. After a clean close, and with NoRecoverAll, nothing is checked.
// row B19
func TestDamage_RecoverAll_InTheBackground(t *testing.T) {
	k := ledgerKind(-1)
	path := filepath.Join(t.TempDir(), "game.db")
	_, s := reopen(t, path, k, &savepoint.Options{Journal: -1})
	write(t, s, "a", 1, 9)
	write(t, s, "b", 1, 9)
	unclean := copied(t, path) // the file as a crash leaves it
	spoil(t, unclean, "events", "a", 5)
	rebuilt := func(path string, o savepoint.Options) bool {
		t.Helper()
		h := messages{slog.DiscardHandler, make(chan string, 100)}
		o.Logger = slog.New(h)
		db, s := reopen(t, path, k, &o)
		well(t, s, "b", 9)
		found := false
		if !o.NoRecoverAll && path == unclean {
			for m := range h.what {
				if found = strings.HasPrefix(m, "rebuilt all machines"); found {
					require.Len(t, db.Quarantined(), 1, "it is quarantined before anybody reads it")
					break
				}
			}
		}
		require.NoError(t, db.Close())
		close(h.what)
		for m := range h.what {
			found = found || strings.HasPrefix(m, "rebuilt all machines")
		}
		return found
	}
	again := copied(t, unclean)
	assert.True(t, rebuilt(unclean, savepoint.Options{}))
	assert.False(t, rebuilt(again, savepoint.Options{NoRecoverAll: true}))
	again = copied(t, unclean) // it has been closed by now
	assert.False(t, rebuilt(again, savepoint.Options{}), "the file was closed cleanly")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.NotEmpty(t, b)
}

// TestDamage_Recover_RefusedWrite recovers to the longest good prefix where the write is refused: the report names no record as
// restored or given up.
func TestDamage_Recover_RefusedWrite(t *testing.T) {
	k := ledgerKind(-1)
	path := ledgers(t, k, nil, 7, "a")
	spoil(t, path, "events", "a", 5)
	_, s := reopen(t, path, k, &savepoint.Options{MaxState: 1})
	rep, err := s.Recover(t.Context(), "a", savepoint.RecoverOptions{Partial: true})
	require.ErrorIs(t, err, savepoint.ErrTooLarge)
	assert.Equal(t, report.Failed, rep.Status)
	assert.Equal(t, []uint64{4, 0, 0, 0}, []uint64{rep.Seq, rep.Restored, rep.LostFrom, rep.LostTo})
	assert.Equal(t, []uint64{1, 2, 3, 4, 6, 7}, history(t, s, "a", savepoint.EventRange{}).seqs)
}
