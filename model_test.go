package savepoint_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/internal/long"
)

// world is a database, its model and a source of random operations.
type world struct {
	t      testing.TB
	rng    *rand.Rand
	seed   uint64
	opt    savepoint.Options
	open   func(*savepoint.Options) *savepoint.DB
	reopen bool
	skip   bool // reopening only flushes, so that the random numbers stay the same

	db     *savepoint.DB
	kinds  []savepoint.Kind[tally]
	stores []*savepoint.Store[tally]
	model  []map[string]*plain
	acks   []waiting
	now    int64
	log    []string
	ops    int
}

// waiting is an ack with the seq that it has to return.
type waiting struct {
	ack *savepoint.Ack
	seq uint64
	op  string
}

const worldIDs = 5

// worldKinds returns a kind of each strategy, and one with many snapshots.
func worldKinds() []savepoint.Kind[tally] {
	p := savepoint.SnapshotPolicy{Events: 7, Every: 90 * time.Second, OnError: true, Keep: 3}
	often := savepoint.SnapshotPolicy{Events: 1, Every: -1, Keep: 2, OnPhase: true, MaxAge: time.Minute, NoClose: true}
	lazy := savepoint.SnapshotPolicy{Events: 5, Every: -1, Keep: 4, MaxAge: -1}
	return []savepoint.Kind[tally]{
		tallyKind("hybrid", savepoint.Hybrid, p),
		tallyKind("sourced", savepoint.EventSourced, p),
		tallyKind("only", savepoint.SnapshotOnly, lazy),
		tallyKind("versioned", savepoint.Versioned, p),
		tallyKind("often", savepoint.Hybrid, often),
	}
}

// newWorld opens a database with an empty model.
func newWorld(t testing.TB, seed uint64, o savepoint.Options, reopen bool, open func(*savepoint.Options) *savepoint.DB) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), seed: seed, opt: o, open: open, reopen: reopen,
		kinds: worldKinds(), now: 1_700_000_000_000_000}
	w.opt.Archive = newShelf()
	w.opt.Now = func() time.Time { return time.UnixMicro(w.now) }
	for range w.kinds {
		w.model = append(w.model, map[string]*plain{})
	}
	w.start()
	return w
}

// start opens the database and registers the kinds.
func (w *world) start() {
	o := w.opt
	w.db = w.open(&o)
	w.stores = nil
	for _, k := range w.kinds {
		s, err := savepoint.Register(w.db, k)
		require.NoError(w.t, err)
		w.stores = append(w.stores, s)
	}
}

// fail ends the test with what is needed to repeat it.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("operation %d of seed %d: %s\nthe last ones: %q", w.ops, w.seed, fmt.Sprintf(format, args...), w.log[max(0, len(w.log)-12):])
}

// same compares a result with the model's.
func (w *world) same(what string, want, got any) {
	w.t.Helper()
	if !reflect.DeepEqual(want, got) {
		w.fail("%s: want %+v, got %+v", what, want, got)
	}
}

// pick returns a random machine.
func (w *world) pick() (k int, id string, p *plain) {
	k, id = w.rng.IntN(len(w.kinds)), fmt.Sprint("g", w.rng.IntN(worldIDs))
	return k, id, w.get(k, id)
}

// get returns a machine of the model, an empty one if it does not exist.
func (w *world) get(k int, id string) *plain {
	if p := w.model[k][id]; p != nil {
		return p
	}
	return newPlain()
}

// run makes n operations, and compares everything after each 2,500 of them and at the end.
func (w *world) run(n int) {
	for range n {
		w.step()
		if w.ops%2500 == 0 {
			w.all()
		}
	}
	w.all()
	if w.reopen {
		w.again()
		w.all()
	}
	require.NoError(w.t, w.db.Close())
	w.acked()
}

// modelSeed returns the seed that SAVEPOINT_SEED sets, or a random one.
func modelSeed(t testing.TB) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("SAVEPOINT_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		seed = n
	}
	t.Logf("SAVEPOINT_SEED=%d", seed)
	return seed
}

// modelOps returns the number of operations that SAVEPOINT_OPS sets, or the size by the switch of the long tests.
func modelOps(t testing.TB, quick, full int) int {
	t.Helper()
	if s := os.Getenv("SAVEPOINT_OPS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	return long.N(t, quick, full)
}

// TestModel_RandomOperations compares random operations on machines of all strategies with a model in plain slices:
//  1. each operation is accepted or refused as the model says, with its seq;
//  2. Load, View, At each seq, AtTime, AtRevision, Events and List show what the model has, also after reopening;
//  3. what Compact removes is gone and counted, and what Unarchive brings back is as it was;
//  4. Verify finds nothing, tagged snapshots stay, and every Ack resolves.
//
// SAVEPOINT_SEED repeats a run, SAVEPOINT_OPS sets its length.
func TestModel_RandomOperations(t *testing.T) {
	f := newFaulty()
	f.stays = true
	w := newWorld(t, modelSeed(t), savepoint.Options{}, true, func(o *savepoint.Options) *savepoint.DB {
		o.Engine = f
		db, err := savepoint.Open("model", o)
		require.NoError(t, err)
		return db
	})
	w.run(modelOps(t, 5_000, 200_000))
	require.Empty(t, f.broken)
}
