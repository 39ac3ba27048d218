package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// TestStress_AllVerbs lets 16 goroutines use all verbs on a few machines, with Close in between:
//  1. nothing waits for ever, and every Ack resolves;
//  2. what was acknowledged is there after reopening;
//  3. no goroutine is left.
func TestStress_AllVerbs(t *testing.T) {
	for _, file := range []bool{false, true} {
		for _, o := range []savepoint.Options{{}, {Queue: 2, Cache: savepoint.CacheOptions{Machines: 2}}} {
			t.Run(fmt.Sprintf("file %v, queue %d", file, o.Queue), func(t *testing.T) { stress(t, file, o) })
		}
	}
}

// stress is TestStress_AllVerbs on one engine with options.
func stress(t *testing.T, file bool, o savepoint.Options) {
	dog := time.AfterFunc(3*time.Minute, func() {
		buf := make([]byte, 1<<20)
		panic("a goroutine waits for ever:\n" + string(buf[:runtime.Stack(buf, true)]))
	})
	defer dog.Stop()
	before := runtime.NumGoroutine()
	seed, n := modelSeed(t), modelOps(t, 800, 24_000)
	path := filepath.Join(t.TempDir(), "game.db")
	f := newFaulty()
	f.stays = true
	open := func() (*savepoint.DB, []*savepoint.Store[tally]) {
		opt := o
		if !file {
			opt.Engine = f
		}
		db, err := savepoint.Open(path, &opt)
		require.NoError(t, err)
		var stores []*savepoint.Store[tally]
		for _, k := range worldKinds() {
			s, err := savepoint.Register(db, k)
			require.NoError(t, err)
			stores = append(stores, s)
		}
		return db, stores
	}
	db, stores := open()

	// Machines "c…" are only appended to: they count what was acknowledged.
	var acked, sent [5]atomic.Int64
	var wg sync.WaitGroup
	var closing atomic.Int64
	ctx := context.Background()
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			type queued struct {
				k    int
				ack  *savepoint.Ack
				last bool
			}
			var acks []queued
			for i := 0; i < n/16; i++ {
				if g == 0 && i == n/32 {
					closing.Store(1)
					require.NoError(t, db.Close())
				}
				ctx, cancel := context.WithCancel(ctx)
				if r.IntN(20) == 0 {
					cancel() // this caller does not wait
				}
				k := r.IntN(len(stores))
				s, id := stores[k], fmt.Sprint("g", r.IntN(4))
				switch r.IntN(17) {
				case 0:
					_, _ = s.Append(ctx, id, added{N: 1}, savepoint.Key(fmt.Sprint(r.IntN(50))))
				case 1, 2:
					sent[k].Add(1)
					acks = append(acks, queued{k, s.Go(ctx, "c", added{N: 1}), true})
				case 3:
					_, _ = s.Update(ctx, id, func(m *savepoint.Machine[tally]) error {
						if r.IntN(3) == 0 {
							return errCallback
						}
						return m.Append(added{N: 1}, added{N: m.State().Sum % 7})
					})
				case 4:
					_, _ = s.Save(ctx, id, tally{Phase: "any", Sum: 3})
				case 5:
					_ = db.Update(ctx, func(tx *savepoint.Tx) error {
						for range 3 {
							m, err := stores[r.IntN(len(stores))].In(tx, fmt.Sprint("g", r.IntN(4)))
							if err != nil {
								return err
							}
							if r.IntN(2) == 0 {
								if err := m.Append(added{N: 2}); err != nil {
									return err
								}
							}
						}
						return nil
					})
				case 6:
					_, _ = s.Snapshot(ctx, id, savepoint.Tag("x"))
				case 7:
					_, _ = s.DeleteSnapshot(ctx, id, uint64(r.IntN(20)))
				case 8:
					_, _ = s.Delete(ctx, id)
				case 9:
					_ = s.Purge(ctx, id)
				case 10:
					_, _ = s.Fork(ctx, id, savepoint.Latest(), fmt.Sprint("g", r.IntN(4)))
				case 11:
					_, _ = s.Mark(ctx, id, 1, errCallback)
				case 12:
					_, _ = s.Recover(ctx, id, savepoint.RecoverOptions{To: savepoint.AtSeq(uint64(r.IntN(20))), Else: []savepoint.Point{savepoint.BeforeError()}})
				case 13:
					_, _ = s.Load(ctx, id)
					_ = s.View(ctx, id, func(st *savepoint.State[tally]) error { _ = st.Value.Sum; return nil })
				case 14:
					for _, err := range s.Events(ctx, "c", savepoint.EventRange{}) {
						if err != nil {
							break
						}
					}
					_, _ = s.At(ctx, id, savepoint.AtTime(time.Now()))
				case 15:
					// A machine that is purged and written again between two loads may seem damaged; one that only grows may not.
					if rep, err := s.Verify(ctx, "c"); errors.Is(err, savepoint.ErrCorrupt) || err == nil && !rep.OK() {
						t.Errorf("verify: %v %v", rep, err)
					}
				case 16:
					_ = db.Flush(ctx)
					_ = db.Stats()
					_, _ = db.RecoverAll(ctx, savepoint.RecoverAllOptions{DryRun: true})
					for range s.List(ctx, savepoint.ListOptions{}) {
						break
					}
				}
				cancel()
			}
			for _, a := range acks {
				if a.ack.Err() == nil {
					acked[a.k].Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, closing.Load())
	db, stores = open()
	for k, s := range stores {
		st, err := s.Load(ctx, "c")
		if acked[k].Load() > 0 {
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, int64(st.Value.Count), acked[k].Load(), "acknowledged")
		require.LessOrEqual(t, int64(st.Value.Count), sent[k].Load())
	}
	rep, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{})
	require.NoError(t, err)
	require.Empty(t, rep.Failed)
	require.NoError(t, db.Close())
	for range 1_000_000 {
		if runtime.NumGoroutine() <= before {
			break
		}
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	require.Empty(t, f.broken)
}
