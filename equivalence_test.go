package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

// transcript returns the results of every read of every machine, without the positions, which depend on the order of the commits,
// and without the times of the snapshots.
func (w *world) transcript() []string {
	ctx := context.Background()
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	why := func(err error) string {
		for _, e := range []error{savepoint.ErrNoPoint, savepoint.ErrCompacted, savepoint.ErrDeleted, savepoint.ErrNotFound} {
			if errors.Is(err, e) {
				return e.Error()
			}
		}
		return fmt.Sprint(err)
	}
	w.settle()
	for k, s := range w.stores {
		for h, err := range s.List(ctx, savepoint.ListOptions{Deleted: true}) {
			require.NoError(w.t, err)
			h.Pos = 0
			say("%+v", h)
		}
		for _, id := range slices.Sorted(maps.Keys(w.model[k])) {
			st, err := s.Load(ctx, id)
			st.Pos = 0
			say("load %s %+v %s", id, st, why(err))
			p := w.model[k][id]
			for seq := range p.seq() + 2 {
				if s.Kind() == "only" && seq < p.seq() {
					continue // which states are kept depends on when they were saved
				}
				if seq < p.startsAfter() {
					continue // a snapshot with a tag may still be there, unless deleteSnapshot chose it
				}
				st, err := s.At(ctx, id, savepoint.AtSeq(seq))
				st.Pos = 0
				say("at %d %+v %s", seq, st, why(err))
			}
			for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
				rec.Pos = 0
				if r, ok := rec.Event.(*savepoint.Replaced[tally]); ok {
					say("whole %+v", r.State)
				} else {
					say("event %+v", reflect.Indirect(reflect.ValueOf(rec.Event)))
				}
				if rec.Reason == "restored" {
					rec.Error = "" // the report depends on the snapshots there were
				}
				rec.Event = nil
				say("%+v %s", rec, why(err))
			}
		}
	}
	return out
}

// TestEquivalence_OneHistoryOneResult runs the same random history with different options, engines and interruptions, each
// compared with the model: all results are equal.
func TestEquivalence_OneHistoryOneResult(t *testing.T) {
	kept := func() func(*savepoint.Options) *savepoint.DB {
		f := newFaulty()
		f.stays = true
		return func(o *savepoint.Options) *savepoint.DB {
			o.Engine = f
			db, err := savepoint.Open("kept", o)
			require.NoError(t, err)
			return db
		}
	}
	file := func() func(*savepoint.Options) *savepoint.DB {
		path := filepath.Join(t.TempDir(), "game.db")
		return func(o *savepoint.Options) *savepoint.DB {
			db, err := savepoint.Open(path, o)
			require.NoError(t, err)
			return db
		}
	}
	tiny := savepoint.CacheOptions{Bytes: 6_000, TTL: time.Nanosecond}
	ways := []struct {
		name   string
		open   func() func(*savepoint.Options) *savepoint.DB
		reopen bool
		opt    savepoint.Options
	}{
		{"plain", kept, false, savepoint.Options{}},
		{"cache off", kept, false, savepoint.Options{Cache: savepoint.CacheOptions{Off: true}}},
		{"tiny cache", kept, false, savepoint.Options{Cache: tiny}},
		{"three machines in the cache", kept, false, savepoint.Options{Cache: savepoint.CacheOptions{Machines: 3, TTL: -1}}},
		{"no live states", kept, false, savepoint.Options{Cache: savepoint.CacheOptions{Bytes: 1}}},
		{"reopened", kept, true, savepoint.Options{}},
		{"queue of one", kept, true, savepoint.Options{Queue: 1}},
		{"other policy", kept, true, savepoint.Options{Snapshot: savepoint.SnapshotPolicy{NoClose: true, OnPhase: true, MaxAge: time.Second}}},
		{"file", file, false, savepoint.Options{}},
		{"file, no compression, reopened, tiny cache", file, true, savepoint.Options{NoCompression: true, Cache: tiny}},
	}
	seed, n := modelSeed(t), modelOps(t, 400, 12_000)
	var want []string
	for _, way := range ways {
		ok := t.Run(way.name, func(t *testing.T) {
			w := newWorld(t, seed, way.opt, true, way.open())
			w.skip = !way.reopen
			for range n {
				w.step()
			}
			got := w.transcript()
			w.all()
			require.NoError(t, w.db.Close())
			if want == nil {
				want = got
			}
			require.Equal(t, len(want), len(got))
			for i := range want {
				if want[i] != got[i] {
					t.Fatalf("seed %d: answer %d of %d:\n%.600s\n%.600s", seed, i, len(want), want[i], got[i])
				}
			}
		})
		if !ok {
			return
		}
	}
}
