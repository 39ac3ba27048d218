package savepoint_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint"
)

func BenchmarkView(b *testing.B) {
	db := open(b, savepoint.Memory, nil)
	s := register(b, db)
	ctx := context.Background()
	for i := range 1000 {
		_, err := s.Append(ctx, fmt.Sprintf("g-%d", i), deal())
		require.NoError(b, err)
	}
	look := func(*savepoint.State[table]) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if err := s.View(ctx, "g-500", look); err != nil {
			b.Fatal(err)
		}
	}
}
