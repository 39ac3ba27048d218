package document_test

import (
	"context"
	"fmt"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/document"
)

// A room whose state has no Go type of its own.
func Example() {
	ctx := context.Background()
	db, err := savepoint.Open(savepoint.Memory, nil)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	rooms, err := savepoint.Register(db, document.Kind("room"))
	if err != nil {
		panic(err)
	}
	for _, e := range []savepoint.Event[savepoint.Doc]{
		document.Transition{Action: "open", To: "waiting", Update: map[string]any{"seats": 4}},
		document.Update{Set: map[string]any{"players": []string{"ann"}}, Reason: "ann sat down"},
		document.Transition{Action: "start", From: "waiting", To: "turn"},
	} {
		if _, err := rooms.Append(ctx, "r-1", e); err != nil {
			panic(err)
		}
	}
	st, err := rooms.Load(ctx, "r-1")
	if err != nil {
		panic(err)
	}
	fmt.Println(st.Phase, st.Value["seats"], st.Value["players"])
	// Output: turn 4 [ann]
}
