package archive_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/archive"
)

// counter counts hits.
type counter struct{ N int }

type hit struct{ Points int }

func (e hit) Apply(c *counter, _ savepoint.Meta) error { c.N += e.Points; return nil }

// The log of a machine leaves the file and comes back.
func ExampleDir() {
	path, err := os.MkdirTemp("", "archive")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(path)
	ctx := context.Background()
	db, err := savepoint.Open(savepoint.Memory, &savepoint.Options{Archive: archive.Dir(path)})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	counters, err := savepoint.Register(db, savepoint.Kind[counter]{Name: "counter", Events: savepoint.Events[counter]{"hit": hit{}}})
	if err != nil {
		panic(err)
	}
	for points := range 3 {
		if _, err := counters.Append(ctx, "c", hit{points}); err != nil {
			panic(err)
		}
	}
	gone, err := counters.Compact(ctx, "c", savepoint.Latest())
	if err != nil {
		panic(err)
	}
	st, err := counters.Load(ctx, "c")
	if err != nil {
		panic(err)
	}
	fmt.Println(gone.Records, "records left the file, the state is", st.Value.N)
	_, err = counters.At(ctx, "c", savepoint.AtSeq(2))
	fmt.Println("the state at 2 is in the archive:", errors.Is(err, savepoint.ErrCompacted))
	back, err := counters.Unarchive(ctx, "c")
	if err != nil {
		panic(err)
	}
	st, err = counters.At(ctx, "c", savepoint.AtSeq(2))
	fmt.Println(back.Records, "records are back, the state at 2 is", st.Value.N, err)
	// Output:
	// 3 records left the file, the state is 3
	// the state at 2 is in the archive: true
	// 3 records are back, the state at 2 is 1 <nil>
}
