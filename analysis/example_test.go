package analysis_test

import (
	"context"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/analysis"
)

// How long a light shows each colour.
func Example() {
	ctx := context.Background()
	now := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	db, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Now: func() time.Time { return now }})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	lights, err := savepoint.Register(db, savepoint.Kind[game]{
		Name: "light", Events: savepoint.Events[game]{"moved": moved{}},
		New: func() game { return game{Phase: "red"} }, Phase: func(g *game) string { return g.Phase },
	})
	if err != nil {
		panic(err)
	}
	for _, to := range []string{"green", "amber", "red", "green", "amber", "red"} {
		now = now.Add(map[string]time.Duration{"green": 40, "amber": 30, "red": 3}[to] * time.Second)
		if _, err := lights.Append(ctx, "main street", moved{To: to}); err != nil {
			panic(err)
		}
	}
	rep, err := analysis.Analyze(ctx, lights, "main street", analysis.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(rep.Records, "records")
	for _, p := range rep.Paths {
		fmt.Printf("%s -> %s: %d times, %v after the record before\n", p.From, p.To, p.Count, p.Took.Mean)
	}
	// Output:
	// 6 records
	// amber -> red: 2 times, 3s after the record before
	// green -> amber: 2 times, 30s after the record before
	// red -> green: 2 times, 40s after the record before
}
