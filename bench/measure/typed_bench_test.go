package measure

import (
	"context"
	"math"
	"testing"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/bench/workload"
	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
)

// forgetful is an engine that stores nothing and reports that every step is stored.
type forgetful struct {
	*memory.Engine
	pos uint64
}

func (e *forgetful) Commit(_ context.Context, steps []engine.Step, out []engine.Result) error {
	pos := make([]uint64, len(steps))
	for i := range steps {
		w := &steps[i].Writes[0]
		e.pos += w.Seq - w.Expect
		pos[i] = e.pos
		out[i] = engine.Result{Pos: pos[i : i+1 : i+1]}
	}
	return nil
}

// BenchmarkTypedAppend measures the typed API without an engine, for events of the
// example game. The first events of a machine, which store its first snapshot, are
// included.
func BenchmarkTypedAppend(b *testing.B) {
	const machines = 2000
	load, err := workload.New("games", machines, 100, "")
	if err != nil {
		b.Fatal(err)
	}
	db, err := savepoint.Open("forgetful", &savepoint.Options{Engine: &forgetful{Engine: memory.New()}, Cache: savepoint.CacheOptions{Bytes: math.MaxInt64 / 4}})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	typed := load.Typed()
	if err := typed.Register(db, savepoint.SnapshotPolicy{Events: -1, Every: -1, NoClose: true}); err != nil {
		b.Fatal(err)
	}
	var last *savepoint.Ack
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		last = typed.Go(context.Background(), i%machines, uint64(i/machines)+1)
	}
	if err := last.Err(); err != nil {
		b.Fatal(err)
	}
}
