package savepoint_test

import (
	"fmt"

	"github.com/liap-tui/savepoint"
)

func ExampleMigration_documents() {
	addStake := savepoint.Migration{
		From: savepoint.V(2, 0, 0), To: savepoint.V(2, 1, 0),
		Up:   func(d savepoint.Doc) (savepoint.Doc, error) { d["Stake"] = 5; return d, nil },
		Down: func(d savepoint.Doc) (savepoint.Doc, error) { delete(d, "Stake"); return d, nil },
	}
	err := savepoint.CheckMigration(addStake, savepoint.Doc{"Turn": 0, "Moves": 2})
	fmt.Println(err)
	// Output: <nil>
}
