package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// tally is a state that shows each event it went through.
type tally struct {
	Phase string
	Count int
	Sum   int64
	Slots map[string]int64
	Last  []int64 // the last five
	By    string  // actor, key and time of the newest event, as Apply saw them
}

type added struct {
	N    int64
	Slot string
}

var errOdd = errors.New("no odd number while the phase is even")

func (e added) Check(t *tally, _ savepoint.Meta) error {
	if t.Phase == "even" && e.N%2 != 0 {
		return errOdd
	}
	return nil
}

func (e added) Apply(t *tally, m savepoint.Meta) error {
	t.Count++
	t.Sum += e.N
	if e.N == failsInApply {
		return errors.New("fails in Apply")
	}
	if e.Slot != "" {
		if t.Slots == nil {
			t.Slots = map[string]int64{}
		}
		t.Slots[e.Slot] += e.N
	}
	t.Last = append(t.Last, e.N)
	if len(t.Last) > 5 {
		t.Last = t.Last[1:]
	}
	t.By = fmt.Sprintf("%s/%s/%d/%d", m.Actor, m.Key, m.Time.UnixMicro(), m.Seq)
	return nil
}

const failsInApply = 666

// turned changes the phase; it is an event by pointer that holds more than
// plain values.
type turned struct {
	To   string
	More map[string]int64
}

func (e *turned) Apply(t *tally, _ savepoint.Meta) error {
	t.Phase = e.To
	for k, n := range e.More {
		if t.Slots == nil {
			t.Slots = map[string]int64{}
		}
		t.Slots[k] = n
	}
	return nil
}

func tallyKind(name string, st savepoint.Strategy, p savepoint.SnapshotPolicy) savepoint.Kind[tally] {
	return savepoint.Kind[tally]{
		Name: name, Strategy: st, Snapshot: p,
		Events: savepoint.Events[tally]{"added": added{}, "turned": &turned{}},
		New:    func() tally { return tally{Phase: "any"} },
		Phase:  func(t *tally) string { return t.Phase },
		Legal:  map[string][]string{"any": {"even", "end"}, "even": {"any"}, "end": {"any"}},
		Validate: func(t *tally) error {
			if t.Sum < -1_000_000 {
				return errors.New("the sum is too low")
			}
			return nil
		},
	}
}

// faulty is an engine around another one that fails where a test wants it to,
// and that checks how the library uses it.
type faulty struct {
	engine.Engine
	stays bool // Close leaves the engine within open

	mu      sync.Mutex
	writing bool // a Commit or SetNote runs
	broken  []string
	commits int
	refuse  func(commit, step int, s engine.Step) error       // one step
	fail    func(commit int) (stored bool, err error)         // the whole Commit
	damage  func(machine string, it *engine.Item) (lost bool) // an item that is read
	head    func(machine string) error                        // a head that is read
	loaded  func(machine string, want engine.LoadRange)       // after each Load
	gate    chan struct{}                                     // a Commit waits for it, if not nil
	delay   func()                                            // runs within each Commit
}

func newFaulty() *faulty { return &faulty{Engine: memory.New()} }

func (f *faulty) begin(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writing {
		f.broken = append(f.broken, what+" while another write runs")
	}
	f.writing = true
}

func (f *faulty) end() {
	f.mu.Lock()
	f.writing = false
	f.mu.Unlock()
}

// set changes the faults.
func (f *faulty) set(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
}

func (f *faulty) Commit(ctx context.Context, steps []engine.Step, out []engine.Result) error {
	f.begin("Commit")
	defer f.end()
	f.mu.Lock()
	n, refuse, fail, gate, delay := f.commits, f.refuse, f.fail, f.gate, f.delay
	f.commits++
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if delay != nil {
		delay()
	}
	stored, err := true, error(nil)
	if fail != nil {
		stored, err = fail(n)
	}
	if !stored {
		return err
	}
	// A machine of which one step was refused takes no other one in this group:
	// that step was made for a state that is not there.
	refused := map[string]bool{}
	for i := range steps {
		var why error
		if refuse != nil {
			why = refuse(n, i, steps[i])
		}
		for _, w := range steps[i].Writes {
			if refused[w.Machine] && why == nil {
				why = &engine.Conflict{Machine: w.Machine, Want: w.Expect, Have: w.Expect + 1}
			}
		}
		if why == nil {
			if err := f.Engine.Commit(ctx, steps[i:i+1], out[i:i+1]); err != nil {
				return err
			}
			why = out[i].Err
		}
		if why != nil {
			out[i] = engine.Result{Err: why}
			for _, w := range steps[i].Writes {
				refused[w.Machine] = true
			}
		}
	}
	return err
}

func (f *faulty) SetNote(ctx context.Context, name string, value []byte) error {
	f.begin("SetNote")
	defer f.end()
	return f.Engine.SetNote(ctx, name, value)
}

func (f *faulty) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	f.mu.Lock()
	damage, bad, loaded := f.damage, f.head, f.loaded
	f.mu.Unlock()
	h, err := f.Engine.Load(ctx, machine, want, func(it engine.Item) error {
		if damage != nil && damage(machine, &it) {
			return nil
		}
		return fn(it)
	})
	if err == nil && bad != nil {
		if why := bad(machine); why != nil {
			h, err = engine.Head{}, &engine.Damage{Machine: machine, Part: "head", Why: why}
		}
	}
	if loaded != nil {
		loaded(machine, want)
	}
	return h, err
}

func (f *faulty) Close() error {
	if f.stays {
		return nil
	}
	return f.Engine.Close()
}

// openFaulty opens a database on f and registers a kind.
func openFaulty(t testing.TB, f *faulty, o savepoint.Options, k savepoint.Kind[tally]) (*savepoint.DB, *savepoint.Store[tally]) {
	t.Helper()
	o.Engine = f
	db, err := savepoint.Open("faulty", &o)
	require.NoError(t, err)
	s, err := savepoint.Register(db, k)
	require.NoError(t, err)
	return db, s
}

var (
	noPolicy = savepoint.SnapshotPolicy{Events: -1, Every: -1, NoClose: true}
	errDisk  = errors.New("the disk failed")
)

// bubble runs a test with a clock of its own, in which a wait that never ends
// is found out at once.
func bubble(t *testing.T, fn func(t *testing.T, ctx context.Context)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		fn(t, ctx)
	})
}

func snapshotOnly(every time.Duration) savepoint.Kind[tally] {
	return tallyKind("tally", savepoint.SnapshotOnly, savepoint.SnapshotPolicy{Events: -1, Every: every, Keep: 3, NoClose: true})
}

func TestStore_RecoverAndPurge_UnsavedWritesAndAQueueOfOne(t *testing.T) {
	for _, what := range []string{"recover", "purge"} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context) {
				db, s := openFaulty(t, newFaulty(), savepoint.Options{Queue: 1}, snapshotOnly(-1))
				defer db.Close()
				a := s.Go(ctx, "g", added{N: 1})
				var err error
				if what == "recover" {
					_, err = s.Recover(ctx, "g", savepoint.RecoverOptions{})
				} else {
					err = s.Purge(ctx, "g")
				}
				require.NoError(t, err)
				require.NoError(t, a.Err())
			})
		})
	}
}

func TestStore_Purge_CallerStopsWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		gate := make(chan struct{})
		f.set(func() { f.gate = gate })
		short, cancel := context.WithCancel(ctx)
		purged := make(chan error, 1)
		go func() { purged <- s.Purge(short, "g") }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-purged, savepoint.ErrInDoubt)
		loaded := make(chan error, 1)
		go func() {
			_, err := s.Load(ctx, "g")
			loaded <- err
		}()
		synctest.Wait()
		close(gate)
		require.ErrorIs(t, <-loaded, savepoint.ErrNotFound)
		_, err = s.Load(ctx, "g")
		require.ErrorIs(t, err, savepoint.ErrNotFound)
		h, err := s.Append(ctx, "g", added{N: 2}, savepoint.IfSeq(0))
		require.NoError(t, err)
		assert.EqualValues(t, 1, h.Seq)
	})
}

func TestStore_View_NotDurable(t *testing.T) {
	// What was seen and then not stored is not told as durable, whatever the
	// engine's reason.
	for _, why := range []error{errDisk, savepoint.ErrClosed, savepoint.ErrDiskFull} {
		bubble(t, func(t *testing.T, ctx context.Context) {
			f := newFaulty()
			db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
			defer db.Close()
			gate := make(chan struct{})
			f.set(func() {
				f.gate = gate
				f.fail = func(int) (bool, error) { return false, fmt.Errorf("%w: %w", engine.ErrNothingStored, why) }
			})
			a := s.Go(ctx, "g", added{N: 1})
			viewed := make(chan error, 1)
			go func() { viewed <- s.View(ctx, "g", func(*savepoint.State[tally]) error { return nil }) }()
			synctest.Wait()
			close(gate)
			require.ErrorIs(t, a.Err(), why)
			require.ErrorIs(t, <-viewed, why)
		})
	}
}

func TestStrategy_SnapshotOnly_WritesThatChangeNothing(t *testing.T) {
	// They do not wait for an interval, and what they saw is durable.
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, snapshotOnly(-1))
		defer db.Close()
		a := s.Go(ctx, "g", added{N: 1})
		h, err := s.Update(ctx, "g", func(*savepoint.Machine[tally]) error { return nil })
		require.NoError(t, err)
		assert.EqualValues(t, 1, h.Seq)
		require.NoError(t, a.Err())
		a = s.Go(ctx, "g", added{N: 1})
		found, err := s.DeleteSnapshot(ctx, "g", 77)
		require.NoError(t, err)
		assert.False(t, found)
		require.NoError(t, a.Err())
		a = s.Go(ctx, "g", added{N: 2}, savepoint.Key("k"))
		h, err = s.Append(ctx, "g", added{N: 2}, savepoint.Key("k"))
		require.NoError(t, err, "the first result, made durable")
		assert.EqualValues(t, 3, h.Seq)
		require.NoError(t, a.Err())
	})
}

func TestStrategy_SnapshotOnly_DeleteSnapshotStoresTheState(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		f.stays = true
		db, s := openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
		for range 2 {
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
		}
		a := s.Go(ctx, "g", added{N: 5})
		found, err := s.DeleteSnapshot(ctx, "g", 1)
		require.NoError(t, err)
		assert.True(t, found)
		require.NoError(t, a.Err())
		require.NoError(t, db.Close())
		db, s = openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
		defer db.Close()
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.EqualValues(t, 7, st.Value.Sum)
	})
}

func TestStrategy_SnapshotOnly_EveryAckIsAnswered(t *testing.T) {
	// Also when nothing can be written any more.
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		a := s.Go(ctx, "g", added{N: 1})
		f.set(func() { f.fail = func(int) (bool, error) { return false, errDisk } })
		_, err = s.Append(ctx, "other", added{N: 1})
		require.ErrorIs(t, err, savepoint.ErrInDoubt)
		require.NoError(t, db.Close())
		_, err = a.Wait(ctx)
		require.ErrorIs(t, err, savepoint.ErrStopped)
	})
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, snapshotOnly(-1))
		a := s.Go(ctx, "g", added{N: 1})
		over, cancel := context.WithCancel(ctx)
		cancel()
		require.Error(t, db.Shutdown(over))
		_, err := a.Wait(ctx)
		require.ErrorIs(t, err, savepoint.ErrClosed)
	})
}

func TestStrategy_SnapshotOnly_BehindAFailedWrite(t *testing.T) {
	// Unsaved writes behind a queued one that fails are aborted, after it, and
	// nobody is told that they are durable.
	bubble(t, func(t *testing.T, ctx context.Context) {
		for _, what := range []string{"flush", "view", "append"} {
			f := newFaulty()
			db, s := openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
			gate := make(chan struct{})
			f.set(func() {
				f.gate = gate
				f.refuse = func(n, _ int, _ engine.Step) error {
					if n == 1 {
						return errDisk
					}
					return nil
				}
			})
			first := make(chan error, 1)
			go func() {
				_, err := s.Append(ctx, "g", added{N: 2})
				first <- err
			}()
			synctest.Wait()
			a := s.Go(ctx, "g", added{N: 3})
			done := make(chan error, 1)
			go func() {
				var err error
				switch what {
				case "flush":
					err = db.Flush(ctx)
				case "view":
					err = s.View(ctx, "g", func(st *savepoint.State[tally]) error { return nil })
				case "append":
					_, err = s.Append(ctx, "g", added{N: 4})
				}
				done <- err
			}()
			synctest.Wait()
			close(gate)
			require.ErrorIs(t, <-first, errDisk)
			require.ErrorIs(t, a.Err(), savepoint.ErrAborted)
			require.ErrorIs(t, <-done, savepoint.ErrAborted, what)
			st, err := s.Load(ctx, "g")
			require.NoError(t, err)
			assert.EqualValues(t, 1, st.Value.Sum)
			require.NoError(t, db.Close())
		}
	})
}

func TestStore_CallbackEndsItsGoroutine(t *testing.T) {
	// A test that fails within a callback ends its goroutine: nothing stays
	// locked, no place stays taken, nothing of the callback stays.
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{Queue: 1}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		for _, call := range []func(){
			func() {
				_, _ = s.Update(ctx, "g", func(m *savepoint.Machine[tally]) error {
					_ = m.Append(added{N: 5})
					runtime.Goexit()
					return nil
				})
			},
			func() {
				_ = db.Update(ctx, func(tx *savepoint.Tx) error {
					m, _ := s.In(tx, "g")
					_ = m.Append(added{N: 5})
					runtime.Goexit()
					return nil
				})
			},
			func() {
				_ = s.View(ctx, "g", func(*savepoint.State[tally]) error {
					runtime.Goexit()
					return nil
				})
			},
		} {
			var wg sync.WaitGroup
			wg.Add(1)
			go func() {
				defer wg.Done()
				call()
			}()
			wg.Wait()
			st, err := s.Load(ctx, "g")
			require.NoError(t, err)
			assert.EqualValues(t, 1, st.Value.Sum)
			h, err := s.Update(ctx, "g", func(*savepoint.Machine[tally]) error { return nil })
			require.NoError(t, err)
			assert.EqualValues(t, 1, h.Seq)
		}
		require.NoError(t, db.Close())
	})
}

func TestEvent_ApplySeesTheMetaThatIsStored(t *testing.T) {
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

func TestDB_Update_RestsOnWhatItRead(t *testing.T) {
	// A machine that was only looked at has to become durable too, or the rest
	// is aborted.
	for _, strategy := range []savepoint.Strategy{savepoint.Hybrid, savepoint.SnapshotOnly} {
		bubble(t, func(t *testing.T, ctx context.Context) {
			f := newFaulty()
			db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", strategy, savepoint.SnapshotPolicy{Events: -1, Every: -1, NoClose: true}))
			defer db.Close()
			for _, id := range []string{"a", "b"} {
				_, err := s.Append(ctx, id, added{N: 1})
				require.NoError(t, err)
			}
			read := func(tx *savepoint.Tx, id string) int64 {
				m, err := s.In(tx, id)
				require.NoError(t, err)
				return m.State().Sum
			}
			gate := make(chan struct{})
			f.set(func() {
				f.gate = gate
				f.refuse = func(n, i int, st engine.Step) error {
					if n >= 2 && i == 0 && n < 4 {
						return errDisk
					}
					return nil
				}
			})
			a := s.GoUpdate(ctx, "a", func(m *savepoint.Machine[tally]) error { return m.Append(added{N: 10}) })
			errs := make(chan error, 2)
			go func() {
				errs <- db.Update(ctx, func(tx *savepoint.Tx) error {
					n := read(tx, "a")
					m, err := s.In(tx, "b")
					require.NoError(t, err)
					return m.Append(added{N: n})
				})
			}()
			synctest.Wait()
			go func() {
				errs <- db.Update(ctx, func(tx *savepoint.Tx) error { read(tx, "a"); return nil })
			}()
			synctest.Wait()
			close(gate)
			require.Error(t, a.Err())
			require.Error(t, <-errs)
			require.Error(t, <-errs)
			st, err := s.Load(ctx, "b")
			require.NoError(t, err)
			assert.EqualValues(t, 1, st.Value.Sum, "nothing rests on what was never stored")
		})
	}
}

func TestDB_Update_InTwice(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		err := db.Update(ctx, func(tx *savepoint.Tx) error {
			if _, err := s.In(tx, "a"); err != nil {
				return err
			}
			m, err := s.In(tx, "a", savepoint.IfSeq(7))
			if err != nil {
				return err
			}
			return m.Append(added{N: 1})
		})
		require.ErrorIs(t, err, savepoint.ErrConflict)
	})
}

func TestStore_Update_ThatOnlyLooks_TellsItsOwnHead(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		gate := make(chan struct{})
		f.set(func() { f.gate = gate })
		across := make(chan error, 1)
		go func() {
			across <- db.Update(ctx, func(tx *savepoint.Tx) error {
				m, err := s.In(tx, "a")
				if err != nil {
					return err
				}
				return m.Append(added{N: 1})
			})
		}()
		synctest.Wait()
		a := s.GoUpdate(ctx, "a", func(*savepoint.Machine[tally]) error { return nil })
		close(gate)
		h, err := a.Wait(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 1, h.Seq)
		assert.Equal(t, "a", h.ID)
		require.NoError(t, <-across)
	})
}

func TestSnapshot_RefusedWritesDoNotDisturbPruning(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, savepoint.SnapshotPolicy{Events: 1, Every: -1, Keep: 2, NoClose: true}))
		defer db.Close()
		gate := make(chan struct{})
		f.set(func() { f.gate = gate })
		for i := range 12 {
			s.Go(ctx, "g", added{N: int64(i)})
			_, err := s.Append(ctx, "g", added{N: failsInApply})
			require.Error(t, err)
		}
		close(gate)
		require.NoError(t, db.Flush(ctx))
		var got []uint64
		for info, err := range s.Snapshots(ctx, "g", savepoint.SnapshotRange{}) {
			require.NoError(t, err)
			got = append(got, info.Seq)
		}
		assert.Equal(t, []uint64{0, 11, 12}, got)
	})
}

func TestSnapshot_AgainAtTheSameRecord_KeepsTheTags(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		_, err = s.Snapshot(ctx, "g", savepoint.Tag("release"))
		require.NoError(t, err)
		info, err := s.Snapshot(ctx, "g", savepoint.Tag("other"))
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"release", "other"}, info.Tags)
		_, err = s.Snapshot(ctx, "g")
		require.NoError(t, err)
		n := 0
		for range s.Snapshots(ctx, "g", savepoint.SnapshotRange{Tag: "release"}) {
			n++
		}
		assert.Equal(t, 1, n)
	})
}

func TestStore_DeleteSnapshot_Damaged(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		f.stays = true
		k := tallyKind("tally", savepoint.Hybrid, noPolicy)
		db, s := openFaulty(t, f, savepoint.Options{}, k)
		for range 3 {
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
			_, err = s.Snapshot(ctx, "g")
			require.NoError(t, err)
		}
		require.NoError(t, db.Close())
		f.set(func() {
			f.damage = func(m string, it *engine.Item) bool {
				if it.Part == engine.PartSnapshot && it.Seq == 2 {
					it.Bytes, it.Err = nil, &engine.Damage{Machine: m, Part: "snapshot", Seq: 2, Why: errDisk}
				}
				return false
			}
		})
		db, s = openFaulty(t, f, savepoint.Options{}, k)
		defer db.Close()
		found, err := s.DeleteSnapshot(ctx, "g", 2)
		require.NoError(t, err)
		assert.True(t, found)
		_, err = s.Verify(ctx, "g")
		require.NoError(t, err)
	})
}

func TestStore_Recover_KeepsTheKeys(t *testing.T) {
	// A retry of a write that was rolled back finds the first result, with and
	// without the snapshot of the recovery.
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		f.stays = true
		k := tallyKind("tally", savepoint.Hybrid, noPolicy)
		db, s := openFaulty(t, f, savepoint.Options{}, k)
		for i := range 5 {
			_, err := s.Append(ctx, "g", added{N: int64(i)}, savepoint.Key(fmt.Sprint(i)))
			require.NoError(t, err)
		}
		rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(2)})
		require.NoError(t, err)
		again := func() {
			t.Helper()
			for i := range 5 {
				h, err := s.Append(ctx, "g", added{N: int64(i)}, savepoint.Key(fmt.Sprint(i)))
				require.NoError(t, err)
				assert.EqualValues(t, i+1, h.Seq)
			}
		}
		again()
		require.NoError(t, db.Close())
		db, s = openFaulty(t, f, savepoint.Options{}, k)
		again()
		_, err = s.DeleteSnapshot(ctx, "g", rep.Restored)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		db, s = openFaulty(t, f, savepoint.Options{}, k)
		again()
		require.NoError(t, db.Close())
	})
}

func TestStore_Recover_ToAStateThatWasNotKept(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, snapshotOnly(-1))
		defer db.Close()
		for range 8 {
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
		}
		found, err := s.DeleteSnapshot(ctx, "g", 7)
		require.NoError(t, err)
		require.True(t, found)
		for _, seq := range []uint64{2, 7} {
			_, err := s.Recover(ctx, "g", savepoint.RecoverOptions{To: savepoint.AtSeq(seq), Partial: true})
			require.ErrorIs(t, err, savepoint.ErrNoPoint, "the machine is well: nothing is given up")
			require.NotErrorIs(t, err, savepoint.ErrCorrupt)
		}
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.EqualValues(t, 8, st.Value.Sum)
	})
}

func TestStore_Reads_WhileOthersWrite(t *testing.T) {
	// The machine goes on between any two looks of a reader at the engine.
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{}, snapshotOnly(-1))
		defer db.Close()
		write := func() {
			for range 4 { // more than are kept
				_, err := s.Append(ctx, "g", added{N: 1})
				require.NoError(t, err)
			}
		}
		write()
		busy := false
		f.set(func() {
			f.loaded = func(string, engine.LoadRange) {
				if !busy {
					busy = true
					write()
					busy = false
				}
			}
		})
		_, err := s.At(ctx, "g", savepoint.Latest())
		require.NoError(t, err)
		rep, err := s.Verify(ctx, "g")
		require.NoError(t, err)
		assert.True(t, rep.OK())
		_, err = s.Fork(ctx, "g", savepoint.Latest(), "h")
		require.NoError(t, err)
	})
}

func TestStore_At_HeadDoesNotDependOnSnapshots(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		for range 3 {
			_, err := s.Append(ctx, "g", added{N: 1})
			require.NoError(t, err)
		}
		_, err := s.Snapshot(ctx, "g")
		require.NoError(t, err)
		_, err = s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		with, err := s.At(ctx, "g", savepoint.AtSeq(3))
		require.NoError(t, err)
		_, err = s.DeleteSnapshot(ctx, "g", 3)
		require.NoError(t, err)
		without, err := s.At(ctx, "g", savepoint.AtSeq(3))
		require.NoError(t, err)
		assert.Equal(t, without, with)
	})
}

func TestStore_Update_OfADeletedMachineSeesANewOne(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 5})
		require.NoError(t, err)
		_, err = s.Delete(ctx, "g")
		require.NoError(t, err)
		_, err = s.Update(ctx, "g", func(m *savepoint.Machine[tally]) error {
			assert.Zero(t, m.State().Sum, "a later write begins from New")
			return nil
		})
		require.NoError(t, err)
		_, err = s.Update(ctx, "g", func(m *savepoint.Machine[tally]) error {
			assert.Zero(t, m.State().Sum)
			if err := m.Append(added{N: 7}); err != nil {
				return err
			}
			assert.EqualValues(t, 7, m.State().Sum)
			return nil
		}, savepoint.IfSeq(0))
		require.NoError(t, err)
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.EqualValues(t, 7, st.Value.Sum)
	})
}

func TestEngine_OneWriterAtATime(t *testing.T) {
	// SetNote never meets a Commit.
	ctx := t.Context()
	f := newFaulty()
	f.delay = func() {
		for range 2000 {
			runtime.Gosched()
		}
	}
	db, s := openFaulty(t, f, savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
	for i := range 20 {
		a := s.Go(ctx, "g", added{N: 1})
		_, err := savepoint.Register(db, tallyKind(fmt.Sprint("kind", i), savepoint.Hybrid, noPolicy))
		require.NoError(t, err)
		require.NoError(t, a.Err())
	}
	require.NoError(t, db.Close())
	assert.Empty(t, f.broken)
}

func TestCache_FailedMachinesMayGo(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{Cache: savepoint.CacheOptions{Machines: 8}}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		f.set(func() {
			f.fail = func(n int) (bool, error) {
				return false, fmt.Errorf("%w: %w", engine.ErrNothingStored, savepoint.ErrDiskFull)
			}
		})
		for i := range 100 {
			_, err := s.Append(ctx, fmt.Sprint(i), added{N: 1})
			require.ErrorIs(t, err, savepoint.ErrDiskFull)
		}
		f.set(func() { f.fail = nil })
		_, err := s.Append(ctx, "last", added{N: 1})
		require.NoError(t, err)
		c := db.Stats().Cache
		assert.LessOrEqual(t, c.Live+c.Encoded, 9)
	})
}

func TestDB_Shutdown_ACallbackThatDoesNotEnd(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		end := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			_, err := s.Update(ctx, "g", func(*savepoint.Machine[tally]) error { <-end; return nil })
			ended <- err
		}()
		synctest.Wait()
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		closed := make(chan error, 1)
		go func() { closed <- db.Shutdown(short) }()
		time.Sleep(2 * time.Minute) // in the bubble
		select {
		case err := <-closed:
			require.ErrorIs(t, err, context.DeadlineExceeded)
		default:
			t.Error("Shutdown goes on after its ctx")
		}
		close(end)
		<-ended
	})
}

func TestStats_PositionsSurviveAPurge(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		db, s := openFaulty(t, newFaulty(), savepoint.Options{}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		defer db.Close()
		_, err := s.Append(ctx, "g", added{N: 5})
		require.NoError(t, err)
		require.NoError(t, s.Purge(ctx, "g"))
		assert.EqualValues(t, 1, db.Stats().Positions)
	})
}

func TestStore_Update_RunsAgainOnlyForAnotherProcess(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		k := tallyKind("tally", savepoint.Hybrid, noPolicy)
		f := newFaulty()
		f.stays = true
		db, s := openFaulty(t, f, savepoint.Options{}, k)
		other, so := openFaulty(t, &faulty{Engine: f.Engine, stays: true}, savepoint.Options{Cache: savepoint.CacheOptions{Off: true}}, k)
		defer func() { require.NoError(t, errors.Join(db.Close(), other.Close())) }()
		_, err := s.Append(ctx, "g", added{N: 1})
		require.NoError(t, err)
		runs, first := 0, 0
		f.set(func() {
			f.refuse = func(int, int, engine.Step) error {
				if first > 0 {
					first--
					_, err := so.Append(ctx, "g", added{N: 100}) // the other process is first
					return err
				}
				return nil
			}
		})
		update := func() (savepoint.Head, error) {
			runs = 0
			return s.Update(ctx, "g", func(m *savepoint.Machine[tally]) error {
				runs++
				return m.Append(added{N: m.State().Sum})
			})
		}
		first = 2
		h, err := update()
		require.NoError(t, err)
		assert.Equal(t, 3, runs)
		assert.EqualValues(t, 4, h.Seq)
		st, err := s.Load(ctx, "g")
		require.NoError(t, err)
		assert.EqualValues(t, 402, st.Value.Sum, "decided on the fresh state")
		first = 3
		_, err = update()
		require.ErrorIs(t, err, savepoint.ErrConflict)
		assert.Equal(t, 3, runs)
		f.set(func() { f.refuse = func(int, int, engine.Step) error { return errDisk } })
		_, err = update()
		require.ErrorIs(t, err, errDisk)
		assert.Equal(t, 1, runs)
		f.set(func() { f.refuse = nil })
		_, err = update()
		require.NoError(t, err)
		assert.Equal(t, 1, runs)
		rep, err := s.Verify(ctx, "g")
		require.NoError(t, err)
		assert.True(t, rep.OK())
	})
}

// TestFailure_NothingAcknowledgedIsLost lets each commit of a run fail in each
// way, once and for ever, while writes are queued behind it:
//  1. what was acknowledged is there afterwards, what was refused or aborted is
//     not, what is in doubt is whole or absent;
//  2. a retry under the same key brings each write in exactly once, after
//     reopening where writing stopped;
//  3. after a failure that may have stored something nothing is acknowledged,
//     and machines without a write in doubt can be read.
func TestFailure_NothingAcknowledgedIsLost(t *testing.T) {
	full := fmt.Errorf("%w: %w", engine.ErrNothingStored, savepoint.ErrDiskFull)
	faults := map[string]func(f *faulty, at func(int) bool){
		"a step is refused": func(f *faulty, at func(int) bool) {
			f.refuse = func(n, i int, _ engine.Step) error {
				if at(n) && i == 0 {
					return errDisk
				}
				return nil
			}
		},
		"another process": func(f *faulty, at func(int) bool) {
			f.refuse = func(n, i int, s engine.Step) error {
				if at(n) && i == 0 {
					return &engine.Conflict{Machine: s.Writes[0].Machine, Want: s.Writes[0].Expect, Have: 77}
				}
				return nil
			}
		},
		"a step in doubt": func(f *faulty, at func(int) bool) {
			f.refuse = func(n, i int, _ engine.Step) error {
				if at(n) && i == 0 {
					return engine.ErrInDoubt
				}
				return nil
			}
		},
		"the disk is full": func(f *faulty, at func(int) bool) {
			f.fail = func(n int) (bool, error) {
				if at(n) {
					return false, full
				}
				return true, nil
			}
		},
		"a sync failed, stored": func(f *faulty, at func(int) bool) {
			f.fail = func(n int) (bool, error) {
				if at(n) {
					return true, errDisk
				}
				return true, nil
			}
		},
		"a sync failed, not stored": func(f *faulty, at func(int) bool) {
			f.fail = func(n int) (bool, error) {
				if at(n) {
					return false, errDisk
				}
				return true, nil
			}
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			for _, strategy := range strategies {
				for n := range 12 {
					for _, once := range []bool{true, false} {
						failsAt(t, strategy, fault, func(commit int) bool { return commit == n || !once && commit > n })
					}
				}
			}
		})
	}
}

func failsAt(t *testing.T, strategy savepoint.Strategy, fault func(*faulty, func(int) bool), at func(int) bool) {
	ctx := t.Context()
	f := newFaulty()
	f.stays = true
	f.delay = runtime.Gosched
	fault(f, at)
	k := tallyKind("tally", strategy, savepoint.SnapshotPolicy{Events: 3, Every: -1, Keep: 2, NoClose: true})
	db, s := openFaulty(t, f, savepoint.Options{}, k)
	type sent struct {
		id  string
		n   int64
		ack *savepoint.Ack
	}
	var all, again []sent
	for n := range int64(30) {
		w := sent{id: fmt.Sprint("g", n%3), n: n}
		w.ack = s.Go(ctx, w.id, added{N: n}, savepoint.Key(fmt.Sprint(n)))
		all = append(all, w)
		if n%7 == 6 {
			_ = db.Flush(ctx)
		}
	}
	_ = db.Flush(ctx)
	closed := db.Close()
	stopped := false
	for _, w := range all {
		switch err := w.ack.Err(); {
		case err == nil:
			require.False(t, stopped, "acknowledged after a failed sync")
			continue
		case errors.Is(err, savepoint.ErrStopped):
			stopped = strategy != savepoint.SnapshotOnly // there Go's oldest writes may be answered last
		case errors.Is(err, savepoint.ErrInDoubt), errors.Is(err, savepoint.ErrAborted), errors.Is(err, savepoint.ErrDiskFull),
			errors.Is(err, savepoint.ErrConflict), errors.Is(err, errDisk), errors.Is(err, savepoint.ErrClosed):
		default:
			require.NoError(t, err)
		}
		again = append(again, w)
	}
	if len(again) == 0 {
		require.NoError(t, closed)
	}
	f.set(func() { f.refuse, f.fail = nil, nil })
	db, s = openFaulty(t, f, savepoint.Options{}, k)
	doubts := map[int64]bool{}
	for _, w := range again {
		doubts[w.n] = true
		_, err := s.Append(ctx, w.id, added{N: w.n}, savepoint.Key(fmt.Sprint(w.n)))
		require.NoError(t, err)
	}
	for g := range int64(3) {
		id := fmt.Sprint("g", g)
		st, err := s.Load(ctx, id)
		require.NoError(t, err)
		assert.EqualValues(t, 10, st.Value.Count, "each write once")
		assert.EqualValues(t, 135+10*g, st.Value.Sum)
		rep, err := s.Verify(ctx, id)
		require.NoError(t, err)
		assert.True(t, rep.OK(), "%v", rep.Divergences)
		before := int64(-1)
		for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
			require.NoError(t, err)
			n := rec.Event.(added).N
			if !doubts[n] {
				require.Greater(t, n, before, "in the order they were acknowledged")
				before = n
			}
		}
	}
	require.NoError(t, db.Close())
	require.Empty(t, f.broken)
}

func TestFailure_StopsForGood(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		f := newFaulty()
		db, s := openFaulty(t, f, savepoint.Options{Cache: savepoint.CacheOptions{Off: true}}, tallyKind("tally", savepoint.Hybrid, noPolicy))
		for _, id := range []string{"a", "b"} {
			_, err := s.Append(ctx, id, added{N: 1})
			require.NoError(t, err)
		}
		gate := make(chan struct{})
		f.set(func() { f.gate, f.fail = gate, func(int) (bool, error) { return true, errDisk } })
		acks := []*savepoint.Ack{s.Go(ctx, "a", added{N: 2})}
		synctest.Wait()
		for range 5 {
			acks = append(acks, s.Go(ctx, "a", added{N: 2}))
		}
		close(gate)
		for _, a := range acks {
			require.ErrorIs(t, a.Err(), savepoint.ErrInDoubt)
			var d *savepoint.InDoubtError
			require.ErrorAs(t, a.Err(), &d)
			assert.NotEmpty(t, d.Token)
		}
		f.set(func() { f.fail = nil })
		commits := f.commits
		_, err := s.Append(ctx, "b", added{N: 2})
		require.ErrorIs(t, err, savepoint.ErrStopped)
		_, err = s.Load(ctx, "a")
		require.ErrorIs(t, err, savepoint.ErrInDoubt)
		st, err := s.Load(ctx, "b")
		require.NoError(t, err, "others are read")
		assert.EqualValues(t, 1, st.Value.Sum)
		_, err = s.Recover(ctx, "b", savepoint.RecoverOptions{To: savepoint.AtSeq(0)})
		require.ErrorIs(t, err, savepoint.ErrStopped)
		require.ErrorIs(t, db.Stats().Stopped, errDisk)
		require.NoError(t, db.Close())
		assert.Equal(t, commits, f.commits, "the engine is not asked again")
	})
}

// TestFailure_DamageAnywhere damages each stored value of a machine in turn:
//  1. another machine is not touched;
//  2. the machine shows its right state, or is in quarantine; no point ever
//     shows a wrong one;
//  3. a partial recovery makes it serve again, from a right older state, and
//     names what it gave up.
func TestFailure_DamageAnywhere(t *testing.T) {
	k := tallyKind("tally", savepoint.Hybrid, savepoint.SnapshotPolicy{Events: 4, Every: -1, Keep: 3, NoClose: true})
	for _, part := range []engine.Part{engine.PartEvent, engine.PartSnapshot} {
		for _, lost := range []bool{true, false} {
			if lost && part == engine.PartSnapshot {
				continue // then an engine gives the next older one
			}
			for bad := range uint64(16) {
				bubble(t, func(t *testing.T, ctx context.Context) {
					f := newFaulty()
					f.stays = true
					db, s := openFaulty(t, f, savepoint.Options{}, k)
					var want []int64
					for n := range int64(14) {
						_, err := s.Append(ctx, "g", added{N: n})
						require.NoError(t, err)
						_, err = s.Append(ctx, "other", added{N: n})
						require.NoError(t, err)
					}
					for n := range int64(15) {
						want = append(want, n*(n-1)/2)
					}
					require.NoError(t, db.Close())
					f.damage = func(m string, it *engine.Item) bool {
						if it.Part == part && it.Seq == bad && m == "\x05tallyg" {
							it.Bytes, it.Err = nil, &engine.Damage{Machine: m, Part: "event", Seq: bad, Why: errDisk}
							return lost
						}
						return false
					}
					db, s = openFaulty(t, f, savepoint.Options{}, k)
					defer db.Close()
					st, err := s.Load(ctx, "other")
					require.NoError(t, err)
					assert.EqualValues(t, want[14], st.Value.Sum)
					for seq := range uint64(15) {
						if st, err := s.At(ctx, "g", savepoint.AtSeq(seq)); err == nil {
							assert.EqualValues(t, want[seq], st.Value.Sum)
						} else {
							require.ErrorIs(t, err, savepoint.ErrCorrupt)
						}
					}
					st, err = s.Load(ctx, "g")
					if err == nil {
						assert.EqualValues(t, want[14], st.Value.Sum)
						assert.Empty(t, db.Quarantined())
						return
					}
					require.ErrorIs(t, err, savepoint.ErrQuarantined)
					require.ErrorIs(t, err, savepoint.ErrCorrupt)
					assert.Len(t, db.Quarantined(), 1)
					_, err = s.Append(ctx, "g", added{N: 1})
					require.ErrorIs(t, err, savepoint.ErrQuarantined)
					_, err = s.Recover(ctx, "g", savepoint.RecoverOptions{})
					require.ErrorIs(t, err, savepoint.ErrCorrupt)
					rep, err := s.Recover(ctx, "g", savepoint.RecoverOptions{Partial: true})
					require.NoError(t, err)
					assert.Equal(t, savepoint.RecoverPartial, rep.Status)
					assert.Equal(t, bad, rep.LostFrom)
					assert.EqualValues(t, 14, rep.LostTo)
					assert.Empty(t, db.Quarantined())
					_, err = s.Append(ctx, "g", added{N: 1000})
					require.NoError(t, err)
					st, err = s.Load(ctx, "g")
					require.NoError(t, err)
					assert.EqualValues(t, want[rep.Seq]+1000, st.Value.Sum)
					gaps := 0
					for _, err := range s.Events(ctx, "g", savepoint.EventRange{}) {
						var gap *savepoint.GapError
						if errors.As(err, &gap) {
							gaps++
							assert.Equal(t, []uint64{bad, 14}, []uint64{gap.From, gap.To})
						} else {
							require.NoError(t, err)
						}
					}
					assert.Equal(t, 1, gaps)
				})
			}
		}
	}
}
